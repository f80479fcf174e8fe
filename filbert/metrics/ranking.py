"""How well probabilities rank texts: average precision of each label, and of resamples of the texts.

What is measured of label sets besides stands in label_sets.py. No torch here.

Shapes: N texts, L labels, R resamples, J different probabilities among a label's true texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filbert.metrics.intervals import Ints, text_counts
from filbert.records import FloatArray

Flags = npt.NDArray[np.bool_]


def average_precisions(
    truth_NL: Flags, chances_NL: FloatArray, *, resamples: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the average precision of each label, L, and of each resample and label, R × L; NaN where no text has it.

    Texts are ranked once per label. A resample changes how often a text counts, not its rank, and precision is asked
    for only at the probabilities of true texts, so each resample is two sums between those.

    >>> flags, chances = np.array([[True], [False], [True]]), np.array([[0.9], [0.8], [0.7]])
    >>> average_precisions(flags, chances, resamples=0, rng=np.random.default_rng(0))[0].round(3).tolist()
    [0.833]
    """
    n, width = truth_NL.shape
    rankings = [_ranking(truth_NL[:, label], chances_NL[:, label]) for label in range(width)]
    values_L = np.concatenate([_average_precision(np.ones((n, 1)), ranking) for ranking in rankings])
    blocks = [np.empty((0, width))]
    for counts_RN in text_counts(n, resamples, rng):
        counts_NR = np.ascontiguousarray(counts_RN.T, dtype=np.float32)
        blocks.append(np.stack([_average_precision(counts_NR, ranking) for ranking in rankings], axis=1))
    return values_L, np.concatenate(blocks)


def _ranking(truth_N: Flags, chances_N: FloatArray) -> tuple[Ints, Ints, Ints, Ints]:
    """Return texts by falling probability, down to the last true one, cut after each probability a true text has.

    First all texts and where their J groups start, then the true ones alone and where theirs do.
    """
    order_N = np.argsort(-chances_N, kind="stable")
    true_N = order_N[truth_N[order_N]]
    if not len(true_N):
        return (np.empty(0, dtype=np.int64),) * 4
    kinds_J, true_starts_J = np.unique(-chances_N[true_N], return_index=True)
    ends_J = np.searchsorted(-chances_N[order_N], kinds_J, "right")
    return order_N[: ends_J[-1]], np.append(0, ends_J[:-1]), true_N, true_starts_J


def _average_precision(counts_NR: npt.NDArray[np.floating], ranking: tuple[Ints, Ints, Ints, Ints]) -> FloatArray:
    """Return the mean over true texts of the precision at their probability, each text counted as often as drawn."""
    order_N, starts_J, true_N, true_starts_J = ranking
    if not len(true_N):
        return np.full(counts_NR.shape[1], np.nan)
    above_JR = np.add.reduceat(counts_NR[order_N], starts_J, axis=0).cumsum(axis=0)
    true_JR = np.add.reduceat(counts_NR[true_N], true_starts_J, axis=0)
    precision_JR = true_JR.cumsum(axis=0) / np.maximum(above_JR, 1)  # 0 of 0 counts nothing below
    with np.errstate(invalid="ignore"):
        return np.asarray((true_JR * precision_JR).sum(axis=0) / true_JR.sum(axis=0), dtype=np.float64)
