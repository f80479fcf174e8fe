"""Scoring speed beside the fastest int8 runtimes, same classifier, same texts, same process; accuracy beside speed.

Rivals get what suits them: texts sorted by length, 16 or 64 to a batch, whichever is faster, padded to the longest one
of it, two threads. OpenVINO is quantised by NNCF with 300 training texts and runs an asynchronous queue for throughput;
ONNX Runtime has its BERT fusions and is quantised dynamically and per channel; torchao per token, compiled. Ours is
`filbert predict --precision int8`, and the same without bf16 for doubtful texts. Runs alternate; medians of real
tokens/s; then texts one by one, of 8 and 128 tokens. What a probability moved by, and the share of changed labels, is
against the same weights in fp32.

    bench/.venv/bin/python bench/predict_speed.py [imdb|sst2 …] [--shape minilm] [--texts 512] [--runs 5] [--write]

The classifier is the one that `python bench/accuracy.py SET` left in bench/work/; where there is none it is made. Of
the other shapes, mini and base, it is a random one: speed does not ask for more, and its accuracy says nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accuracy import measure
from labelled import numbers
from records import DATA, HERE
from speeds import by_length, circumstances, products, record
from train_speed import SHAPES, start

from filbert.config import TrainConfig
from filbert.finetuning.dataset import read_dataset
from filbert.folder.save import add_facts
from filbert.inference.engine import Engine, load
from filbert.inference.model import open_model
from filbert.metrics import calibration
from filbert.records import Example, Features, FloatArray

RESULTS = HERE / "results" / "predict_speed.jsonl"
BASES = {"minilm": "minilm", "mini": "filbert-mini"}  # shape → what is fine-tuned
SETS = {"imdb": "imdb/aclImdb_labeled.tar.xz", "sst2": "sst2"}
BATCHES, THREADS, CALIBRATION = (16, 64), 2, 300
ALONE, SINGLES = (8, 128), 20  # tokens of a text that is scored by itself, and how many such texts
NAMES = ("input_ids", "attention_mask", "token_type_ids")

Arrays = dict[str, npt.NDArray[np.int64]]
Run = Callable[[Arrays], FloatArray]  # a padded batch → logits


def padded(rows: Sequence[Features]) -> Arrays:
    longest = max(map(len, rows))
    ids, mask = np.zeros((len(rows), longest), np.int64), np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row.ids, 1
    return dict(zip(NAMES, (ids, mask, np.zeros_like(ids)), strict=True))


class Rival:
    """A runtime that takes padded batches; sorted by length before, put back in order after."""

    batch = BATCHES[0]

    def __init__(self, run: Run) -> None:
        self.run = run

    def many(self, batches: Sequence[Arrays]) -> list[FloatArray]:
        """Return the logits of each batch."""
        return [self.run(batch) for batch in batches]

    def __call__(self, rows: Sequence[Features]) -> FloatArray:
        """Return the logits of each text."""
        parts = by_length([len(row) for row in rows], self.batch)
        logits = np.concatenate(self.many([padded([rows[i] for i in part]) for part in parts]))
        return logits[np.argsort(np.concatenate(parts))]


class OpenVino(Rival):
    """One model compiled twice: for one text at a time, and for many at once."""

    def __init__(self, model: Any, settings: dict[str, str]) -> None:
        import openvino as ov

        settings = {**settings, "INFERENCE_NUM_THREADS": str(THREADS)}
        core = ov.Core()
        request = core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
        super().__init__(lambda batch: np.array(request.infer(batch)[0], dtype=np.float64))
        self.queue = ov.AsyncInferQueue(
            core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": "THROUGHPUT"})
        )
        self.found: dict[int, FloatArray] = {}
        self.queue.set_callback(self._take)

    def _take(self, request: Any, number: int) -> None:
        self.found[number] = np.array(request.get_output_tensor(0).data, dtype=np.float64)

    def many(self, batches: Sequence[Arrays]) -> list[FloatArray]:
        """Return the logits of each batch, worked on side by side."""
        if len(batches) == 1:
            return [self.run(batches[0])]
        for number, batch in enumerate(batches):
            self.queue.start_async(batch, number)
        self.queue.wait_all()
        return [self.found[number] for number in range(len(batches))]


class Ours:
    """What `filbert predict` runs, after reading and tokenising."""

    def __init__(self, engine: Engine, *, fallback: bool = True) -> None:
        self.engine, self.fallback = engine, fallback

    def __call__(self, rows: Sequence[Features]) -> FloatArray:
        """Return the logits of each text."""
        return np.asarray(self.engine.outputs([[row] for row in rows], fallback=self.fallback))[:, 0]


class Bare(torch.nn.Module):
    """A model that takes tensors in the order of NAMES and gives logits, as exporters like it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits."""
        return self.model(  # type: ignore[no-any-return]
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).logits


def hugging_face(folder: Path, dtype: torch.dtype, attention: str = "sdpa") -> torch.nn.Module:
    from transformers import AutoModelForSequenceClassification

    made = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation=attention, dtype=dtype)
    return made.eval()  # type: ignore[no-any-return]


def compiled(model: torch.nn.Module) -> Run:
    torch._inductor.config.freezing = True  # type: ignore[attr-defined]
    return eager(torch.compile(model, dynamic=True))  # type: ignore[arg-type]


def eager(model: torch.nn.Module) -> Run:
    @torch.inference_mode()
    def run(batch: Arrays) -> FloatArray:
        return model(**{name: torch.from_numpy(x) for name, x in batch.items()}).logits.double().numpy()  # type: ignore[no-any-return]

    return run


def torchao(folder: Path) -> Run:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = hugging_face(folder, torch.float32)
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return compiled(model)


def openvino(folder: Path, calibration: Sequence[Features], *, int8: bool) -> Rival:
    import nncf
    import openvino as ov

    example = {name: torch.from_numpy(x) for name, x in padded(calibration[:2]).items()}
    model = ov.convert_model(Bare(hugging_face(folder, torch.float32)), example_input=example)
    if not int8:
        return OpenVino(model, {"INFERENCE_PRECISION_HINT": "bf16"})
    data = nncf.Dataset([padded([row]) for row in calibration])
    model = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration))
    return OpenVino(model, {})


def onnx_runtime(folder: Path, calibration: Sequence[Features], work: Path) -> Run:
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    plain, fused, small = (str(work / f"{name}.onnx") for name in ("plain", "fused", "int8"))
    axes = {name: {0: "texts", 1: "tokens"} for name in NAMES}
    example = tuple(torch.from_numpy(x) for x in padded(calibration[:2]).values())
    model = hugging_face(folder, torch.float32, "eager")  # whose attention the optimizer knows
    torch.onnx.export(
        Bare(model), example, plain, input_names=list(NAMES), output_names=["logits"], dynamic_axes=axes, dynamo=False
    )
    shape = model.config
    better = optimize_model(plain, "bert", num_heads=shape.num_attention_heads, hidden_size=shape.hidden_size)
    print(f"onnxruntime fused {better.get_fused_operator_statistics()}", flush=True)
    better.save_model_to_file(fused)
    quantize_dynamic(
        fused,
        small,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Attention"],
        extra_options={"DefaultTensorType": 1},  # fp32, which shape inference does not find behind fused nodes
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    types = {each.name: np.int32 if "int32" in each.type else np.int64 for each in session.get_inputs()}
    return lambda batch: np.array(  # type: ignore[no-any-return]
        session.run(None, {name: batch[name].astype(kind) for name, kind in types.items()})[0], dtype=np.float64
    )


def sides(folder: Path, calibration: Sequence[Features], work: Path) -> dict[str, Callable[[], Any]]:
    """Return how each side is made; making one can take a minute."""
    return {
        "transformers, fp32": lambda: Rival(eager(hugging_face(folder, torch.float32))),
        "transformers, bf16": lambda: Rival(eager(hugging_face(folder, torch.bfloat16))),
        "transformers, bf16, compiled": lambda: Rival(compiled(hugging_face(folder, torch.bfloat16))),
        "onnxruntime, int8": lambda: Rival(onnx_runtime(folder, calibration, work)),
        "torchao, int8, compiled": lambda: Rival(torchao(folder)),
        "openvino, bf16": lambda: openvino(folder, calibration, int8=False),
        "openvino, int8": lambda: openvino(folder, calibration, int8=True),
        "filbert, fp32": lambda: Ours(load(folder, device="cpu")),
        "filbert, bf16": lambda: Ours(load(folder, device="cpu", precision="bf16")),
        "filbert, int8, never in doubt": lambda: Ours(load(folder, device="cpu", precision="int8"), fallback=False),
        "filbert, int8": lambda: Ours(load(folder, device="cpu", precision="int8")),
    }


def made(
    folder: Path, calibration: Sequence[Features], rows: Sequence[Features], only: Sequence[str]
) -> dict[str, Any]:
    """Make the sides and warm them up; of a rival that does not run here the reason is printed."""
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for name, make in sides(folder, calibration, Path(work)).items():
            if not name.startswith(tuple(only)):
                continue
            try:
                side = make()
                side(rows[:64])
                if isinstance(side, Rival):
                    seconds = {}
                    for side.batch in BATCHES:
                        side(rows)
                        seconds[side.batch] = timed(side, rows)
                    side.batch = min(seconds, key=seconds.__getitem__)
            except Exception as error:  # whatever a rival may raise
                print(f"{name} does not run here: {str(error)[:300]}", flush=True)
                continue
            print(f"{name} is ready", flush=True)
            found[name] = side
    return found


def timed(side: Callable[[Sequence[Features]], FloatArray], rows: Sequence[Features]) -> float:
    began = time.perf_counter()
    side(rows)
    return time.perf_counter() - began


def agreement(logits: FloatArray, exact: FloatArray, true_N: npt.NDArray[np.int32]) -> dict[str, float]:
    ours, theirs = calibration.softmax(logits), calibration.softmax(exact)
    moved_N, label_N = np.abs(ours - theirs).max(axis=1), ours.argmax(axis=1)
    return {
        "accuracy": round(float((label_N == true_N).mean()), 5),
        "moved_99": round(float(np.quantile(moved_N, 0.99)), 4),
        "moved_most": round(float(moved_N.max()), 4),
        "changed": round(float((label_N != theirs.argmax(axis=1)).mean()), 5),
    }


def singles(rows: Sequence[Features], length: int) -> list[Features]:
    """Return texts of that many tokens: the beginnings of longer ones, or several texts in a row."""
    first, last, room = rows[0].ids[:1], rows[0].ids[-1:], length - 2
    whole = np.resize(np.concatenate([row.ids[1:-1] for row in rows]), SINGLES * room)  # again from the first, if few
    cut = [np.concatenate((first, whole[i * room : (i + 1) * room], last)) for i in range(SINGLES)]
    return [Features(ids, np.zeros(length, np.int32)) for ids in cut]


def drawn(examples: Sequence[Example], count: int) -> list[Example]:
    """Draw that many at random, always the same ones."""
    chosen = np.random.default_rng(0).permutation(len(examples))[:count]
    return [examples[i] for i in chosen]


def model_of(name: str, shape: str, scratch: Path) -> Path:
    """Return the folder of a set's classifier, fitted now where it is not there; one of base size is random.

    A random classifier is unsure of every text, so its int8 fallback is switched off.
    """
    if shape not in BASES:
        folder = start(shape, scratch)
        add_facts(folder, {"int8_margin": 0.0})
        return folder
    folder = HERE / "work" / f"{name}-{BASES[shape]}-seed0"
    if not (folder / "report.json").is_file():
        measure(name, TrainConfig(), BASES[shape])
    return folder


def compared(folder: Path, name: str, texts: int, runs: int, only: Sequence[str]) -> dict[str, Any]:
    """Run every side, or those whose names begin so, with one classifier on the test texts of a set → the record."""
    data = read_dataset(DATA / SETS[name])  # both label sets have two classes, in the order of a random classifier's
    engine = load(folder, device="cpu")
    examples, some = drawn(data.splits.test, texts), drawn(data.splits.train, CALIBRATION)
    rows = [window for (window,) in engine.features([example.inputs for example in examples])]
    calibration = [window for (window,) in engine.features([example.inputs for example in some])]
    true_N = numbers(examples, data)
    tokens = sum(map(len, rows))
    runners = made(folder, calibration, rows, only)
    exact = Ours(engine)(rows)
    quality = {side: agreement(run(rows), exact, true_N) for side, run in runners.items()}
    seconds: dict[str, list[float]] = {side: [] for side in runners}
    for n in range(runs):
        for side, run in runners.items():
            seconds[side].append(timed(run, rows))
            print(f"{name}, round {n + 1}, {side}: {tokens / seconds[side][-1]:,.0f} tokens/s", flush=True)
    alone: dict[str, dict[str, float]] = {side: {} for side in runners}
    for length in ALONE:
        times: dict[str, list[float]] = {side: [] for side in runners}
        for _ in range(runs):
            for side, run in runners.items():
                times[side] += [timed(run, [text]) for text in singles(rows, length)]
        for side in runners:
            alone[side][str(length)] = round(median(times[side]) * 1000, 3)
    config = open_model(folder).config
    return {
        "set": name,
        "texts": len(rows),
        "tokens": tokens,
        "shape": [config.layers, config.hidden, config.heads],
        "speed": {side: round(tokens / median(found), 1) for side, found in seconds.items()},
        "milliseconds": alone,
        "batch": {side: run.batch for side, run in runners.items() if isinstance(run, Rival)},
        "quality": quality,
        "products": products(config, list(map(len, rows)))[1],
        **circumstances("torch", "transformers", "onnxruntime", "openvino", "nncf", "torchao"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="of the sides, by the start of their names")
    parser.add_argument("--write", action="store_true", help="append to bench/results/predict_speed.jsonl")
    arguments = parser.parse_args()
    if arguments.write and arguments.only != [""]:
        parser.error("a part of the sides is no record — leave out --only or --write")
    torch.set_num_threads(THREADS)
    options = (arguments.texts, arguments.runs, arguments.only)
    for name in arguments.sets or SETS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = model_of(name, arguments.shape, Path(scratch))
            row = {**compared(folder, name, *options), "name": arguments.shape}
        record(RESULTS, row, write=arguments.write)


if __name__ == "__main__":
    main()
