"""How wrong a model is on parts of the texts: by length, by class, by any column of the input, with intervals.

Shapes: N texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.metrics.intervals import interval, resampled_means, wilson
from filbert.records import FloatArray

MOST = 12  # slices of a column
QUARTERS = 4
FEWEST = 5  # texts of a slice that is shown by itself
OTHERS = "(others)"
EMPTY = "(empty)"


def by_values(values: Sequence[str], errors_N: FloatArray) -> list[dict[str, Any]]:
    """Return the error of the texts with each value, most frequent value first; of numbers that of each quarter.

    At most 12 slices; rare values are one slice, unless there is one of them.

    >>> [(each["value"], each["texts"]) for each in by_values(["a"] * 6 + ["b"] * 5 + ["c"], np.zeros(12))]
    [('a', 6), ('b', 5), ('c', 1)]
    """
    numbers = _numbers(values)
    if numbers is not None and len(set(numbers)) > MOST:
        return by_numbers(numbers, errors_N)
    named = [value.strip() or EMPTY for value in values]
    counts = Counter(named).most_common()
    kept = [value for value, count in counts if count >= FEWEST][: MOST - 1]
    if len(kept) == len(counts) - 1:  # one alone is named, too
        kept = [value for value, _ in counts]
    return by_groups([value if value in kept else OTHERS for value in named], errors_N, [*kept, OTHERS])


def by_numbers(values: Sequence[float], errors_N: FloatArray, unit: str = "") -> list[dict[str, Any]]:
    """Return the error in each quarter of the texts, smallest numbers first.

    >>> [each["value"] for each in by_numbers(range(1, 9), np.zeros(8), " tokens")]
    ['1 to 2 tokens', '3 to 4 tokens', '5 to 6 tokens', '7 to 8 tokens']
    """
    found_N = np.asarray(values, dtype=np.float64)
    edges = np.unique(np.quantile(found_N, np.arange(1, QUARTERS) / QUARTERS, method="lower"))
    part_N = np.searchsorted(edges, found_N, side="left")
    names = []
    for part in range(len(edges) + 1):
        inside_N = found_N[part_N == part]
        low, high = (f"{end:,.6g}" for end in (inside_N.min(initial=np.inf), inside_N.max(initial=-np.inf)))
        names.append(f"{low} to {high}{unit}" if low != high else f"{low}{unit}")
    return by_groups([names[part] for part in part_N.tolist()], errors_N, names)


def by_groups(groups: Sequence[str], errors_N: FloatArray, order: Sequence[str]) -> list[dict[str, Any]]:
    """Return the error in each group of texts, in an order; groups without texts are left out."""
    group_N, binary = np.asarray(groups, dtype=object), bool(np.isin(errors_N, (0, 1)).all())
    found = []
    for name in dict.fromkeys(order):
        inside_N = errors_N[group_N == name]
        if len(inside_N):
            found.append({"value": name, "texts": len(inside_N), "error": mean_error(inside_N, binary=binary)})
    return found


def mean_error(errors_N: FloatArray, *, binary: bool) -> dict[str, Any]:
    """Return the mean with its 95 % interval: Wilson's where errors are 0 and 1, else a bootstrap over texts.

    >>> mean_error(np.array([0.0, 1.0]), binary=True)["value"]
    0.5
    """
    mean = float(errors_N.mean())
    if binary:
        low, high = wilson(int(errors_N.sum()), len(errors_N))
        return {"value": mean, "low": low, "high": high}
    return interval(mean, resampled_means(errors_N), texts=len(errors_N))


def _numbers(values: Sequence[str]) -> list[float] | None:
    """Return values as numbers; None where one is none."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        return None
    return found if all(np.isfinite(found)) else None
