"""How sure we may be of a figure: 95 % intervals, and of differences between two models on the same texts.

Every interval is a percentile bootstrap over texts (Efron 1979). Of few texts its percentiles are too narrow by about
as much as the normal distribution is narrower than Student's, so those taken lie further out (Hesterberg 2015, §5.3).
Where all texts agree (none right, or none wrong) every resample agrees too and the bootstrap would claim certainty, so
Wilson's (1927) score interval stands in; with n of n right its lower end is n / (n + 3.84), near the "rule of three".
No torch here.

Shapes: N texts, G groups of texts, R resamples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.records import FloatArray

Ints = npt.NDArray[np.int64]
Score = dict[str, Any]  # figures by name, as they are written to JSON

Z = 1.959964  # two-sided 95 % of the normal distribution
COUNTS_AT_ONCE = 1_000_000  # resampled counts in memory at once: 8 MB, and three times that while they are drawn


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share: `right` of `n`.

    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    """
    if n == 0:
        return 0.0, 1.0
    share, grown = right / n, 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / grown
    half = Z / grown * float(np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)))
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


def wilson_rates(hit: int, true: int, predicted: int) -> dict[str, tuple[float, float]]:
    """Return Wilson's intervals of the precision, recall and F1 of one class or label.

    F1 = 2J / (1 + J), where J is a plain share: texts right among all that are true or predicted as the class.

    >>> [round(end, 3) for end in wilson_rates(10, 10, 10)["recall"]]
    [0.722, 1.0]
    """
    low, high = wilson(hit, true + predicted - hit)
    return {
        "precision": wilson(hit, predicted),
        "recall": wilson(hit, true),
        "f1": (2 * low / (1 + low), 2 * high / (1 + high)),
    }


def text_counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Draw `n` texts with replacement, `resamples` times: yield counts_RN, how often each text was drawn, in blocks.

    A sum over the texts of a resample is then a product of matrices, counts_RN @ values_NM.

    >>> [counts_RN.sum(axis=1).tolist() for counts_RN in text_counts(5, 2, np.random.default_rng(0))]
    [[5, 5]]
    """
    step = max(1, COUNTS_AT_ONCE // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn_RN = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn_RN.ravel(), minlength=rows * n).reshape(rows, n)


def expanded(texts: float) -> float:
    """Return the share of resamples that lies below a 95 % interval of so many texts; 0.025 of infinitely many.

    >>> round(expanded(10), 4), round(expanded(100), 4), round(expanded(1e9), 4)
    (0.0086, 0.0231, 0.025)
    """
    degrees = max(1.0, texts - 1)
    student = Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)  # Cornish & Fisher
    return 0.5 * math.erfc(student * math.sqrt(1 + 1 / degrees) / math.sqrt(2))


def interval(
    value: float, drawn_R: FloatArray, certain: tuple[float, float] | None = None, *, texts: float = math.inf
) -> Score:
    """Return value, low and high of one metric from its resamples; `certain` replaces an interval without width.

    `texts` is how many texts were drawn from, or of a mean over labels how many the rare ones have. The interval is
    stretched to hold the value; a value that is NaN, because it does not exist, gives three times None.

    >>> interval(1.0, np.ones(1000), (0.72, 1.0))
    {'value': 1.0, 'low': 0.72, 'high': 1.0}
    """
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a rare class may be missing from every resample
        tail = expanded(texts)
        low, high = np.nan_to_num(np.nanquantile(drawn_R, [tail, 1 - tail]), nan=value)
    if certain is not None and high - low < 1e-12:
        low, high = certain
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}


def resampled_means(values: FloatArray, *, resamples: int = 1000, seed: int = 0) -> FloatArray:
    """Return the mean over texts of values_N or values_NM in each resample, R or RM.

    >>> resampled_means(np.ones((5, 2)), resamples=3).shape
    (3, 2)
    """
    blocks = text_counts(len(values), resamples, np.random.default_rng(seed))
    return np.concatenate([counts_RN @ values / len(values) for counts_RN in blocks])


def paired_difference_of_means(first_N: FloatArray, second_N: FloatArray, *, resamples: int = 1000) -> Score:
    """Return the mean of numbers between 0 and 1 minus that of others on the same texts, with its 95 % interval.

    Where all differences are equal, what was never seen may still be there, in as many texts as Wilson allows for.

    >>> paired_difference_of_means(np.array([1.0, 0.5]), np.array([0.5, 0.0]))["value"]
    0.5
    """
    apart_N = np.asarray(first_N, dtype=np.float64) - np.asarray(second_N, dtype=np.float64)
    unseen, value = wilson(0, len(apart_N))[1], float(apart_N.mean())
    certain = max(-1.0, value - unseen), min(1.0, value + unseen)
    return interval(value, resampled_means(apart_N, resamples=resamples), certain, texts=len(apart_N))


def grouped_mean(values_N: npt.ArrayLike, groups_N: npt.ArrayLike, *, resamples: int = 1000) -> Score:
    """Return the mean of values and its 95 % interval when whole groups (texts) are drawn anew.

    Tokens of one text are alike, so an interval over tokens alone would be too narrow.

    >>> grouped_mean([1.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])["value"]
    0.75
    """
    values, groups = np.asarray(values_N, dtype=np.float64), np.asarray(groups_N)
    _, group_N = np.unique(groups, return_inverse=True)
    sums_G, counts_G = np.bincount(group_N, weights=values), np.bincount(group_N)
    rng = np.random.default_rng(0)
    means_R = np.empty(resamples)
    for r in range(resamples):  # one at a time: 1,000 × 100,000 texts at once would take 800 MB
        drawn_G = rng.integers(0, len(counts_G), len(counts_G))
        means_R[r] = sums_G[drawn_G].sum() / counts_G[drawn_G].sum()
    tail = expanded(len(counts_G))
    low, high = np.quantile(means_R, (tail, 1 - tail))
    return {"value": float(values.mean()), "low": float(low), "high": float(high), "n": len(values)}


def paired_difference(
    true_N: npt.ArrayLike,
    first_N: npt.ArrayLike,
    second_N: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Return the accuracy of the first predictions minus that of the second, with its 95 % interval, on the same texts.

    Only texts that one of the two gets right and the other wrong count, as in McNemar's test (1947): "first_only" and
    "second_only". Half a text is added to each of the four cells (Agresti & Min 2005): without it the bootstrap of 4
    against 0 excludes zero, which McNemar's exact test (p = 0.125) does not.

    >>> found = paired_difference([1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 1])
    >>> found["value"], found["first_only"], found["second_only"]
    (0.25, 1, 0)
    """
    truth_N, one_N, two_N = (np.asarray(each) for each in (true_N, first_N, second_N))
    if not len(truth_N) or not truth_N.shape == one_N.shape == two_N.shape:
        raise ConfigError(f"{truth_N.shape}, {one_N.shape}, {two_N.shape} texts — give three lists of one length")
    n = len(truth_N)
    wins = int(((one_N == truth_N) & (two_N != truth_N)).sum())
    losses = int(((one_N != truth_N) & (two_N == truth_N)).sum())
    chances = np.array([wins + 0.5, losses + 0.5, n - wins - losses + 1.0]) / (n + 2)
    drawn_R3 = np.random.default_rng(seed).multinomial(n, chances, size=resamples)
    found = interval((wins - losses) / n, (drawn_R3[:, 0] - drawn_R3[:, 1]) / n, texts=n)
    return {**found, "first_only": wins, "second_only": losses}
