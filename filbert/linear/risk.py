"""How sure a linear model must be to answer in BERT's place: thresholds, and a bound on what that costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray, IntArray

RISK = 0.05  # of the promise being broken
SHARES = np.arange(1, 41) / 40  # of the texts, that the linear model may answer
NEVER = 2.0  # more sure than anything can be


def choose(
    linear_NC: FloatArray, model_NC: FloatArray, true_N: IntArray, tolerance: float
) -> tuple[float, list[dict[str, Any]]]:
    """Return the lowest threshold that keeps the promise, and what each share answered by the linear model would cost.

    Probabilities of both on held-out texts, and the share of accuracy that may be lost. A threshold of NEVER says that
    no share keeps the promise.
    """
    sure_N = linear_NC.max(axis=1)
    lost_N = (model_NC.argmax(axis=1) == true_N).astype(int) - (linear_NC.argmax(axis=1) == true_N)
    order = np.random.default_rng(0).permutation(len(true_N))  # the bound bets on one text after the other
    kept, chosen, curve = True, NEVER, []
    for share in SHARES:
        threshold = float(np.quantile(sure_N, 1 - share, method="lower"))
        by_linear_N = sure_N >= threshold
        cost_N = np.where(by_linear_N, lost_N, 0)
        bound = upper_bound(cost_N[order])
        kept = kept and bound <= tolerance
        if kept:
            chosen = threshold
        curve.append(
            {"threshold": threshold, "share": float(by_linear_N.mean()), "lost": float(cost_N.mean()), "bound": bound}
        )
    return chosen, curve


def upper_bound(cost_N: npt.ArrayLike, risk: float = RISK) -> float:
    """Return a number that the mean of independent costs in [-1, 1] lies above with probability `risk` at most.

    By betting against each mean that is too high (Waudby-Smith & Ramdas 2024, theorem 3): where few costs differ from 0
    it is as tight as an exact bound of a rare share, and no distribution is assumed.

    >>> [round(upper_bound(np.zeros(n)), 4) for n in (100, 1000)]
    [0.0341, 0.0035]
    """
    x_N = (np.asarray(cost_N, dtype=np.float64) + 1) / 2
    if not len(x_N):
        return 1.0
    numbers = np.arange(1, len(x_N) + 1)
    mean_N = (0.5 + np.cumsum(x_N)) / (numbers + 1)
    variance_N = (0.25 + np.cumsum((x_N - mean_N) ** 2)) / (numbers + 1)
    before_N = np.concatenate(([0.25], variance_N[:-1]))  # a bet knows only what came before it
    bet_N = np.sqrt(2 * np.log(1 / risk) / (len(x_N) * before_N))

    def refuted(mean: float) -> bool:
        """Whether a gambler who bets that the mean is lower has multiplied the stake by 1 / risk at some time."""
        capital_N = np.cumsum(np.log1p(np.minimum(bet_N, 0.9 / (1 - mean)) * (mean - x_N)))
        return bool(capital_N.max(initial=0.0) >= np.log(1 / risk))

    low, high = 0.0, 1 - 1e-9
    if not refuted(high):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return 2 * high - 1
