"""Accuracy of our training and of the loop of `transformers`, on the same texts and seeds.

Both start from `minilm`, read all training texts as often, 32 a step, at the same peak rate, which rises over 6 % of
the steps and falls in a straight line, clipped at 1; the rival in fp32 with sdpa, ours as `filbert fit` has it. Both
keep the weights with the best macro-F1 on the validation texts, looked at as often, and end where the plan ends. A seed
is the head's initial weights, the order and dropout. Runs are appended to bench/results/train_accuracy.jsonl, and
one that is there already is not made again.

    python bench/train_accuracy.py [trec6|sst2 …] [--seeds 3]
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
import transformers
from accuracy import data_of
from encoders import fine_tune, made, say
from labelled import numbers
from records import HERE, Row, append
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset
from filbert.metrics import calibration, classes
from filbert.records import FloatArray, IntArray
from filbert.training.loop import FEWEST_VALIDATIONS, MOST_VALIDATIONS
from filbert.training.optimizer import default_learning_rate, schedule
from filbert.training.plan import default_epochs

RESULTS = HERE / "results" / "train_accuracy.jsonl"
OURS, RIVAL = "filbert, default", "transformers, fp32, sdpa, defaults"
NAMES = ("trec6", "sst2")


class Rival:
    """The loop of `transformers` on the texts of a set."""

    def __init__(self, data: Dataset, seed: int) -> None:
        folder = find_base("minilm").folder
        assert folder is not None
        torch.manual_seed(seed)
        self.data = data
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(data.settings.labels), attn_implementation="sdpa", dtype=torch.float32
        )
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.rows = {part: self._rows(part) for part in data.splits.parts}

    def _rows(self, part: str) -> list[dict[str, object]]:
        """Return the texts of a part as the collator takes them."""
        labels = self.true(part).tolist()
        texts = [example.text for example in self.data.splits.parts[part]]
        return [
            {**self.tokenizer(text, truncation=True, max_length=512), "labels": label}
            for text, label in zip(texts, labels, strict=True)
        ]

    def true(self, part: str) -> IntArray:
        """Return the numbers of the labels of a part."""
        return numbers(self.data.splits.parts[part], self.data)

    @torch.inference_mode()
    def chances(self, part: str) -> FloatArray:
        """Return probabilities_NC of the texts of a part."""
        self.model.eval()
        loader = torch.utils.data.DataLoader(self.rows[part], batch_size=32, collate_fn=self.collate)
        logits = [self.model(**batch).logits.numpy() for batch in loader]
        self.model.train()
        return calibration.softmax(np.concatenate(logits))

    def macro_f1(self, part: str) -> float:
        """Return the figure that the best weights are chosen by."""
        return float(f1_score(self.true(part), self.chances(part).argmax(1), average="macro", zero_division=0))

    def train(self, epochs: float, config: TrainConfig, rate: float) -> float:
        """Train to the end and keep the best weights → seconds."""
        loader = torch.utils.data.DataLoader(
            self.rows["train"], batch_size=config.batch_size, shuffle=True, collate_fn=self.collate
        )
        matrices = [p for p in self.model.parameters() if p.ndim > 1]  # biases and norms do not decay, as in Trainer
        rest = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rate)
        steps, step, best, kept = round(epochs * len(loader)), 0, -1.0, {}
        looks = max(FEWEST_VALIDATIONS, min(MOST_VALIDATIONS, math.ceil(epochs)))  # as training/loop.py has it
        began = time.perf_counter()
        self.model.train()
        while step < steps:
            for batch in loader:
                for group in optimizer.param_groups:
                    group["lr"] = rate * schedule((step + 1) / steps, config.warmup)
                self.model(**batch).loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                if step * looks // steps > (step - 1) * looks // steps:
                    found = self.macro_f1("validation")
                    print(f"{step} of {steps} steps: validation macro-F1 {found:.4f}", flush=True)
                    if found > best:
                        best, kept = found, copy.deepcopy(self.model.state_dict())
                if step == steps:
                    break
        self.model.load_state_dict(kept)
        return time.perf_counter() - began


def fit_rival(data: Dataset, config: TrainConfig, epochs: float, rate: float) -> Row:
    side = Rival(data, config.seed)
    seconds = side.train(epochs, config, rate)
    scores = classes.score(side.true("test"), side.chances("test"), data.settings.labels)
    counts = {name: len(part) for name, part in data.splits.parts.items()}
    return {
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "counts": counts,
        "training": {"seconds": round(seconds, 1), "epochs": epochs},
    }


def measure(name: str, seeds: int) -> None:
    data = data_of(name)
    epochs, rate = default_epochs(len(data.splits.train), len(data.settings.labels)), default_learning_rate(384)
    found: dict[str, list[float]] = {OURS: [], RIVAL: []}
    for seed in range(seeds):
        config = TrainConfig(seed=seed, epochs=epochs, learning_rate=rate, patience=MOST_VALIDATIONS)
        for side, values in found.items():
            key: Row = {"set": name, "base": side, "seed": seed, "limit": None, "settings": asdict(config)}
            row = made(RESULTS, key)
            if row is None:
                out: Path = HERE / "work" / f"same-{name}-seed{seed}"
                scores = (
                    fine_tune(data, out, "minilm", config) if side == OURS else fit_rival(data, config, epochs, rate)
                )
                row = append(RESULTS, {**key, **scores})
            say(row)
            values.append(row["accuracy"]["value"])
    for side, values in found.items():
        spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
        print(f"{name}, {side}: {mean(values):.4f}{spread} over {len(values)} seeds", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    for name in args.sets or NAMES:
        measure(name, args.seeds)


if __name__ == "__main__":
    main()
