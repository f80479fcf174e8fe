"""A linear model in front of BERT: it answers the texts it is sure of, BERT the others.

    training texts → linear model on word pieces → how sure it must be, fitted on held-out texts → who answers what

How sure is a promise with a stated risk: with 95 % confidence, on texts like the held-out ones, the two together are
right on at most so many points fewer than BERT alone. What a text costs is the difference between both being right:
-1, 0 or 1. Shares are tried from small to large, each with a bound for the mean of such numbers, and the first that
breaks the promise ends it, which keeps the confidence whole (fixed sequence testing: Angelopoulos et al. 2021). Few
held-out texts prove little: without a single loss 1,000 of them prove 0.35 points, 100 of them 3.4.

No torch here. Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.linear.model import AT_ONCE, BUCKETS, Linear, count_pieces, fit_linear
from filbert.metrics import calibration
from filbert.records import FloatArray, IntArray


@dataclass(frozen=True)
class Cascade:
    """The linear model, and the probability from which on its answer stands."""

    linear: Linear
    threshold: float

    def answer(self, texts: Sequence[IntArray]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return logits_NC of texts given as uncut word pieces, and which of the answers stand."""
        parts = [
            self.linear.logits(count_pieces(texts[begin : begin + AT_ONCE])) for begin in range(0, len(texts), AT_ONCE)
        ]
        logits_NC = np.concatenate([*parts, np.empty((0, len(self.linear.bias_C)))])
        if not len(logits_NC):
            return logits_NC, np.zeros(0, dtype=bool)
        return logits_NC, calibration.softmax(logits_NC).max(axis=1) >= self.threshold


def fit_cascade(
    train: Sequence[IntArray], train_N: IntArray, held_out: Sequence[IntArray], held_out_N: IntArray, classes: int
) -> Linear:
    """Fit the linear model, and its temperature on the held-out texts, which becomes part of its weights."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # scikit-learn's own; not needed to answer

    counts = count_pieces(train)
    matrix = csr_matrix(
        (counts.counts_K.astype(np.float32), counts.buckets_K.astype(np.int32), counts.starts),
        shape=(len(counts), BUCKETS),
    )
    found = fit_linear(matrix, train_N, classes)
    warmth = np.float32(calibration.fit_temperature(found.logits(count_pieces(held_out)), held_out_N))
    return Linear(found.buckets_F, found.idf_F, found.weights_FC / warmth, found.bias_C / warmth)


def seconds_each(work: Callable[[], Any], texts: int) -> float:
    """Return the seconds a text takes, the better of two runs."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) / max(texts, 1)
