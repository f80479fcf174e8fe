"""A pre-training run of some seconds on sixty documents, to be run whole, stopped and resumed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from filbert.config import PretrainConfig
from filbert.corpus.prepare import Start
from filbert.pretraining.run import pretrain

CONFIG = PretrainConfig(
    epochs=2, batch_tokens=512, tokens_per_batch=256, length=32, long_length=64, precision="fp32", learning_rate=3e-3
)
START = Start(size="tiny", vocabulary_size=120)


def corpus(folder: Path, documents: int = 60, name: str = "wiki.txt") -> Path:
    """Documents that each repeat three words of their own."""
    random = np.random.default_rng(0)
    words = ["river", "house", "stone", "green", "night", "bread", "music", "winter", "paper", "glass"]
    lines = []
    for _ in range(documents):
        own = random.choice(words, 3, replace=False)
        lines += [" ".join(random.choice(own, 6)) + "." for _ in range(8)] + [""]
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(folder: Path, source: Path, config: PretrainConfig = CONFIG, **options: Any) -> Any:
    return pretrain([source], folder / "out", start=START, config=config, **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "model.safetensors")


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "train.jsonl").read_text().splitlines()]


class Stop:
    """Progress that kills the run when the training bar has been drawn a number of times."""

    def __init__(self, after: int) -> None:
        self.after = after

    def say(self, text: str) -> None: ...

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training":
            self.after -= 1
            if self.after == 0:
                os.kill(os.getpid(), signal.SIGTERM)


class Break(Stop):
    """Progress that breaks off when a line is said."""

    def __init__(self, line: str) -> None:
        super().__init__(0)
        self.line = line

    def say(self, text: str) -> None:
        if text.startswith(self.line):
            raise KeyboardInterrupt
