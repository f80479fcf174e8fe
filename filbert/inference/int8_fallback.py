"""When int8's answer stands and when bf16 is asked: the lead that the first class must have over the second.

Rounding to eight bits moves a probability a little, and how little depends on the model. So each is measured once, as
it is fitted, and its folder keeps the least lead that serves (`int8_doubt` in filbert.json): 0.1 with IMDb's reviews,
where one text in 140 goes to bf16, and 0.3 with the short sentences of SST-2, where one in 25 does.
"""

from __future__ import annotations

import numpy as np

from filbert.records import FloatArray

USUAL = 0.4  # of a model that nobody has measured
CHOICES = (0.1, 0.15, 0.2, 0.25, 0.3)
MOVED = 0.05  # of a probability that int8 gives, at most …
MOSTLY = 0.018  # … and for 99 texts in a hundred
FEWEST, MOST = 100, 500  # texts to measure on


def lead(probabilities_NC: FloatArray) -> FloatArray:
    """Return how far the most probable class is ahead of the next one.

    >>> lead(np.array([[0.75, 0.25, 0.0], [0.25, 0.25, 0.5]])).tolist()
    [0.5, 0.25]
    """
    two_N2 = np.sort(probabilities_NC, axis=1)[:, -2:]
    lead_N: FloatArray = two_N2[:, -1] - two_N2[:, 0]
    return lead_N


def measured(int8_NC: FloatArray, exact_NC: FloatArray) -> float:
    """Return the least lead from which int8 moves no probability by more than 0.05, and 99 of 100 texts' by 0.018.

    Nor may a label change where the lead is more than half of it. Both are probabilities of the same N texts. The usual
    0.4 is the most, and what fewer than 100 texts give.

    >>> exact_NC = np.tile([[0.9, 0.1], [0.6, 0.4]], (50, 1))
    >>> int8_NC = np.tile([[0.9, 0.1], [0.66, 0.34]], (50, 1))
    >>> measured(exact_NC, exact_NC), measured(int8_NC, exact_NC)
    (0.1, 0.4)
    """
    if len(exact_NC) < FEWEST:
        return USUAL
    lead_N, moved_N = lead(int8_NC), np.abs(int8_NC - exact_NC).max(axis=1)
    other_N = int8_NC.argmax(axis=1) != exact_NC.argmax(axis=1)
    for least in CHOICES:
        left_N = np.where(lead_N < least, 0, moved_N)
        within = left_N.max() <= MOVED and np.quantile(left_N, 0.99) <= MOSTLY
        if within and not (other_N & (lead_N > least / 2)).any():
            return least
    return USUAL
