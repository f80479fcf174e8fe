"""Training speed beside the `transformers` default loop, same texts, same weights, same process: real tokens/s.

The rival: BertForSequenceClassification, fp32, sdpa, dropout 0.1, padded to the longest text of the batch, AdamW, the
loop its own documentation teaches. Ours: the training step of `filbert fit`. Runs alternate, medians are compared, the
loss of both is printed beside (same data, different dropout draws), and the processor's own product peak.

    python bench/train_speed.py [--texts 64] [--runs 3] [--batch 16] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from accuracy import DATA, HERE, commit
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from filbert.bases import find_base
from filbert.checkpoint import load_base
from filbert.classify_job import ClassifyJob, TextFeed
from filbert.config import TrainConfig
from filbert.data.sources import open_source
from filbert.model.forward import native_bf16
from filbert.plan import Plan
from filbert.tasks import classify
from filbert.train import Loop

RESULTS = HERE / "results" / "train_speed.jsonl"
Texts = list[tuple[str, int]]


def texts(count: int) -> Texts:
    """Reviews of the IMDb training set, drawn at random, always the same ones."""
    examples = list(open_source(DATA / "imdb" / "aclImdb_labeled.tar.xz").examples("train"))
    rng = np.random.default_rng(0)
    return [
        (examples[i].text, int(examples[i].label == "pos")) for i in rng.choice(len(examples), count, replace=False)
    ]


class Rival:
    """The default loop of `transformers`."""

    def __init__(self, folder: Path, rows: Texts, batch: int) -> None:
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=2, attn_implementation="sdpa", dtype=torch.float32
        )
        encoded = [{**tokenizer(text, truncation=True, max_length=512), "labels": label} for text, label in rows]
        self.real = sum(len(row["input_ids"]) for row in encoded)
        collate = DataCollatorWithPadding(tokenizer)
        self.loader = torch.utils.data.DataLoader(encoded, batch_size=batch, collate_fn=collate)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)

    def run(self) -> tuple[float, float]:
        """One pass → real tokens/s, mean loss."""
        self.model.train()
        losses, began = [], time.perf_counter()
        for batch in self.loader:
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
        model = classify.Classifier(encoder, 2)
        model.pooler.load_state_dict({kind: heads[f"pooler.dense.{kind}"] for kind in ("weight", "bias")})
        encodings = tokenizer.encode([text for text, _ in rows])
        features = [
            classify.features(encoding, tokenizer, 512, label)
            for encoding, (_, label) in zip(encodings, rows, strict=True)
        ]
        self.real = sum(len(row) for row in features)
        self.steps = -(-len(rows) // batch)
        config = replace(TrainConfig(), batch_size=batch, precision=precision, warmup=0.0)
        self.scratch = tempfile.TemporaryDirectory()
        self.loop = Loop(
            ClassifyJob(model, features[:1], "cpu"),
            TextFeed(features, None, batch, config.tokens_per_batch, config.seed),
            config,
            Plan(1000.0, 512),
            layers=encoder.config.layers,
            rate=1e-4,
            folder=Path(self.scratch.name) / "checkpoints",
            identity={},
        )

    def run(self) -> tuple[float, float]:
        """One pass → real tokens/s, mean loss."""
        began = time.perf_counter()
        losses = [self.loop.step()[0] for _ in range(self.steps)]
        return self.real / (time.perf_counter() - began), float(np.mean(losses))


def peak(dtype: torch.dtype) -> float:
    """Matrix product peak in GFLOP/s: 4096 × 384 by 384 × 1536, median of 20."""
    a, b = torch.randn(4096, 384).to(dtype), torch.randn(1536, 384).to(dtype)
    seconds = []
    for _ in range(25):
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        seconds.append(time.perf_counter() - began)
    return 2 * 4096 * 384 * 1536 / median(seconds[5:]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", action="store_true", help="append to bench/results/train_speed.jsonl")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    folder = find_base("minilm").folder
    assert folder is not None
    rows = texts(arguments.texts)
    sides = {
        "transformers, fp32, sdpa, defaults": Rival(folder, rows, arguments.batch),
        "filbert, fp32": Ours(folder, rows, arguments.batch, "fp32"),
        "filbert, default": Ours(folder, rows, arguments.batch),
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for n in range(arguments.runs + 1):  # the first round warms up
        for name, side in sides.items():
            speed, loss = side.run()
            print(f"round {n} {name}: {speed:,.0f} tokens/s, loss {loss:.3f}", flush=True)
            if n:
                measured[name].append((speed, loss))
    rival = "transformers, fp32, sdpa, defaults"
    row: dict[str, Any] = {
        "speed": {name: round(median(s for s, _ in runs), 1) for name, runs in measured.items()},
        "ratio": {
            name: round(median(ours / theirs for (ours, _), (theirs, _) in zip(runs, measured[rival], strict=True)), 2)
            for name, runs in measured.items()
        },
        "loss": {name: [round(loss, 4) for _, loss in runs] for name, runs in measured.items()},
        "peak_gflops": {str(d).removeprefix("torch."): round(peak(d)) for d in (torch.float32, torch.bfloat16)},
        "texts": arguments.texts,
        "batch": arguments.batch,
        "tokens": sides[rival].real,
        "bf16": native_bf16(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(row, indent=2))
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
