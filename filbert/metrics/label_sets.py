"""How good a classifier of several labels a text is, its thresholds and its temperature.

A text has a set of labels, which may be empty; every label is a yes or no with a probability of its own. One label a
text is classes.py's, average precision is ranking.py's. No torch here.

Shapes: N texts, L labels, B calibration bins, R resamples, M columns of sums, K candidate thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.metrics.calibration import BINS, FEWEST_FOR_TEMPERATURE, bisected_temperature, equal_mass_bins
from filbert.metrics.intervals import Score, interval, text_counts, wilson, wilson_rates
from filbert.metrics.ranking import Flags, average_precisions
from filbert.records import FloatArray

RANKED = 200  # resamples of average precision: each has to pass over all texts in rank order, label by label
THRESHOLDS = (0.01, 0.99)
FEWEST_FOR_THRESHOLD = 3  # texts with a label before it may have a threshold of its own


def checked_flags(flags_NL: npt.ArrayLike, like: tuple[int, ...] | None = None) -> Flags:
    """Return 0/1 or True/False, one row a text and one column a label, as booleans, or raise ConfigError.

    >>> checked_flags([[1, 0]]).tolist()
    [[True, False]]
    """
    found_NL = np.asarray(flags_NL)
    if found_NL.ndim != 2 or not found_NL.size or found_NL.shape != (like or found_NL.shape):
        wanted = like or "(texts, labels)"
        raise ConfigError(
            f"labels are {found_NL.shape}, expected {wanted} — give a row per text and a column per label"
        )
    if not np.isin(found_NL, (0, 1)).all():
        raise ConfigError("labels hold other values than 0 and 1 — give 1 where a text has the label, else 0")
    return np.asarray(found_NL, dtype=np.bool_)


def checked_chances(probabilities_NL: npt.ArrayLike, like: tuple[int, ...]) -> FloatArray:
    """Return one probability per text and label as float64, or raise ConfigError.

    >>> checked_chances([[0.5, 1]], (1, 2)).tolist()
    [[0.5, 1.0]]
    """
    chances_NL = np.asarray(probabilities_NL, dtype=np.float64)
    if chances_NL.shape != like:
        raise ConfigError(f"probabilities are {chances_NL.shape}, expected {like} — give one per text and label")
    if not ((chances_NL >= 0) & (chances_NL <= 1)).all():  # false for NaN, too
        raise ConfigError("probabilities hold NaN or lie outside [0, 1] — give sigmoid(logits), not logits")
    return chances_NL


def score_label_sets(
    true_NL: npt.ArrayLike,
    probabilities_NL: npt.ArrayLike,
    predicted_NL: npt.ArrayLike,
    labels: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Measure predicted label sets and probabilities against the truth; the result can be written as JSON.

    `true_NL` and `predicted_NL` are 0 or 1. Every metric is `{"value", "low", "high"}`, the interval by drawing texts
    anew: a text's decisions stay together, as they depend on each other. A figure that does not exist, such as the
    recall of a label no text has, is None. Conventions:

    - "macro_f1" averages over labels true or predicted somewhere, as `classes.score` does (scikit-learn's
      `zero_division=np.nan`; its default of 0 would punish a label only because no text here has it).
    - "samples_f1" is the F1 of each text's set, averaged. A text without true and predicted labels counts as 1, because
      saying nothing was right (scikit-learn's `zero_division=1`; its default is 0).
    - "map" averages the average precision (scikit-learn's, ties share one threshold) over labels some text has; its
      intervals, and the labels', come from at most 200 resamples.
    - "ece" is over all N × L decisions, in 15 bins of equal mass: mean probability against share of true labels.

    Raises ConfigError on what does not fit. On one core 5,400 texts of 28 labels take 0.5 s; 20,000 of 100,
    13 of them true a text, 7 s and 250 MB.

    >>> found = score_label_sets([[1, 0], [0, 0]], [[0.9, 0.2], [0.4, 0.7]], [[1, 0], [0, 1]], ["new", "loud"])
    >>> found["samples_f1"]["value"], found["map"]["value"], found["cardinality"]
    (0.5, 1.0, {'true': 0.5, 'predicted': 1.0})
    """
    truth_NL = checked_flags(true_NL)
    n, width = truth_NL.shape
    if width != len(labels):
        raise ConfigError(f"{width} columns for {len(labels)} labels — give one column per label")
    chances_NL = checked_chances(probabilities_NL, truth_NL.shape)
    said_NL = checked_flags(predicted_NL, truth_NL.shape)
    rng = np.random.default_rng(seed)
    seen_M, drawn_RM = _resampled_sums(truth_NL, chances_NL, said_NL, resamples, rng)
    seen, drawn = _rates(seen_M[None], n, width), _rates(drawn_RM, n, width)
    ranked_L, ranked_RL = average_precisions(truth_NL, chances_NL, resamples=min(RANKED, resamples), rng=rng)
    return {
        "n": n,
        "labels": list(labels),
        **_overall(seen, drawn, truth_NL, said_NL),
        "map": _mean_of_labels(ranked_L, ranked_RL, truth_NL.sum(axis=0), int(truth_NL.any(axis=1).sum())),
        "ece": _calibration_error(seen["ece"][0], drawn["ece"], truth_NL),
        "cardinality": {"true": float(truth_NL.sum() / n), "predicted": float(said_NL.sum() / n)},
        "per_label": _per_label(seen, drawn, seen_M[: 3 * width].reshape(3, width), labels, (ranked_L, ranked_RL)),
    }


def _resampled_sums(
    truth_NL: Flags, chances_NL: FloatArray, said_NL: Flags, resamples: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return what every rate is made of, summed over the texts and over each resample of them.

    The columns: hits, true and predicted texts per label, texts whose set is right, F1 of the sets, and per bin the
    excess of true labels over probability. The products run in float32, where counts below 2^24 are exact.
    """
    hit_NL = truth_NL & said_NL
    exact_N = (truth_NL == said_NL).all(axis=1)
    sizes_N = truth_NL.sum(axis=1) + said_NL.sum(axis=1)
    f1_N = np.where(sizes_N > 0, 2 * hit_NL.sum(axis=1) / np.maximum(sizes_N, 1), 1.0)
    bin_NL = equal_mass_bins(chances_NL.ravel()).reshape(truth_NL.shape)
    cell_NL = np.arange(len(truth_NL))[:, None] * BINS + bin_NL
    gap_NB = np.bincount(cell_NL.ravel(), (truth_NL - chances_NL).ravel(), len(truth_NL) * BINS).reshape(-1, BINS)
    parts = (hit_NL, truth_NL, said_NL, exact_N[:, None], f1_N[:, None], gap_NB)
    seen_M = np.concatenate([part.sum(axis=0, dtype=np.float64) for part in parts])
    columns_NM = np.concatenate([part.astype(np.float32) for part in parts], axis=1)
    drawn = [counts_RN.astype(np.float32) @ columns_NM for counts_RN in text_counts(len(truth_NL), resamples, rng)]
    return seen_M, np.concatenate(drawn).astype(np.float64)


def _rates(sums_RM: FloatArray, n: int, width: int) -> Score:
    """Return every rate of R rows of sums; NaN where it does not exist."""
    cuts = [width, 2 * width, 3 * width, 3 * width + 1, 3 * width + 2]
    hit_RL, true_RL, said_RL, exact_R1, f1_R1, gap_RB = np.split(sums_RM, cuts, axis=1)
    hit_R, true_R, said_R = (each.sum(axis=1) for each in (hit_RL, true_RL, said_RL))
    with np.errstate(divide="ignore", invalid="ignore"):
        f1_RL = 2 * hit_RL / (true_RL + said_RL)
        return {
            "micro_f1": 2 * hit_R / (true_R + said_R),
            "macro_f1": np.nansum(f1_RL, axis=1) / (~np.isnan(f1_RL)).sum(axis=1),
            "samples_f1": f1_R1[:, 0] / n,
            "subset_accuracy": exact_R1[:, 0] / n,
            "micro_precision": hit_R / said_R,
            "micro_recall": hit_R / true_R,
            "hamming_loss": (true_R + said_R - 2 * hit_R) / (n * width),
            "precision": hit_RL / said_RL,
            "recall": hit_RL / true_RL,
            "f1": f1_RL,
            "ece": np.abs(gap_RB).sum(axis=1) / (n * width),
        }


def _overall(seen: Score, drawn: Score, truth_NL: Flags, said_NL: Flags) -> Score:
    """Return the figures over all labels; without width Wilson's, over as many texts as have a part in the figure.

    Texts, not decisions: a text's decisions are not independent, so 28 labels a text are not 28 pieces of evidence.
    """
    n = len(truth_NL)
    true_N, said_N = truth_NL.any(axis=1), said_NL.any(axis=1)
    either = int((true_N | said_N).sum())
    texts = {
        "micro_f1": either,
        "macro_f1": either,
        "samples_f1": n,
        "subset_accuracy": n,
        "micro_precision": int(said_N.sum()),
        "micro_recall": int(true_N.sum()),
        "hamming_loss": n,
    }
    evidence = dict.fromkeys(texts, float(n))
    if either:  # a mean over labels is no surer than their counts are, of which the harmonic mean is near the rare ones
        evidence["macro_f1"] = float(1 / np.mean(1 / np.maximum(truth_NL.sum(axis=0)[_met(truth_NL, said_NL)], 1)))
    return {name: _share(seen[name][0], drawn[name], many, evidence[name]) for name, many in texts.items()}


def _met(truth_NL: Flags, said_NL: Flags) -> Flags:
    """Return which labels are true or predicted somewhere."""
    return np.asarray(truth_NL.any(axis=0) | said_NL.any(axis=0))


def _share(value: float, drawn_R: FloatArray, texts: int, evidence: float) -> Score:
    """Return a figure from 0 to 1 with its interval; where that has no width, Wilson's of the share of texts."""
    certain = None if np.isnan(value) else wilson(round(float(value) * texts), texts)
    return interval(value, drawn_R, certain, texts=evidence)


def _mean_of_labels(values_L: FloatArray, drawn_RL: FloatArray, counts_L: npt.NDArray[np.int64], texts: int) -> Score:
    """Return the mean over labels that some text has, and its interval, as wide as the rarest of them asks for."""
    with np.errstate(invalid="ignore"):
        value = float(np.nansum(values_L) / np.float64((~np.isnan(values_L)).sum()))
        drawn_R = np.nansum(drawn_RL, axis=1) / (~np.isnan(drawn_RL)).sum(axis=1)
    return _share(value, drawn_R, texts, float(counts_L[counts_L > 0].min(initial=texts)))


def _calibration_error(value: float, drawn_R: FloatArray, truth_NL: Flags) -> Score:
    """Return the calibration error with its interval.

    Absolute gaps grow with noise, so resamples lie above the value on average; that shift is taken out. Where all
    decisions are true, or none is, the bootstrap sees no noise in them: then Wilson's width is added.
    """
    high = min(1.0, value + wilson(0, len(truth_NL))[1])
    found = interval(value, np.clip(drawn_R - drawn_R.mean() + value, 0, 1), (value, high), texts=len(truth_NL))
    if truth_NL.all() or not truth_NL.any():
        found["high"] = max(found["high"], high)
    return found


def _per_label(
    seen: Score,
    drawn: Score,
    counts_3L: FloatArray,
    labels: Sequence[str],
    ranked: tuple[FloatArray, FloatArray],
) -> list[Score]:
    """Return each label's texts, true and predicted, and its precision, recall, F1 and average precision."""
    rows = []
    for column, label in enumerate(labels):
        hit, true, said = (int(count) for count in counts_3L[:, column])
        ends = wilson_rates(hit, true, said)
        found = {name: interval(seen[name][0, column], drawn[name][:, column], ends[name]) for name in ends}
        found["average_precision"] = _share(ranked[0][column], ranked[1][:, column], true, true)
        rows.append({"label": label, "support": true, "predicted": said, **found})
    return rows


def paired_difference_of_macro_f1(
    true_NL: npt.ArrayLike,
    first_NL: npt.ArrayLike,
    second_NL: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Return the macro-F1 of the first predicted label sets minus that of the second, on the same texts.

    Both are drawn together, text by text. Half a text is added in which the two have changed places, as
    `intervals.paired_difference` does: without it a handful of texts, all in favour of one, would exclude zero.

    >>> found = paired_difference_of_macro_f1([[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [1, 0]])
    >>> round(found["value"], 3)
    0.667
    """
    truth_NL = checked_flags(true_NL)
    one_NL, two_NL = (checked_flags(each, truth_NL.shape) for each in (first_NL, second_NL))
    n, width = truth_NL.shape
    apart_D = np.flatnonzero((one_NL != two_NL).any(axis=1))
    texts = np.concatenate((np.arange(n), apart_D))
    first_NL, second_NL = np.concatenate((one_NL, two_NL[apart_D])), np.concatenate((two_NL, one_NL[apart_D]))
    columns_NM = _difference_columns(truth_NL[texts], first_NL, second_NL)
    value = float(_macro_f1_difference(columns_NM[:n].sum(axis=0, keepdims=True), width)[0])
    rng, drawn = np.random.default_rng(seed), []
    for counts_RN in text_counts(n, resamples, rng):
        swapped_RD = rng.poisson(0.5 / max(1, len(apart_D)), (len(counts_RN), len(apart_D)))
        both_RN = np.concatenate((counts_RN, swapped_RD), axis=1).astype(np.float32)
        drawn.append(_macro_f1_difference(both_RN @ columns_NM, width))
    unseen = wilson(0, n)[1]  # the two say the same: they may yet differ on this share of all texts
    return interval(value, np.concatenate(drawn), (-unseen, unseen), texts=n)


def _difference_columns(truth_NL: Flags, first_NL: Flags, second_NL: Flags) -> npt.NDArray[np.float32]:
    """Return per text what both F1 are made of: true labels, then hits and predictions of the first and the second."""
    parts = (truth_NL, truth_NL & first_NL, first_NL, truth_NL & second_NL, second_NL)
    return np.concatenate(parts, axis=1).astype(np.float32)


def _macro_f1_difference(sums_RM: npt.NDArray[np.float32], width: int) -> FloatArray:
    """Return the first macro-F1 minus the second of R rows of summed columns; NaN where a label is nowhere."""
    true_RL, hit_RL, said_RL, other_hit_RL, other_said_RL = np.split(sums_RM.astype(np.float64), 5, axis=1)
    found = []
    with np.errstate(invalid="ignore"):
        for hits_RL, predicted_RL in ((hit_RL, said_RL), (other_hit_RL, other_said_RL)):
            f1_RL = 2 * hits_RL / (true_RL + predicted_RL)
            found.append(np.nansum(f1_RL, axis=1) / (~np.isnan(f1_RL)).sum(axis=1))
    return np.asarray(found[0] - found[1], dtype=np.float64)


def sigmoid(logits: npt.ArrayLike) -> FloatArray:
    """Return 1 / (1 + exp(-logits)) in float64, without overflow and exact in both tails.

    >>> sigmoid([0.0, -1000.0, 1000.0]).tolist()
    [0.5, 0.0, 1.0]
    """
    scores = np.asarray(logits, dtype=np.float64)
    power = np.exp(-np.abs(scores))
    return np.asarray(np.where(scores >= 0, 1.0, power) / (1 + power), dtype=np.float64)


def fit_sigmoid_temperature(logits_NL: npt.ArrayLike, true_NL: npt.ArrayLike) -> float:
    """Return the one temperature that makes `sigmoid(logits / T)` honest on held-out texts, over all labels together.

    As `calibration.fit_temperature`: it minimises the negative log-likelihood, convex in 1/T, between 0.25 and 10. Of P
    true and Q other decisions the targets are (P + 1)/(P + 2) and 1/(Q + 2) (Platt 1999), so that rare labels are not
    pulled to one half. Fewer than 20 texts say too little: then 1.0.

    >>> fit_sigmoid_temperature([[2.0, -1.0]] * 10, [[1, 0]] * 10)
    1.0
    """
    truth_NL = checked_flags(true_NL)
    scores_NL = np.asarray(logits_NL, dtype=np.float64)
    if scores_NL.shape != truth_NL.shape:
        raise ConfigError(f"logits are {scores_NL.shape}, expected {truth_NL.shape} — give one per text and label")
    if not np.isfinite(scores_NL).all():
        raise ConfigError("logits hold NaN or infinity — find the texts that make the model overflow")
    if len(truth_NL) < FEWEST_FOR_TEMPERATURE:
        return 1.0
    true = int(truth_NL.sum())
    target_NL = np.where(truth_NL, (true + 1) / (true + 2), 1 / (truth_NL.size - true + 2))
    target = float((target_NL * scores_NL).sum())
    return bisected_temperature(lambda warmth: float((sigmoid(scores_NL / warmth) * scores_NL).sum()) > target)


def tune_thresholds(
    true_NL: npt.ArrayLike,
    probabilities_NL: npt.ArrayLike,
    *,
    goal: Literal["macro_f1", "micro_f1"] = "macro_f1",
) -> FloatArray:
    """Return a threshold per label, 0.01 to 0.99, for `probability >= threshold`, from validation texts.

    "micro_f1" gives all labels the threshold that maximises micro-F1; of equals the nearest to 0.5. "macro_f1" starts
    from there and moves a label only as far as its own F1 asks: of the thresholds whose F1 comes within 2 / (P + 1) of
    the best, P the label's texts, the nearest to the common one on the logit scale. A label of fewer than 3 texts keeps
    the common one. Candidates are 0.5 and the middles between neighbouring probabilities.

    Macro-F1 on other texts, in percent, mean of 20 draws of the validation texts; a linear model on GoEmotions (28
    labels, 5 of them on fewer than 1 % of the texts) and simulated, calibrated probabilities of 20 labels:

        validation texts                       100           300           1,000         3,000
        0.5                                    29.9 | 35.5   29.9 | 35.5   29.9 | 35.5   30.0 | 35.5
        one for all ("micro_f1")               40.3 | 44.8   41.2 | 45.0   41.7 | 45.0   41.8 | 45.2
        each label's best, from 10 texts on    40.3 | 44.2   41.1 | 45.1   42.4 | 46.8   44.4 | 47.3
        this ("macro_f1")                      40.7 | 45.8   42.0 | 46.5   43.8 | 46.9   45.4 | 47.3

    The common threshold stays better at micro-F1, by 1.0 to 1.7.

    >>> tune_thresholds([[1], [1], [1], [0]], [[0.4], [0.3], [0.3], [0.1]]).round(3).tolist()
    [0.2]
    """
    truth_NL = checked_flags(true_NL)
    chances_NL = checked_chances(probabilities_NL, truth_NL.shape)
    candidates_K, f1_K = _f1_by_threshold(truth_NL.ravel(), chances_NL.ravel())
    common = _nearest(candidates_K[f1_K >= f1_K.max() - 1e-12], 0.5)
    found_L = np.full(truth_NL.shape[1], common)
    for label in np.flatnonzero(truth_NL.sum(axis=0) >= FEWEST_FOR_THRESHOLD) if goal == "macro_f1" else ():
        candidates_K, f1_K = _f1_by_threshold(truth_NL[:, label], chances_NL[:, label], common)
        enough = f1_K.max() * (1 - 2 / (truth_NL[:, label].sum() + 1))
        found_L[label] = _nearest(candidates_K[f1_K >= enough], common)
    return found_L


def _f1_by_threshold(truth_N: Flags, chances_N: FloatArray, also: float = 0.5) -> tuple[FloatArray, FloatArray]:
    """Return the thresholds between the probabilities, and `also`, within the bounds, and the F1 of each."""
    kinds = np.unique(chances_N)
    candidates_K = np.unique(np.append(np.clip((kinds[1:] + kinds[:-1]) / 2, *THRESHOLDS), also))
    true_P = np.sort(chances_N[truth_N])
    said_K = len(chances_N) - np.searchsorted(np.sort(chances_N), candidates_K, "left")
    hit_K = len(true_P) - np.searchsorted(true_P, candidates_K, "left")
    return candidates_K, np.asarray(2 * hit_K / np.maximum(said_K + len(true_P), 1), dtype=np.float64)


def _nearest(candidates_K: FloatArray, wanted: float) -> float:
    """Return the candidate nearest on the logit scale; of two the lower."""
    logit_K = np.log(candidates_K / (1 - candidates_K))
    return float(candidates_K[np.abs(logit_K - np.log(wanted / (1 - wanted))).argmin()])
