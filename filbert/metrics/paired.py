"""Two models, or two recipes over several seeds, on the same texts: is one better, or did it have luck?

Shapes: A, B runs of the first and of the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filbert.metrics.intervals import Score, Z


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the p-value of McNemar's exact test (1947): were the texts that one alone gets right dealt by a coin?

    >>> mcnemar(4, 0), mcnemar(7, 7)
    (0.125, 1.0)
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    many = first_only + second_only
    return float(binomtest(first_only, many, 0.5).pvalue) if many else 1.0


def difference_of_runs(pairs: Sequence[Score], first_A: Sequence[float], second_B: Sequence[float]) -> Score:
    """Return the mean difference of two recipes, over seeds, with a 95 % interval over texts and seeds together.

    `pairs` are the paired differences of each run of the first to each of the second, on the same texts; `first_A` and
    `second_B` the figures of the runs. The variance over texts is that of a pair, on average; that over seeds is
    Welch's (1947), and a recipe with one run is taken to vary as the other does. Both are added, which is wider than
    need be where seeds average out what texts do.

    >>> pair = {"value": 0.02, "low": 0.01, "high": 0.03}
    >>> found = difference_of_runs([pair] * 4, [0.91, 0.93], [0.89, 0.91])
    >>> round(found["value"], 3), found["low"] < 0.0 < 0.04 < found["high"]
    (0.02, True)
    """
    from scipy.stats import t

    value = float(np.mean([each["value"] for each in pairs]))
    over_texts = float(np.mean([((each["high"] - each["low"]) / (2 * Z)) ** 2 for each in pairs]))
    spreads = [float(np.var(runs, ddof=1)) if len(runs) > 1 else None for runs in (first_A, second_B)]
    known = [each for each in spreads if each is not None]
    if not known:
        return {"value": value, "low": pairs[0]["low"], "high": pairs[0]["high"]}
    parts = [
        ((max(known) if spread is None else spread) / len(runs), max(1, len(runs) - 1))
        for spread, runs in zip(spreads, (first_A, second_B), strict=True)
    ]
    over_seeds = sum(part for part, _ in parts)
    slack = sum(part**2 / freedom for part, freedom in parts)
    freedom = (over_texts + over_seeds) ** 2 / slack if slack else float("inf")
    half = float(t.ppf(0.975, freedom)) * float(np.sqrt(over_texts + over_seeds))
    return {"value": value, "low": value - half, "high": value + half}
