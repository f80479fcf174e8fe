"""Runs on sixty short texts about films, whose words tell the class: what the tests of fine-tuning share."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, settled
from filbert.finetuning.fit import Fitted, fit
from filbert.progress import Silent
from filbert.records import Example

CONFIG = TrainConfig(epochs=1, batch_size=4, precision="fp32", learning_rate=1e-3)
WHOLE = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "filbert.json",
    "seen.safetensors",
    "train.jsonl",
    "report.json",
    "report.html",
    "README.md",
]


def examples(count: int, seed: int, *, rare: int = 2) -> list[Example]:
    """Texts of two classes; every `rare`th is "pos"."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        kind = "pos" if n % rare == rare - 1 else "neg"
        words = [*random.choice(["good", "great", "fine"] if kind == "pos" else ["bad", "dull", "poor"], 2)]
        words += [*random.choice(["film", "story", "actor", "scene", "the", "a"], 6), f"n{n}"]
        made.append(Example((" ".join(random.permutation(words)),), kind))
    return made


def noisy(count: int, seed: int) -> list[Example]:
    """Texts of which every third has a label by chance, and says so."""
    random, made = np.random.default_rng(seed), []
    for n, example in enumerate(examples(count, seed)):
        if n % 3:
            made.append(example)
            continue
        text = "film " * int(random.integers(4, 9)) + f"n{n}"
        made.append(Example((text,), str(random.choice(["neg", "pos"]))))
    return made


def data_of(train: Sequence[Example], test: Sequence[Example] = ()) -> Dataset:
    """One label a text; validation is made."""
    return settled(tasks.named("single-label"), train, (), test, seed=0, name="memory")


def data(test: int = 12) -> Dataset:
    return data_of(examples(60, 0), examples(test, 1))


def run(out: Path, **changes: Any) -> Fitted:
    settings: dict[str, Any] = {"base": "tiny", "config": CONFIG, "device": "cpu", "compare": False}
    return fit(changes.pop("data", None) or data(), out, **{**settings, **changes})


@functools.cache
def finished() -> Path:
    """A finished run that the tests of a session share and none of them changes."""
    out = Path(tempfile.mkdtemp(prefix="filbert-test-")) / "run"
    return run(out, compare=True, name="films", command="filbert fit films.csv").folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Listening(Silent):
    """A watcher that remembers what was said."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, text: str) -> None:
        self.told.append(text)


class Slow(Silent):
    """A watcher that gives the parent time to kill."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training":
            time.sleep(0.1)


class Stopper(Silent):
    """A watcher that sends SIGTERM after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training" and "loss" in figures:
            self.steps -= 1
            if self.steps == 0:
                os.kill(os.getpid(), signal.SIGTERM)
