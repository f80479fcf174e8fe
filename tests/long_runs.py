"""Texts beyond the longest length, and a small finished run on them for each task that averages windows."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from finished import TARGETS, WORDS

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, dataset_of
from filbert.finetuning.fit import Fitted, fit

LENGTH = 24
USUAL = "single-label"
CHOOSES = [name for name, task in tasks.TASKS.items() if not task.LONG]
CONFIG = TrainConfig(epochs=1, seed=3, precision="fp32", batch_size=8, max_length=LENGTH, long="windows")


def texts(count: int, *, pairs: bool = False) -> list[tuple[str, ...]]:
    """Short and long texts in turn, every word with its place, so that windows differ."""
    long = [" ".join(f"{WORDS[(n + k) % 8]} {k % 10}" for k in range(4 + 20 * (n % 3))) for n in range(count)]
    return (
        [(f"is it {n}?", each) if n % 2 else (each, f"is it {n}?") for n, each in enumerate(long)]
        if pairs
        else [(each,) for each in long]
    )


def data(name: str, *, pairs: bool = False, count: int = 40) -> Dataset:
    targets = [TARGETS[name][n % 4] for n in range(count)]
    return dataset_of(texts(count, pairs=pairs), targets, tasks.named(name), seed=1)


@functools.cache
def run(name: str, *, pairs: bool = False) -> Fitted:
    out = Path(tempfile.mkdtemp(prefix="filbert-test-")) / "run"
    return fit(data(name, pairs=pairs), out, base="tiny", config=CONFIG, name="long")
