"""Choose the margin below which an int8 prediction is scored again in bf16.

How much int8 changes the probabilities depends on the model, so the margin is measured once, at the end of fitting, and
saved (`int8_margin` in filbert.json): 0.1 on IMDb, where one text in 140 is scored again, and 0.3 on the short
sentences of SST-2, where one in 25 is. The task defines the margin of a prediction (`sureness`): with one label a text
it is the probability of the first class less that of the second.

Shapes: N texts, K values shown for each, such as probabilities.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray

DEFAULT_MARGIN = 0.4  # of a model without a measured one
CHOICES = (0.1, 0.15, 0.2, 0.25, 0.3)
MAX_CHANGE = 0.05  # of a value by int8 …
MAX_CHANGE_99 = 0.018  # … and at the 99th percentile of the texts
MIN_TEXTS, MAX_TEXTS = 100, 500  # to measure on


def measured_margin(
    int8_NK: FloatArray, exact_NK: FloatArray, margin_N: FloatArray, changed_N: npt.NDArray[np.bool_]
) -> float:
    """Return the least margin from which int8 changes no value by more than 0.05, and at most 0.018 in 99 % of texts.

    Nor may a prediction change whose margin is more than half of it. Returns 0.4 where no choice is enough, or for
    fewer than 100 texts.

    >>> exact_NK = np.tile([[0.9, 0.1], [0.6, 0.4]], (50, 1))
    >>> int8_NK, margin_N = np.tile([[0.9, 0.1], [0.66, 0.34]], (50, 1)), np.tile([0.8, 0.32], 50)
    >>> same_N = np.zeros(100, bool)
    >>> measured_margin(exact_NK, exact_NK, margin_N, same_N), measured_margin(int8_NK, exact_NK, margin_N, same_N)
    (0.1, 0.4)
    """
    if len(exact_NK) < MIN_TEXTS:
        return DEFAULT_MARGIN
    change_N = np.abs(int8_NK - exact_NK).max(axis=1)
    for least in CHOICES:
        left_N = np.where(margin_N < least, 0, change_N)
        within = left_N.max() <= MAX_CHANGE and np.quantile(left_N, 0.99) <= MAX_CHANGE_99
        if within and not (changed_N & (margin_N > least / 2)).any():
            return least
    return DEFAULT_MARGIN
