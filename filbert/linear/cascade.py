"""A cascade: a linear model answers the texts it is sure of, BERT the others.

    training texts → linear model on word pieces → threshold on its confidence, fitted on held-out texts

The threshold guarantees, with 95 % confidence on texts like the held-out ones, that the cascade loses at most a given
number of points of accuracy against BERT alone. The loss on a text is (BERT right) - (cascade right): -1, 0 or 1.
Shares of texts are tested from small to large, each with an upper bound on the mean loss, up to the first that exceeds
the tolerance, which keeps the confidence level (fixed sequence testing: Angelopoulos et al. 2021). Few held-out texts
show little: without a single loss 1,000 of them bound it by 0.35 points, 100 of them by 3.4.

No torch here. Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.linear.counts import BATCH_TEXTS, Counts, count_runs
from filbert.linear.model import Linear, fit_linear
from filbert.metrics import calibration
from filbert.records import FloatArray, IntArray

MAX_NGRAM = 3  # word pieces


@dataclass(frozen=True)
class Cascade:
    """The linear model, and the least probability with which its prediction is used."""

    linear: Linear
    threshold: float

    def answer(self, texts: Sequence[IntArray]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return logits_NC of texts, given as word pieces without truncation, and which of them to use."""
        parts = [
            self.linear.logits(count_pieces(texts[begin : begin + BATCH_TEXTS]))
            for begin in range(0, len(texts), BATCH_TEXTS)
        ]
        logits_NC = np.concatenate([*parts, np.empty((0, len(self.linear.bias_C)))])
        if not len(logits_NC):
            return logits_NC, np.zeros(0, dtype=bool)
        return logits_NC, calibration.softmax(logits_NC).max(axis=1) >= self.threshold


def fit_cascade(
    train: Sequence[IntArray], train_N: IntArray, held_out: Sequence[IntArray], held_out_N: IntArray, classes: int
) -> Linear:
    """Fit the linear model, with a temperature fitted on the held-out texts folded into its weights."""
    found = fit_linear(count_pieces(train), train_N, classes)
    temperature = np.float32(calibration.fit_temperature(found.logits(count_pieces(held_out)), held_out_N))
    return Linear(found.buckets_F, found.idf_F, found.weights_FC / temperature, found.bias_C / temperature)


def count_pieces(texts: Sequence[IntArray]) -> Counts:
    """Count the runs of one to three word pieces in texts given as ids.

    >>> len(count_pieces([np.array([7, 8, 7], np.int32)]).buckets_K)
    5
    """
    return count_runs(texts, MAX_NGRAM)


def seconds_each(work: Callable[[], Any], texts: int) -> float:
    """Return the seconds per text, from the faster of two runs."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) / max(texts, 1)
