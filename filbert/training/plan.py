"""How long to train and on how much of each text: by the number of texts, or fitted to a deadline.

Only arithmetic over text lengths and a speed, which speed.py measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from filbert.config import TrainConfig

MEASURING_SECONDS = 6.0  # of training steps that measure the speed before a run with a deadline
LENGTHS = (512, 384, 256, 192, 128, 96, 64)  # longest lengths that a deadline may choose from
RESERVE = 0.03  # share of a deadline kept for the last validation and for writing the model


def default_epochs(texts: int, classes: int) -> float:
    """Passes over the training texts when none are asked for: 25,000 texts seen and 150 more for each class, 1 to 8.

    >>> default_epochs(24_000, 2), default_epochs(15_000, 150), default_epochs(600, 2)
    (2.0, 4.0, 8.0)
    """
    return float(min(8, max(1, math.ceil((25_000 + 150 * classes) / texts))))


@dataclass
class Plan:
    """How long to train and on how much of each text."""

    epochs: float
    max_length: int
    early_length: int | None = None  # of the first half of the run, where it is shorter
    seconds: float | None = None  # the deadline, from the start of training, after the speed was measured
    reason: str = ""


def plan(
    config: TrainConfig,
    lengths: Sequence[int],
    classes: int,
    measure: Callable[[], float],
    *,
    whole: bool = False,
    shorter: bool = True,
) -> Plan:
    """Fit epochs and longest length to `config.minutes`, by the tokens/s that `measure` returns.

    `lengths` are the texts' own, in tokens. Texts are cut as little as one pass over all of them allows. Without
    `config.minutes` nothing is measured. With `whole` nothing is cut: the lengths are those of windows. Without
    `shorter` the first half of a run reads the texts as the second.
    """
    wanted = default_epochs(len(lengths), classes) if config.epochs is None else config.epochs
    lengths_N = np.asarray(lengths)

    def early(epochs: float, crop: int) -> int | None:
        return (
            config.early_length
            if shorter and epochs >= 2 and config.early_length < min(crop, lengths_N.max())
            else None
        )

    def tokens(epochs: float, crop: int) -> float:
        late = lengths_N if whole else np.minimum(lengths_N, crop)
        return float(epochs / 2 * (np.minimum(late, early(epochs, crop) or late).sum() + late.sum()))

    if config.minutes is None:
        return Plan(wanted, config.max_length, early(wanted, config.max_length))
    seconds = config.minutes * 60
    speed = measure()
    affordable = max(1.0, speed * (seconds * (1 - RESERVE) - MEASURING_SECONDS))
    crops = [config.max_length, *(n for n in LENGTHS if n <= config.max_length and not whole)]
    crop = next((n for n in crops if tokens(1, n) <= affordable), crops[-1])
    fitting = [wanted, *(n for n in range(math.ceil(wanted) - 1, 0, -1)), affordable / tokens(1, crop)]
    epochs = next((n for n in fitting if tokens(n, crop) <= affordable), fitting[-1])
    read = "in windows of" if whole else "cut at"
    reason = f"{speed:,.0f} tokens/s: {config.minutes:g} min are {epochs:.2g} epochs of texts {read} {crop} tokens"
    return Plan(epochs, crop, early(epochs, crop), max(1.0, seconds - MEASURING_SECONDS), reason)
