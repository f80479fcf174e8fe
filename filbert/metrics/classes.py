"""How good a classifier of one label a text is: accuracy, macro-F1, MCC, AUC, log-loss, each class, confusions.

Intervals are intervals.py's, calibration is calibration.py's. No torch here.

Shapes: N texts, C classes, K confusion cells that are not empty, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filbert.metrics.calibration import checked, ece_interval
from filbert.metrics.intervals import Ints, Score, Z, interval, wilson, wilson_rates
from filbert.records import FloatArray

MATRIX_CLASSES = 200  # of more, most cells are empty: 2,000 made a report of 106 MB
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
    truth_N, chances_NC = checked(true_N, probabilities_NC, len(labels))
    n, classes = chances_NC.shape
    rng = np.random.default_rng(seed)
    predicted_N = chances_NC.argmax(axis=1)
    cells_K, counts_K = np.unique(truth_N * classes + predicted_N, return_counts=True)
    seen = _rates(*_class_counts(counts_K[None], cells_K, classes), n)
    drawn = _resampled_rates(cells_K, counts_K, classes, resamples, rng)
    hit_C, true_C, predicted_C = (each[0] for each in _class_counts(counts_K[None], cells_K, classes))
    area = _auc(truth_N, chances_NC)
    loss = float(-np.log(np.clip(chances_NC[np.arange(n), truth_N], 1e-15, None)).mean())
    return {
        "n": n,
        "labels": list(labels),
        **_overall(seen, drawn, n, int(hit_C.sum()), float((true_C / n) @ (predicted_C / n))),
        **({} if area is None else {"auc": area}),
        "log_loss": loss,
        "ece": ece_interval(truth_N, chances_NC, resamples, rng),
        "per_class": _per_class(seen, drawn, (hit_C, true_C, predicted_C), labels),
        **_confusion(cells_K, counts_K, classes),
    }


def _confusion(cells_K: Ints, counts_K: Ints, classes: int) -> Score:
    """Return the matrix, true label by predicted label; of many classes the cells that are not empty."""
    if classes > MATRIX_CLASSES:
        true_K, predicted_K = np.divmod(cells_K, classes)
        return {"confusion_cells": np.stack([true_K, predicted_K, counts_K], axis=1).tolist()}
    confusion_CC = np.zeros(classes * classes, dtype=np.int64)
    confusion_CC[cells_K] = counts_K
    return {"confusion": confusion_CC.reshape(classes, classes).tolist()}


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


def _overall(seen: Score, drawn: Score, n: int, right: int, chance: float) -> Score:
    """Return accuracy, macro-F1 and MCC; at perfect scores all three follow from Wilson's bound of the accuracy.

    `chance` is the agreement by luck.
    """
    low, high = wilson(right, n)
    mcc = None
    if right == n:
        mcc = ((low - chance) / (1 - chance), 1.0) if chance < 1 else (-1.0, 1.0)
    return {
        "accuracy": interval(seen["accuracy"][0], drawn["accuracy"], (low, high), texts=n),
        "macro_f1": interval(seen["macro_f1"][0], drawn["macro_f1"], (low, high), texts=n),
        "mcc": interval(seen["mcc"][0], drawn["mcc"], mcc, texts=n),
    }


def _per_class(seen: Score, drawn: Score, counts: Sequence[FloatArray], labels: Sequence[str]) -> list[Score]:
    """Return precision, recall and F1 of each class, of how many texts are right, are true, are predicted."""
    rows = []
    for c, label in enumerate(labels):
        hit, true, predicted = (int(count_C[c]) for count_C in counts)
        found = {
            name: interval(seen[name][0, c], drawn[name][:, c], ends)
            for name, ends in wilson_rates(hit, true, predicted).items()
        }
        rows.append({"label": label, "support": true, **found})
    return rows


def _auc(truth_N: Ints, chances_NC: FloatArray) -> Score | None:
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
