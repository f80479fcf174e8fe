"""What a model gets wrong of the texts that it answers, where it may leave those out that it is unsure of.

The risk–coverage curve (El-Yaniv & Wiener 2010): the surer texts are answered first. A threshold on the confidence is
chosen so that the share of wrong answers is at most a rate, with 95 % confidence: each of 20 thresholds is tested, from
the highest, by the exact binomial (Clopper & Pearson 1934), and a threshold that passes leaves its share of the error
probability to the next (the fallback procedure, Wiens 2003; Angelopoulos et al. 2021, "learn then test").

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.metrics.intervals import Score, wilson
from filbert.records import FloatArray

LEVELS = 20
RISK = 0.05  # probability that the true share of wrong answers is above the rate
POINTS = 50  # of a curve


@dataclass(frozen=True)
class Level:
    """A threshold on the confidence, and what it gave on held-out texts."""

    threshold: float
    """Answered from this confidence on; 0: everything is answered."""
    answered: int
    wrong: int


def levels(confidence_N: npt.ArrayLike, wrong_N: npt.ArrayLike) -> list[Level]:
    """Return up to 20 thresholds, each answering a twentieth of the texts more, the highest first.

    >>> levels([0.9, 0.8], [0, 1])
    [Level(threshold=0.9, answered=1, wrong=0), Level(threshold=0.0, answered=2, wrong=1)]
    """
    sure_N, errors_N = np.asarray(confidence_N, dtype=np.float64), np.asarray(wrong_N)
    found: dict[int, Level] = {}
    for share in np.arange(1, LEVELS + 1) / LEVELS:
        threshold = float(np.quantile(sure_N, 1 - share, method="higher"))
        threshold = 0.0 if share == 1 else threshold
        answered_N = sure_N >= threshold
        count = int(answered_N.sum())
        found[count] = Level(threshold, count, int(errors_N[answered_N].sum()))
    return [found[count] for count in sorted(found)]


def chosen(tried: Sequence[Level], rate: float) -> Level | None:
    """Return the level with most answers whose share of wrong ones is at most `rate`, with 95 % confidence.

    None where no level shows it.

    >>> chosen([Level(0.9, 500, 0), Level(0.6, 800, 5), Level(0.0, 1000, 90)], 0.02)
    Level(threshold=0.6, answered=800, wrong=5)
    """
    able = [level for level in tried if chance_of_so_few(0, level.answered, rate) <= RISK]
    best, carried = None, 0.0
    for level in able:
        allowed = RISK / len(able) + carried
        carried = allowed if chance_of_so_few(level.wrong, level.answered, rate) <= allowed else 0.0
        if carried:
            best = level
    return best


def least_rate(tried: Sequence[Level]) -> float:
    """Return the least rate, in tenths of a percent, for which there is a level; 1 where there is none.

    >>> least_rate([Level(0.9, 500, 0)])
    0.006
    """
    return next((n / 1000 for n in range(1, 1000) if chosen(tried, n / 1000)), 1.0)


def chance_of_so_few(wrong: int, answered: int, rate: float) -> float:
    """Return the probability of at most so many wrong answers where the true share is `rate`: the binomial's tail.

    >>> round(chance_of_so_few(0, 149, 0.02), 4)
    0.0493
    """
    if rate >= 1 or wrong >= answered:
        return 1.0
    i = np.arange(1, wrong + 1)
    steps = np.log((answered - i + 1) / i) + np.log(rate) - np.log1p(-rate)
    logs = answered * np.log1p(-rate) + np.concatenate(([0.0], np.cumsum(steps)))
    return float(min(1.0, np.exp(logs).sum()))


def curve(confidence_N: npt.ArrayLike, wrong_N: npt.ArrayLike) -> list[dict[str, Any]]:
    """Return the share of wrong answers among the surest texts, by their share: the risk–coverage curve.

    >>> [(point["share"], point["risk"]["value"]) for point in curve([0.9, 0.8], [0, 1])]
    [(0.5, 0.0), (1.0, 0.5)]
    """
    sure_N, errors_N = np.asarray(confidence_N, dtype=np.float64), np.asarray(wrong_N, dtype=np.float64)
    order_N = np.argsort(-sure_N, kind="stable")
    sure_N, wrong = sure_N[order_N], np.cumsum(errors_N[order_N])
    last = np.flatnonzero(np.append(sure_N[1:] < sure_N[:-1], True))  # equal ones are answered together
    counts = np.unique(np.linspace(1, len(sure_N), min(POINTS, len(sure_N))).astype(int))
    ends = sorted({int(last[np.searchsorted(last, count - 1)]) for count in counts.tolist()})
    return [
        {
            "share": (end + 1) / len(sure_N),
            "threshold": float(sure_N[end]),
            "risk": share(int(wrong[end]), end + 1),
        }
        for end in ends
    ]


def share(part: int, whole: int) -> Score:
    """Return a share with its 95 % interval; of nothing there is none.

    >>> share(1, 2)["value"], share(0, 0)["value"]
    (0.5, None)
    """
    if not whole:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(part, whole)
    return {"value": part / whole, "low": low, "high": high}


def measured(abstained_N: npt.ArrayLike, wrong_N: FloatArray) -> dict[str, Any]:
    """Return the share of texts that are answered, and of these the share that is wrong, each with its interval.

    >>> measured([True, False], np.array([1.0, 0.0]))["risk"]["value"]
    0.0
    """
    left_N = np.asarray(abstained_N, dtype=bool)
    count = int((~left_N).sum())
    return {"coverage": share(count, len(left_N)), "risk": share(int(wrong_N[~left_N].sum()), count)}
