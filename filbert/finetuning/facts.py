"""What a report says of a run beside its scores: how long the texts are, and where they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def length_profile(lengths: Sequence[int], max_length: int) -> dict[str, Any]:
    """Count texts by length in tokens: bin i holds lengths above `edges[i]`, up to and including `edges[i + 1]`.

    `max_length` is an edge whenever a text is longer, so that cut and uncut texts never share a bar; beyond twice
    `max_length` everything is one last bin.

    >>> length_profile([3, 4, 5, 40], max_length=4)
    {'edges': [0, 1, 2, 3, 4, 5, 6, 7, 8, 40], 'counts': [0, 0, 1, 1, 1, 0, 0, 0, 1], 'max_length': 4}
    """
    longest = max(lengths, default=0)
    if longest > max_length:
        width = max(1, -(-max_length // 16))
        inside = list(range(max_length, 0, -width))[::-1]
        beyond = range(max_length + width, min(longest, 2 * max_length) + 1, width)
        edges = sorted({0, *inside, *beyond, longest})
    else:
        width = _round_width(longest / 16)
        edges = list(range(0, max(longest, 1) + width, width))
    bin_N = np.searchsorted(edges, np.maximum(np.asarray(lengths, dtype=np.int64), 1), "left") - 1
    counts = np.bincount(bin_N, minlength=len(edges) - 1)
    return {"edges": edges, "counts": counts.tolist(), "max_length": max_length}


def _round_width(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … that is not below `width`."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= width:
                return step * size
        size *= 10
