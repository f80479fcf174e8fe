"""Training speed beside `transformers`, same texts, same weights, same process: real tokens/s.

The rival: BertForSequenceClassification, fp32, sdpa, dropout 0.1, padded to the longest text of the batch, AdamW, the
loop its own documentation teaches. A second one as an expert tunes it: bf16 autocast, no attention dropout, fused
AdamW, texts of like length together. Ours: the training step of `filbert fit`. Runs alternate, medians are compared,
the losses are printed beside (same data, different dropout draws), and the processor's own product peak.

    python bench/train_speed.py [--texts 64] [--runs 3] [--batch 16] [--write]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers
from accuracy import DATA, HERE
from speeds import alternate, by_length, circumstances, compared, record
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from filbert.bases import find_base
from filbert.checkpoint import load_base
from filbert.classify_job import ClassifyJob, TextFeed
from filbert.config import TrainConfig
from filbert.data.sources import open_source
from filbert.plan import Plan
from filbert.tasks import classify
from filbert.train import Loop

RESULTS = HERE / "results" / "train_speed.jsonl"
DEFAULT = "transformers, fp32, sdpa, defaults"
TUNED = "transformers, bf16, no attention dropout, fused AdamW, by length"
Texts = list[tuple[str, int]]


def texts(count: int) -> Texts:
    """Reviews of the IMDb training set, drawn at random, always the same ones."""
    examples = list(open_source(DATA / "imdb" / "aclImdb_labeled.tar.xz").examples("train"))
    rng = np.random.default_rng(0)
    return [
        (examples[i].text, int(examples[i].label == "pos")) for i in rng.choice(len(examples), count, replace=False)
    ]


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
            with torch.autocast("cpu", torch.bfloat16, enabled=self.tuned):
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
    sides: dict[str, Rival | Ours] = {
        DEFAULT: (rival := Rival(folder, rows, arguments.batch)),
        TUNED: Rival(folder, rows, arguments.batch, tuned=True),
        "filbert, fp32": Ours(folder, rows, arguments.batch, "fp32"),
        "filbert, default": Ours(folder, rows, arguments.batch),
    }
    told = compared(alternate(sides, arguments.runs), DEFAULT, TUNED)
    facts = {"texts": arguments.texts, "batch": arguments.batch, "tokens": rival.real}
    record(RESULTS, {**told, **facts, **circumstances("torch", "transformers")}, write=arguments.write)


if __name__ == "__main__":
    main()
