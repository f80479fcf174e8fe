"""Training speed beside `transformers`, same texts, same weights, same process: real tokens/s.

Texts are long (IMDb), middle (sentences of contracts, 20 to 100 tokens) or short (SST-2); shapes are mini, minilm or
base, of which only minilm has trained weights, and speed does not ask for them.

The rival: BertForSequenceClassification, fp32, sdpa, dropout 0.1, padded to the longest text of the batch, AdamW, the
loop its own documentation teaches. A second one as an expert tunes it: bf16 autocast, no attention dropout, fused
AdamW, texts of like length together. Ours: the training step of `filbert fit`. Runs alternate, medians are compared,
the losses are printed beside (same data, different dropout masks), and the processor's own product peak. Beside them
stands what reading, tokenising and packing take of our time, in a run of one epoch, where they weigh most.

    python bench/train_speed.py [--mix long] [--shape minilm] [--texts N] [--runs 3] [--batch 16] [--write]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from adapt import data_of
from labelled import save_random
from records import DATA, HERE
from speeds import TUNED_TYPE, alternate, by_length, circumstances, compared, products, record
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.config import EncoderConfig, TrainConfig
from filbert.finetuning.job import TaskJob, TextFeed
from filbert.model.device import native_bf16
from filbert.model.encoder import Encoder
from filbert.model.network import Network
from filbert.readers.sources import open_source
from filbert.records import Example
from filbert.tasks import single_label
from filbert.tasks.framing import framed
from filbert.tasks.single_label.settings import Settings
from filbert.text.tokenizer import Tokenizer
from filbert.training.loop import Loop
from filbert.training.plan import Plan

RESULTS = HERE / "results" / "train_speed.jsonl"
DEFAULT = "transformers, fp32, sdpa, defaults"
TUNED = f"transformers, {TUNED_TYPE}, no attention dropout, fused AdamW, by length"
OURS = "filbert, default"
MIXES = {"long": "imdb/aclImdb_labeled.tar.xz", "short": "sst2", "middle": None}
MIDDLE = (20, 100)  # tokens
TEXTS = {"mini": 64, "minilm": 64, "base": 16}
SHAPES = tuple(TEXTS)
Texts = list[tuple[str, int]]


def texts(mix: str, count: int, tokenizer: Tokenizer) -> tuple[Texts, float]:
    """Training texts of a length, drawn at random, always the same ones, of two classes; seconds to read so many."""
    source, began = MIXES[mix], time.perf_counter()
    examples = list(open_source(DATA / source).examples("train")) if source else data_of("unfair_tos").splits.train
    seconds = (time.perf_counter() - began) / len(examples) * count
    first = examples[0].target
    order = np.random.default_rng(0).permutation(len(examples))
    if mix == "middle":
        lengths = [len(encoding.ids) + 2 for encoding in tokenizer.encode([example.text for example in examples])]
        order = np.array([i for i in order if MIDDLE[0] <= lengths[i] <= MIDDLE[1]])
    return [(examples[i].text, int(examples[i].target != first)) for i in order[:count]], seconds


def start(shape: str, scratch: Path) -> Path:
    """Return the folder that both sides open: minilm, or a randomly initialised model with its vocabulary."""
    folder = find_base("minilm").folder
    assert folder is not None
    if shape == "minilm":
        return folder
    tokenizer = Tokenizer.from_folder(folder)
    encoder = Encoder(EncoderConfig.of_size(shape, len(tokenizer)), torch.Generator().manual_seed(0))
    return save_random(scratch / shape, encoder, tokenizer, 512)


class Rival:
    """The loop of `transformers`, as it comes or tuned."""

    def __init__(self, folder: Path, rows: Texts, batch: int, *, tuned: bool = False) -> None:
        torch.manual_seed(0)
        self.tuned = tuned
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=2,
            attn_implementation="sdpa",
            dtype=torch.float32,
            attention_probs_dropout_prob=0.0 if tuned else 0.1,
        )
        encoded = [{**tokenizer(text, truncation=True, max_length=512), "labels": label} for text, label in rows]
        self.real = sum(len(row["input_ids"]) for row in encoded)
        collate = DataCollatorWithPadding(tokenizer)
        parts = by_length([len(row["input_ids"]) for row in encoded], batch) if tuned else None
        one = {"batch_sampler": parts} if tuned else {"batch_size": batch}
        self.loader = torch.utils.data.DataLoader(encoded, collate_fn=collate, **one)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=tuned)

    def run(self) -> tuple[float, float]:
        """One pass → real tokens/s, mean loss."""
        self.model.train()
        losses, began = [], time.perf_counter()
        for batch in self.loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.tuned and native_bf16()):
                loss = self.model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
        return self.real / (time.perf_counter() - began), float(np.mean(losses))


class Ours:
    """The training step of `filbert fit`; texts of the rival's length, so the cut is the rival's too."""

    def __init__(self, folder: Path, rows: Texts, batch: int, precision: str = "auto") -> None:
        torch.manual_seed(0)
        encoder, tokenizer, heads = load_base(folder)
        settings = Settings(("no", "yes"))
        model = Network(encoder, single_label.head(settings))
        model.pooler.load_state_dict({kind: heads[f"pooler.dense.{kind}"] for kind in ("weight", "bias")})
        began = time.perf_counter()
        encodings = tokenizer.encode([text for text, _ in rows])
        features = [
            framed([encoding], tokenizer, 512, label) for encoding, (_, label) in zip(encodings, rows, strict=True)
        ]
        self.tokenising = time.perf_counter() - began
        self.config, self.lengths = encoder.config, [len(row) for row in features]
        self.real = sum(self.lengths)
        self.steps = -(-len(rows) // batch)
        config = replace(TrainConfig(optimizer="adamw"), batch_size=batch, precision=precision, warmup=0.0)
        self.scratch = tempfile.TemporaryDirectory()
        self.feed = feed = TextFeed(features, None, batch, config.tokens_per_batch, config.seed)
        self.loop = Loop(
            TaskJob(single_label, settings, model, ([Example(("a text",), "no")], [features[:1]]), "cpu"),
            feed,
            config,
            Plan(1000.0, 512),
            layers=encoder.config.layers,
            rate=1e-4,
            folder=Path(self.scratch.name) / "checkpoints",
            identity={},
            rows={"encoder.embeddings.token.weight": torch.from_numpy(feed.ids)},
        )

    def run(self) -> tuple[float, float]:
        """One pass → real tokens/s, mean loss."""
        began = time.perf_counter()
        losses = [self.loop.step()[0] for _ in range(self.steps)]
        return self.real / (time.perf_counter() - began), float(np.mean(losses))

    def packing(self) -> float:
        """Seconds of an epoch that go into drawing and packing batches."""
        began = time.perf_counter()
        for step in range(self.steps):
            self.feed.batches(step, 0.0)
        return time.perf_counter() - began


def measure(mix: str, shape: str, count: int, runs: int, batch: int) -> dict[str, Any]:
    """Run all sides in turn → the record."""
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        folder = start(shape, Path(scratch))
        rows, reading = texts(mix, count, Tokenizer.from_folder(folder))
        ours = Ours(folder, rows, batch)
        sides: dict[str, Rival | Ours] = {
            DEFAULT: Rival(folder, rows, batch),
            TUNED: Rival(folder, rows, batch, tuned=True),
            **({"filbert, fp32": Ours(folder, rows, batch, "fp32")} if native_bf16() else {}),
            OURS: ours,
        }
        speeds = compared(alternate(sides, runs), DEFAULT, TUNED)
    facts = {"mix": mix, "shape": shape, "texts": count, "batch": batch, "tokens": ours.real}
    speeds |= circumstances("torch", "transformers")
    before, epoch = reading + ours.tokenising, ours.real / speeds["speed"][OURS]
    share = (before + ours.packing()) / (before + epoch)
    return {**speeds, **facts, "of_peak": of_peak(speeds, ours), "reading": round(share, 4)}


def of_peak(speeds: Mapping[str, Any], ours: Ours) -> dict[str, float]:
    """Return our share of the product peak: by the products of a plain BERT, and by those that we make."""
    kind = "bfloat16" if speeds["bf16"] else "float32"
    seconds, peak = ours.real / speeds["speed"][OURS], speeds["peak_gflops"][kind] * 1e9
    plain, made = (3 * found / seconds / peak for found in products(ours.config, ours.lengths))
    return {"plain": round(plain, 3), "made": round(made, 3)}  # forward, and twice as much backward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mix", choices=tuple(MIXES), default="long")
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--texts", type=int, help=f"to train on: {', '.join(f'{v} at {k}' for k, v in TEXTS.items())}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", action="store_true", help="append to bench/results/train_speed.jsonl")
    args = parser.parse_args()
    count = args.texts or TEXTS[args.shape]
    record(RESULTS, measure(args.mix, args.shape, count, args.runs, args.batch), write=args.write)


if __name__ == "__main__":
    main()
