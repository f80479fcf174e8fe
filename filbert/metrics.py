"""How good a classifier is, and how sure we may be of it.

    score = accuracy, macro-F1, MCC, AUC, log-loss, calibration error, each class, the confusion counts — with intervals

Every interval is a 95 % percentile bootstrap over texts (Efron 1979), with one exception: where all texts agree (none
right, or none wrong) every resample agrees too and the bootstrap would claim certainty, so Wilson's (1927) score
interval stands in; with n of n right its lower end is n / (n + 3.84), near the "rule of three". Reading, printing and
plotting are elsewhere (report/). No torch here.

Shapes: N texts, C classes, K confusion cells that are not empty, R resamples, B calibration bins.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.records import FloatArray

Ints = npt.NDArray[np.int64]
Score = dict[str, Any]

Z = 1.959964  # two-sided 95 % of the normal distribution
BINS = 15  # calibration bins, as in Guo et al. 2017, but of equal mass
TEMPERATURES = (0.25, 10.0)  # outside, the validation texts are too few or too easy to say
FEWEST_FOR_TEMPERATURE = 20
CELLS_AT_ONCE = 4_000_000  # resampled counts in memory at once: 32 MB


def score(
    true_N: npt.ArrayLike,
    probabilities_NC: npt.ArrayLike,
    labels: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Measure predicted probabilities against the truth; the result can be written as JSON.

    `true_N` holds class indices into `labels`, `probabilities_NC` one row per text. Every metric is
    `{"value", "low", "high"}`; a value that does not exist (the recall of a class without texts) is None, and "auc" is
    absent with fewer than two classes present. Macro-F1 averages over classes that are true or predicted somewhere, as
    scikit-learn does; AUC is one class against the rest, averaged. Raises ConfigError on shapes that do not fit and on
    rows that are no probabilities.

    >>> measured = score([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], ["bad", "good"])
    >>> measured["accuracy"]["value"], measured["confusion"]
    (0.75, [[2, 0], [1, 1]])
    """
    truth_N, chances_NC = _checked(true_N, probabilities_NC, len(labels))
    n, classes = chances_NC.shape
    rng = np.random.default_rng(seed)
    predicted_N = chances_NC.argmax(axis=1)
    cells_K, counts_K = np.unique(truth_N * classes + predicted_N, return_counts=True)
    seen = _rates(*_class_counts(counts_K[None], cells_K, classes), n)
    drawn = _resampled_rates(cells_K, counts_K, classes, resamples, rng)
    confusion_CC = np.zeros(classes * classes, dtype=np.int64)
    confusion_CC[cells_K] = counts_K
    confusion_CC = confusion_CC.reshape(classes, classes)
    area = _auc(truth_N, chances_NC)
    loss = float(-np.log(np.clip(chances_NC[np.arange(n), truth_N], 1e-15, None)).mean())
    return {
        "n": n,
        "labels": list(labels),
        **_overall(seen, drawn, confusion_CC),
        **({} if area is None else {"auc": area}),
        "log_loss": loss,
        "ece": _ece_interval(truth_N, chances_NC, resamples, rng),
        "per_class": _per_class(seen, drawn, confusion_CC, labels),
        "confusion": confusion_CC.tolist(),
    }


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


def softmax(logits_NC: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Turn logits into probabilities in float64, divided by the temperature first.

    >>> softmax([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """
    scaled_NC = np.asarray(logits_NC, dtype=np.float64) / temperature
    powers_NC = np.exp(scaled_NC - scaled_NC.max(axis=1, keepdims=True))
    return np.asarray(powers_NC / powers_NC.sum(axis=1, keepdims=True), dtype=np.float64)


def reliability(true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Compare confidence with accuracy in bins of equal mass, least confident first; equal confidences share a bin.

    >>> reliability([0, 1], [[0.8, 0.2], [0.8, 0.2]])
    [{'confidence': 0.8, 'accuracy': 0.5, 'count': 2}]
    """
    truth_N, chances_NC = _checked(true_N, probabilities_NC)
    confidence_N, right_N, bin_N = _binned(truth_N, chances_NC, bins)
    count_B = np.bincount(bin_N, minlength=bins)
    confidence_B = np.bincount(bin_N, confidence_N, bins)
    right_B = np.bincount(bin_N, right_N, bins)
    return [
        {"confidence": float(confidence / count), "accuracy": float(right / count), "count": int(count)}
        for confidence, right, count in zip(confidence_B, right_B, count_B, strict=True)
        if count
    ]


def expected_calibration_error(true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Return the mean gap between confidence and accuracy over bins of equal mass, from 0 (perfect) to 1.

    Equal-mass bins, because a good model puts nearly every text into the top bin of equal width (Nixon et al. 2019).

    >>> round(expected_calibration_error([0, 1], [[0.8, 0.2], [0.8, 0.2]]), 3)
    0.3
    """
    found = reliability(true_N, probabilities_NC, bins=bins)
    n = sum(each["count"] for each in found)
    return float(sum(abs(each["confidence"] - each["accuracy"]) * each["count"] for each in found) / n)


def fit_temperature(logits_NC: npt.ArrayLike, true_N: npt.ArrayLike) -> float:
    """Return the temperature that makes `softmax(logits / T)` honest on held-out texts (Guo et al. 2017).

    Minimises the negative log-likelihood, which is convex in 1/T, by bisecting its slope on a log scale, between 0.25
    and 10. The targets are smoothed by one part in n + 2 (Platt 1999), so that n right answers of n never ask for more
    confidence than n texts can support. Fewer than 20 texts say too little: then 1.0.

    >>> fit_temperature([[2.0, 0.0]] * 10, [0] * 10)
    1.0
    """
    scores_NC = np.asarray(logits_NC, dtype=np.float64)
    truth_N = np.asarray(true_N, dtype=np.int64)
    if scores_NC.ndim != 2 or len(scores_NC) != len(truth_N):
        raise ConfigError(f"logits {scores_NC.shape} and {len(truth_N)} labels do not fit — give one row per label")
    if not np.isfinite(scores_NC).all():
        raise ConfigError("logits hold NaN or infinity — find the texts that make the model overflow")
    if len(truth_N) < FEWEST_FOR_TEMPERATURE or scores_NC.shape[1] < 2:
        return 1.0
    smoothing = 1 / (len(truth_N) + 2)
    target = (1 - smoothing) * scores_NC[np.arange(len(truth_N)), truth_N].mean() + smoothing * scores_NC.mean()
    low, high = np.log(TEMPERATURES)
    for _ in range(24):  # 3.7 / 2^24: four digits more than any use of a temperature needs
        middle = (low + high) / 2
        expected = (softmax(scores_NC, float(np.exp(middle))) * scores_NC).sum(axis=1).mean()
        if expected > target:  # the model's own expectation lies above the truth: too confident, so warmer
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def grouped_mean(values_N: npt.ArrayLike, groups_N: npt.ArrayLike, *, resamples: int = 1000) -> dict[str, Any]:
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
    low, high = np.quantile(means_R, (0.025, 0.975))
    return {"value": float(values.mean()), "low": float(low), "high": float(high), "n": len(values)}


def paired_difference(
    true_N: npt.ArrayLike,
    first_N: npt.ArrayLike,
    second_N: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
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
    found = _interval((wins - losses) / n, (drawn_R3[:, 0] - drawn_R3[:, 1]) / n)
    return {**found, "first_only": wins, "second_only": losses}


def _checked(
    true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike, classes: int | None = None
) -> tuple[Ints, FloatArray]:
    """Return both as arrays, or say what does not fit."""
    truth_N = np.asarray(true_N, dtype=np.int64)
    chances_NC = np.asarray(probabilities_NC, dtype=np.float64)
    width = chances_NC.shape[1] if classes is None and chances_NC.ndim == 2 else classes
    if truth_N.ndim != 1 or chances_NC.shape != (len(truth_N), width) or not len(truth_N) or not width:
        wanted = f"({len(truth_N)}, {'classes' if width is None else width})"
        raise ConfigError(
            f"probabilities are {chances_NC.shape}, expected {wanted} — give one row per text, at least 1"
        )
    if not 0 <= truth_N.min() <= truth_N.max() < width:
        raise ConfigError(f"true labels run from {truth_N.min()} to {truth_N.max()} — give indices below {width}")
    if not np.isfinite(chances_NC).all() or chances_NC.min() < 0 or np.abs(chances_NC.sum(axis=1) - 1).max() > 0.01:
        raise ConfigError("rows are not probabilities (NaN, negative or a sum other than 1) — give softmax, not logits")
    return truth_N, chances_NC


def _resampled_rates(cells_K: Ints, counts_K: Ints, classes: int, resamples: int, rng: np.random.Generator) -> Score:
    """Return the rates of R bootstrap resamples, by drawing confusion counts instead of texts.

    This is exact: drawing N texts with replacement and counting how many fall into each cell *is* a multinomial draw
    with the cells' shares, and every rate here depends on the texts through those counts alone. It needs K draws
    where texts need N: 4 against 25,000 for IMDb.
    """
    n = int(counts_K.sum())
    step = max(1, CELLS_AT_ONCE // len(cells_K))
    parts = []
    for start in range(0, resamples, step):
        drawn_RK = rng.multinomial(n, counts_K / n, size=min(step, resamples - start))
        parts.append(_rates(*_class_counts(drawn_RK, cells_K, classes), n))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _class_counts(drawn_RK: Ints, cells_K: Ints, classes: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per class how many are right, are true, are predicted; the cells come sorted by true class."""
    true_K, predicted_K = np.divmod(cells_K, classes)
    hit_RC, true_RC, predicted_RC = (np.zeros((len(drawn_RK), classes)) for _ in range(3))
    hit_RC[:, true_K[true_K == predicted_K]] = drawn_RK[:, true_K == predicted_K]
    present, starts = np.unique(true_K, return_index=True)
    true_RC[:, present] = np.add.reduceat(drawn_RK, starts, axis=1)
    order_K = np.argsort(predicted_K, kind="stable")
    present, starts = np.unique(predicted_K[order_K], return_index=True)
    predicted_RC[:, present] = np.add.reduceat(drawn_RK[:, order_K], starts, axis=1)
    return hit_RC, true_RC, predicted_RC


def _rates(hit_RC: FloatArray, true_RC: FloatArray, predicted_RC: FloatArray, n: int) -> Score:
    """Return every rate of R sets of counts; NaN where it does not exist, except MCC, 0 by convention."""
    with np.errstate(divide="ignore", invalid="ignore"):
        precision_RC = hit_RC / predicted_RC
        recall_RC = hit_RC / true_RC
        f1_RC = 2 * hit_RC / (true_RC + predicted_RC)
        right_R = hit_RC.sum(axis=1)
        above_R = right_R * n - (true_RC * predicted_RC).sum(axis=1)
        below_R = np.sqrt((n * n - (predicted_RC**2).sum(axis=1)) * (n * n - (true_RC**2).sum(axis=1)))
        mcc_R = np.where(below_R > 0, above_R / below_R, 0.0)  # Gorodkin 2004: the correlation for C classes
    return {
        "accuracy": right_R / n,
        "macro_f1": np.nanmean(f1_RC, axis=1),
        "mcc": mcc_R,
        "precision": precision_RC,
        "recall": recall_RC,
        "f1": f1_RC,
    }


def _interval(value: float, drawn_R: FloatArray, certain: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return value, low and high of one metric; `certain` replaces an interval that has no width."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a rare class may be missing from every resample
        low, high = np.nan_to_num(np.nanquantile(drawn_R, [0.025, 0.975]), nan=value)
    if certain is not None and high - low < 1e-12:
        low, high = certain
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}


def _overall(seen: Score, drawn: Score, confusion_CC: Ints) -> Score:
    """Return accuracy, macro-F1 and MCC; at perfect scores all three follow from Wilson's bound of the accuracy."""
    n, right = int(confusion_CC.sum()), int(np.trace(confusion_CC))
    low, high = wilson(right, n)
    chance = float((confusion_CC.sum(axis=1) / n) @ (confusion_CC.sum(axis=0) / n))  # agreement by luck
    mcc = None
    if right == n:
        mcc = ((low - chance) / (1 - chance), 1.0) if chance < 1 else (-1.0, 1.0)
    return {
        "accuracy": _interval(seen["accuracy"][0], drawn["accuracy"], (low, high)),
        "macro_f1": _interval(seen["macro_f1"][0], drawn["macro_f1"], (low, high)),
        "mcc": _interval(seen["mcc"][0], drawn["mcc"], mcc),
    }


def _per_class(seen: Score, drawn: Score, confusion_CC: Ints, labels: Sequence[str]) -> list[Score]:
    """Return precision, recall and F1 of each class.

    F1 = 2J / (1 + J), where J is a plain share: texts right among all that are true or predicted as the class.
    """
    rows = []
    for c, label in enumerate(labels):
        hit, true, predicted = (int(x) for x in (confusion_CC[c, c], confusion_CC[c].sum(), confusion_CC[:, c].sum()))
        low, high = wilson(hit, true + predicted - hit)
        certain = {
            "precision": wilson(hit, predicted),
            "recall": wilson(hit, true),
            "f1": (2 * low / (1 + low), 2 * high / (1 + high)),
        }
        found = {name: _interval(seen[name][0, c], drawn[name][:, c], ends) for name, ends in certain.items()}
        rows.append({"label": label, "support": true, **found})
    return rows


def _auc(truth_N: Ints, chances_NC: FloatArray) -> dict[str, Any] | None:
    """Return the area under the ROC curve, one class against the rest, averaged over the classes present.

    The interval comes from each text's influence (DeLong et al. 1988) on the logit scale: a bootstrap would rank every
    class anew in every resample, minutes for 150 classes.
    """
    n, classes = chances_NC.shape
    influence_N, areas, smallest = np.zeros(n), [], n
    for c in [1] if classes == 2 else range(classes):
        inside_N = truth_N == c
        many = int(inside_N.sum())
        if many in (0, n):
            continue
        inside, outside = np.sort(chances_NC[inside_N, c]), np.sort(chances_NC[~inside_N, c])
        above = _share_below(outside, chances_NC[inside_N, c])
        below = 1 - _share_below(inside, chances_NC[~inside_N, c])
        areas.append(float(above.mean()))
        influence_N[inside_N] += (above - areas[-1]) * n / many
        influence_N[~inside_N] += (below - areas[-1]) * n / (n - many)
        smallest = min(smallest, many, n - many)
    if not areas:
        return None
    value = float(np.mean(areas))
    error = float(np.sqrt((influence_N**2).sum())) / (n * len(areas))
    if error < 1e-12 or not 0 < value < 1:
        low, high = wilson(round(value * smallest), smallest)
    else:
        logit, half = np.log(value / (1 - value)), Z * error / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-np.clip(logit + sign * half, -500, 500)))) for sign in (-1, 1))
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _share_below(sorted_M: FloatArray, values_N: FloatArray) -> FloatArray:
    """Return for each value the share of `sorted_M` below it, ties counting half."""
    ranks_N = np.searchsorted(sorted_M, values_N, "left") + np.searchsorted(sorted_M, values_N, "right")
    return np.asarray(ranks_N / (2 * len(sorted_M)), dtype=np.float64)


def _binned(truth_N: Ints, chances_NC: FloatArray, bins: int) -> tuple[FloatArray, FloatArray, Ints]:
    """Return confidence, whether right, and bin of each text; ties go by their first rank, so order does not matter."""
    confidence_N = chances_NC.max(axis=1)
    right_N = (chances_NC.argmax(axis=1) == truth_N).astype(np.float64)
    first_N = np.searchsorted(np.sort(confidence_N), confidence_N, "left")
    return confidence_N, right_N, first_N * bins // len(truth_N)


def _ece_interval(truth_N: Ints, chances_NC: FloatArray, resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the calibration error with its interval.

    Resampled as counts of (bin, right or wrong), each at its mean confidence, which leaves out only the spread of
    confidence inside a bin. Absolute gaps grow with noise, so resamples lie above the value on average; that shift is
    taken out.
    """
    n = len(truth_N)
    confidence_N, right_N, bin_N = _binned(truth_N, chances_NC, BINS)
    cell_N = bin_N * 2 + right_N.astype(np.int64)
    counts = np.bincount(cell_N, minlength=2 * BINS)
    gaps = np.bincount(cell_N, right_N - confidence_N, 2 * BINS) / np.maximum(counts, 1)
    drawn = rng.multinomial(n, counts / n, size=resamples) * gaps / n
    drawn_R = np.abs(drawn[:, 0::2] + drawn[:, 1::2]).sum(axis=1)
    value = float(np.abs((counts * gaps).reshape(BINS, 2).sum(axis=1)).sum() / n)
    found = _interval(value, np.clip(drawn_R - drawn_R.mean() + value, 0, 1))
    if counts[0::2].sum() in (0, n):  # all right or all wrong: the bootstrap sees no noise at all
        low, high = wilson(int(right_N.sum()), n)
        found["high"] = min(1.0, max(found["high"], value + high - low))
    return found
