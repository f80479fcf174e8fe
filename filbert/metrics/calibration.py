"""Whether probabilities can be believed: softmax, temperature, reliability, calibration error. No torch here.

For one label a text; label_sets.py has the same for several, and thresholds besides.

Shapes: N texts, C classes, B calibration bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.metrics.intervals import Ints, Score, interval, wilson
from filbert.records import FloatArray

BINS = 15  # calibration bins, as in Guo et al. 2017, but of equal mass
TEMPERATURES = (0.25, 10.0)  # outside, the validation texts are too few or too easy to say
FEWEST_FOR_TEMPERATURE = 20


def softmax(logits_NC: npt.ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Turn logits into probabilities in float64, divided by the temperature first.

    >>> softmax([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """
    found_NC = np.asarray(np.asarray(logits_NC, dtype=np.float64) / temperature)  # one array: thousands of classes fit
    found_NC -= found_NC.max(axis=1, keepdims=True)
    np.exp(found_NC, out=found_NC)
    found_NC /= found_NC.sum(axis=1, keepdims=True)
    return found_NC


def log_loss(true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike) -> float:
    """Return the mean cross-entropy: scikit-learn's figure to the bit, without its three more arrays N × C.

    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397
    """
    from scipy.special import xlogy  # type: ignore[import-untyped]  # scikit-learn's own

    found_NC, true = np.asarray(probabilities_NC, dtype=np.float64), np.asarray(true_N)
    least = np.finfo(np.float64).eps
    return float(np.average(-xlogy(1.0, np.clip(found_NC[np.arange(len(true)), true], least, 1 - least))))


def checked(
    true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike, classes: int | None = None
) -> tuple[Ints, FloatArray]:
    """Return both as arrays, or raise ConfigError on shapes, class indices or probabilities that do not fit.

    With `classes` None there are as many classes as columns.

    >>> checked([1], [[0.2, 0.8]])[0].tolist()
    [1]
    """
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


def reliability(true_N: npt.ArrayLike, probabilities_NC: npt.ArrayLike, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Compare confidence with accuracy in bins of equal mass, least confident first; equal confidences share a bin.

    >>> reliability([0, 1], [[0.8, 0.2], [0.8, 0.2]])
    [{'confidence': 0.8, 'accuracy': 0.5, 'count': 2}]
    """
    truth_N, chances_NC = checked(true_N, probabilities_NC)
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
    # the model's own expectation lies above the truth: too confident
    return bisected_temperature(
        lambda warmth: float((softmax(scores_NC, warmth) * scores_NC).sum(axis=1).mean()) > target
    )


def bisected_temperature(too_confident: Callable[[float], bool]) -> float:
    """Return the temperature, from 0.25 to 10, below which a model is too confident and above which too timid.

    >>> round(bisected_temperature(lambda temperature: temperature < 2), 3)
    2.0
    """
    low, high = np.log(TEMPERATURES)
    for _ in range(24):  # 3.7 / 2^24: four digits more than any use of a temperature needs
        middle = (low + high) / 2
        if too_confident(float(np.exp(middle))):
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def equal_mass_bins(values_N: FloatArray, bins: int = BINS) -> Ints:
    """Return the bin of each value, lowest first; equal values share a bin, by their first rank, whatever their order.

    >>> equal_mass_bins(np.array([0.9, 0.1, 0.9, 0.2]), 2).tolist()
    [1, 0, 1, 0]
    """
    return np.asarray(np.searchsorted(np.sort(values_N), values_N, "left") * bins // len(values_N), dtype=np.int64)


def _binned(truth_N: Ints, chances_NC: FloatArray, bins: int) -> tuple[FloatArray, FloatArray, Ints]:
    """Return confidence, whether right, and bin of each text."""
    confidence_N = chances_NC.max(axis=1)
    right_N = (chances_NC.argmax(axis=1) == truth_N).astype(np.float64)
    return confidence_N, right_N, equal_mass_bins(confidence_N, bins)


def ece_interval(truth_N: Ints, chances_NC: FloatArray, resamples: int, rng: np.random.Generator) -> Score:
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
    found = interval(value, np.clip(drawn_R - drawn_R.mean() + value, 0, 1), texts=n)
    if counts[0::2].sum() in (0, n):  # all right or all wrong: the bootstrap sees no noise at all
        low, high = wilson(int(right_N.sum()), n)
        found["high"] = min(1.0, max(found["high"], value + high - low))
    return found
