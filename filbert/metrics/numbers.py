"""How good predicted numbers are: correlation, error, share of variance, and how far off an answer may be.

Every interval is a percentile bootstrap over texts. Where all resamples agree it has no width and would claim
certainty; then the share of texts that 0 of N cannot exclude (Wilson's bound) counts as answered no better than by the
mean. A single text gives no interval and so no figure. No torch here.

Shapes: N texts, G groups of texts with equal value, R resamples, M columns of sums.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.metrics.intervals import Ints, Score, interval, text_counts, wilson
from filbert.records import FloatArray

FEWEST_FOR_CORRELATION = 4  # Fisher's variance of a correlation is 1 / (N - 3): fewer texts allow any


def checked_numbers(true_N: npt.ArrayLike, *predicted: npt.ArrayLike) -> list[FloatArray]:
    """Return true and predicted numbers as float64 arrays of one length, or raise ConfigError.

    >>> [each.tolist() for each in checked_numbers([1], [2])]
    [[1.0], [2.0]]
    """
    arrays = [np.asarray(each, dtype=np.float64) for each in (true_N, *predicted)]
    shapes = [each.shape for each in arrays]
    if arrays[0].ndim != 1 or not arrays[0].size or len(set(shapes)) > 1:
        raise ConfigError(f"numbers are {', '.join(map(str, shapes))} — give lists of one length, at least 1")
    if not all(np.isfinite(each).all() for each in arrays):
        raise ConfigError("numbers hold NaN or infinity — give a finite number for every text")
    return arrays


def score_numbers(true_N: npt.ArrayLike, predicted_N: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0) -> Score:
    """Measure predicted numbers against the truth; the result can be written as JSON.

    "pearson", "spearman", "mae", "rmse" and "r2" are `{"value", "low", "high"}`; a correlation is None where a side is
    constant, R² where the truth is. Spearman ranks anew in every resample, ties at their average rank: resampling ranks
    that were taken once would leave out that they depend on the other texts. "rmse_of_mean" is the RMSE of an answer
    that is always the mean of these true numbers, where R² is 0. 20,000 texts take 2 s on one core. Raises ConfigError
    on lengths that differ and on NaN.

    >>> found = score_numbers([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 6.0])
    >>> found["spearman"]["value"], found["mae"]["value"], found["rmse"]["value"], round(found["r2"]["value"], 3)
    (1.0, 0.5, 1.0, 0.2)
    """
    truth_N, said_N = checked_numbers(true_N, predicted_N)
    n, rng = len(truth_N), np.random.default_rng(seed)
    moments_NM = _moments(truth_N, said_N)
    rank_sides = [_groups(truth_N), _groups(said_N)]
    sums, ranked = [], []
    for drawn_RN in text_counts(n, resamples, rng):
        counts_RN = drawn_RN.astype(np.float64)
        sums.append(counts_RN @ moments_NM)
        ranked.append(_spearman(counts_RN, rank_sides))
    least_2 = _smallest_variances(moments_NM)
    seen = _rates(moments_NM.sum(axis=0, keepdims=True), n, least_2)
    seen["spearman"] = _spearman(np.ones((1, n)), rank_sides)
    drawn = {**_rates(np.concatenate(sums), n, least_2), "spearman": np.concatenate(ranked)}
    unseen, variance = wilson(0, n)[1], float(moments_NM[:, 2].mean())
    widths = {
        "pearson": 2 * unseen,
        "spearman": 2 * unseen,
        "mae": unseen * float(np.abs(moments_NM[:, 0]).mean()),
        "rmse": math.sqrt(unseen * variance),
        "r2": unseen,
    }
    found = {name: _figure(name, float(seen[name][0]), drawn[name], width, n) for name, width in widths.items()}
    return {"n": n, **found, "rmse_of_mean": math.sqrt(variance)}


def _figure(name: str, value: float, drawn_R: FloatArray, width: float, n: int) -> Score:
    """Return one figure with its interval, `width` to either side where the bootstrap has none."""
    least, most = {"pearson": (-1.0, 1.0), "spearman": (-1.0, 1.0), "r2": (-math.inf, 1.0)}.get(name, (0.0, math.inf))
    if n == 1 or np.isnan(value):
        return interval(math.nan, drawn_R)
    if least == -1 and n < FEWEST_FOR_CORRELATION:
        return {"value": value, "low": least, "high": most}
    return interval(value, drawn_R, (max(least, value - width), min(most, value + width)), texts=n)


def _moments(truth_N: FloatArray, said_N: FloatArray) -> FloatArray:
    """Return per text, N × 7, what every figure but Spearman's is a sum of; centred, so that no digits cancel."""
    x_N, y_N = (np.zeros_like(each) if np.ptp(each) == 0 else each - each.mean() for each in (truth_N, said_N))
    error_N = np.abs(said_N - truth_N)
    return np.stack([x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N, error_N, error_N * error_N], axis=1)


def _rates(sums_RM: FloatArray, n: int, least_2: FloatArray) -> Score:
    """Return Pearson, MAE, RMSE and R² of R rows of sums; NaN where a variance is below `least_2` (true, predicted)."""
    x_R, y_R, xx_R, yy_R, xy_R, error_R, square_R = sums_RM.T / n
    true_R, said_R = xx_R - x_R * x_R, yy_R - y_R * y_R
    true_R, said_R = (
        np.where(each > least, each, np.nan) for each, least in zip((true_R, said_R), least_2, strict=True)
    )
    return {
        "pearson": np.clip((xy_R - x_R * y_R) / np.sqrt(true_R * said_R), -1, 1),
        "mae": error_R,
        "rmse": np.sqrt(square_R),
        "r2": 1 - square_R / true_R,
    }


def _smallest_variances(moments_NM: FloatArray) -> FloatArray:
    """Return what counts as no variance in a resample: below it the digits of a float64 have cancelled."""
    return np.asarray(moments_NM[:, 2:4].mean(axis=0) * 1e-12, dtype=np.float64)


def _groups(values_N: FloatArray) -> tuple[Ints, Ints, Ints]:
    """Return the order of the values, where each group of equal ones starts in it, and each value's group."""
    order_N = np.argsort(values_N, kind="stable")
    _, starts_G, group_N = np.unique(values_N[order_N], return_index=True, return_inverse=True)
    where_N = np.empty_like(order_N)
    where_N[order_N] = group_N
    return order_N, starts_G, where_N


def _spearman(counts_RN: FloatArray, sides: list[tuple[Ints, Ints, Ints]]) -> FloatArray:
    """Return the correlation of the average ranks of R resamples, NaN where a side is constant."""
    ranks = []
    for order_N, starts_G, group_N in sides:
        counts_RG = np.add.reduceat(counts_RN[:, order_N], starts_G, axis=1)
        middle_RG = counts_RG.cumsum(axis=1) - counts_RG / 2  # half below the average rank, which centring takes out
        ranks.append(middle_RG[:, group_N] - counts_RN.shape[1] / 2)
    first_RN, second_RN = ranks
    cross_R, one_R, two_R = (
        np.einsum("rn,rn->r", counts_RN * a_RN, b_RN)
        for a_RN, b_RN in ((first_RN, second_RN), (first_RN, first_RN), (second_RN, second_RN))
    )
    below_R = np.sqrt(one_R * two_R)
    found_R = np.divide(cross_R, below_R, out=np.full(len(below_R), np.nan), where=below_R > 0)
    return np.asarray(np.clip(found_R, -1, 1), dtype=np.float64)


def paired_difference_of_errors(
    true_N: npt.ArrayLike, first_N: npt.ArrayLike, second_N: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> Score:
    """Return Pearson of the first numbers minus that of the second, on the same texts, and under "mae" that of the MAE.

    Above zero the first correlates better; an "mae" below zero means that it is closer. Both are drawn together, text
    by text. The correlation is None where a side is constant, and both are None for a single text.

    >>> found = paired_difference_of_errors([1, 2, 3, 4], [1, 2, 3, 4], [2, 1, 4, 3])
    >>> round(found["value"], 3), found["mae"]["value"]
    (0.4, -1.0)
    """
    truth_N, one_N, two_N = checked_numbers(true_N, first_N, second_N)
    n, rng = len(truth_N), np.random.default_rng(seed)
    both = [_moments(truth_N, each_N) for each_N in (one_N, two_N)]
    counted = [counts_RN.astype(np.float64) @ np.hstack(both) for counts_RN in text_counts(n, resamples, rng)]
    halves = np.split(np.concatenate([np.hstack(both).sum(axis=0, keepdims=True), *counted]), 2, axis=1)
    first, second = (
        _rates(sums_RM, n, _smallest_variances(moments_NM)) for sums_RM, moments_NM in zip(halves, both, strict=True)
    )
    unseen = wilson(0, n)[1]
    widths = {"pearson": unseen, "mae": unseen * float(np.abs(both[0][:, 0]).mean())}
    found = {}
    for name, width in widths.items():
        apart_R = first[name] - second[name]
        value = float(apart_R[0]) if n > 1 else math.nan
        found[name] = interval(value, apart_R[1:], (value - width, value + width), texts=n)
    return {**found["pearson"], "mae": found["mae"]}


def residual_quantile(true_N: npt.ArrayLike, predicted_N: npt.ArrayLike, coverage: float = 0.9) -> float:
    """Return the half width around an answer that holds the true number in at least `coverage` of new texts.

    Split conformal prediction (Vovk et al. 2005): of N held-out errors, by size, the ⌈(N + 1) · coverage⌉th. It holds
    for any model and any distribution, on average over validation sets, where new texts come from where these do. Fewer
    than coverage / (1 - coverage) texts, 9 for 0.9, cannot promise it: then infinity.

    >>> residual_quantile(range(19), [0] * 19, 0.9)
    17.0
    """
    truth_N, said_N = checked_numbers(true_N, predicted_N)
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage is {coverage}, expected a share — give a number between 0 and 1, such as 0.9")
    rank = math.ceil((len(truth_N) + 1) * coverage - 1e-9)  # 1e-9: 0.9 · 20 is no hair above 18
    return float(np.sort(np.abs(said_N - truth_N))[rank - 1]) if rank <= len(truth_N) else math.inf
