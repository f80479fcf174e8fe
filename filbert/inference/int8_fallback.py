"""When int8's answer stands and when bf16 is asked: how far an answer must be from another one.

Rounding to eight bits moves a probability a little, and how little depends on the model. So each is measured once, as
it is fitted, and its folder keeps the least margin that serves (`int8_margin` in filbert.json): 0.1 with IMDb's
reviews, where one text in 140 goes to bf16, and 0.3 with the short sentences of SST-2, where one in 25 does. What the
margin of an answer is, is its task's: of one label a text the lead of the first class over the second.

Shapes: N texts, K numbers that people read of each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray

USUAL = 0.4  # margin of a model that nobody has measured
CHOICES = (0.1, 0.15, 0.2, 0.25, 0.3)
MOVED = 0.05  # that int8 may move a number, at most …
MOSTLY = 0.018  # … and for 99 texts in a hundred
FEWEST, MOST = 100, 500  # texts to measure on


def measured_margin(
    int8_NK: FloatArray, exact_NK: FloatArray, margin_N: FloatArray, changed_N: npt.NDArray[np.bool_]
) -> float:
    """Return the least margin from which int8 moves no number by more than 0.05, and 99 of 100 texts' by 0.018.

    Nor may an answer change where its margin is more than half of it. The usual 0.4 is the most, and what fewer than
    100 texts give.

    >>> exact_NK = np.tile([[0.9, 0.1], [0.6, 0.4]], (50, 1))
    >>> int8_NK, margin_N = np.tile([[0.9, 0.1], [0.66, 0.34]], (50, 1)), np.tile([0.8, 0.32], 50)
    >>> same_N = np.zeros(100, bool)
    >>> measured_margin(exact_NK, exact_NK, margin_N, same_N), measured_margin(int8_NK, exact_NK, margin_N, same_N)
    (0.1, 0.4)
    """
    if len(exact_NK) < FEWEST:
        return USUAL
    moved_N = np.abs(int8_NK - exact_NK).max(axis=1)
    for least in CHOICES:
        left_N = np.where(margin_N < least, 0, moved_N)
        within = left_N.max() <= MOVED and np.quantile(left_N, 0.99) <= MOSTLY
        if within and not (changed_N & (margin_N > least / 2)).any():
            return least
    return USUAL
