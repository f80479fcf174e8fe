"""Choose the threshold of a cascade, and bound its loss of accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray, IntArray

RISK = 0.05  # probability that the loss exceeds the bound
SHARES = np.arange(1, 41) / 40  # of the texts answered by the linear model, to be tested
NEVER = 2.0  # a threshold above any probability


def choose_threshold(
    linear_NC: FloatArray, model_NC: FloatArray, true_N: IntArray, tolerance: float
) -> tuple[float, list[dict[str, Any]]]:
    """Return the lowest threshold whose loss of accuracy is bounded by `tolerance`, and the loss at each of SHARES.

    `linear_NC` and `model_NC` are the probabilities of both models on held-out texts. The threshold is NEVER where no
    share passes.
    """
    confidence_N = linear_NC.max(axis=1)
    lost_N = (model_NC.argmax(axis=1) == true_N).astype(int) - (linear_NC.argmax(axis=1) == true_N)
    order = np.random.default_rng(0).permutation(len(true_N))  # the bound depends on the order of the texts
    kept, chosen, curve = True, NEVER, []
    for share in SHARES:
        threshold = float(np.quantile(confidence_N, 1 - share, method="lower"))
        by_linear_N = confidence_N >= threshold
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
    """Return an upper bound on the mean of independent costs in [-1, 1], with confidence 1 - `risk`.

    A betting confidence bound (Waudby-Smith & Ramdas 2024, theorem 3), which assumes no distribution; where few costs
    differ from 0 it is as tight as an exact binomial bound.

    >>> [round(upper_bound(np.zeros(n)), 4) for n in (100, 1000)]
    [0.0341, 0.0035]
    """
    x_N = (np.asarray(cost_N, dtype=np.float64) + 1) / 2
    if not len(x_N):
        return 1.0
    numbers = np.arange(1, len(x_N) + 1)
    mean_N = (0.5 + np.cumsum(x_N)) / (numbers + 1)
    variance_N = (0.25 + np.cumsum((x_N - mean_N) ** 2)) / (numbers + 1)
    before_N = np.concatenate(([0.25], variance_N[:-1]))  # a bet uses only earlier texts
    bet_N = np.sqrt(2 * np.log(1 / risk) / (len(x_N) * before_N))

    def refuted(mean: float) -> bool:
        """Return whether betting on a lower mean has multiplied the capital by 1 / risk at some text."""
        capital_N = np.cumsum(np.log1p(np.minimum(bet_N, 0.9 / (1 - mean)) * (mean - x_N)))
        return bool(capital_N.max(initial=0.0) >= np.log(1 / risk))

    low, high = 0.0, 1 - 1e-9
    if not refuted(high):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return 2 * high - 1
