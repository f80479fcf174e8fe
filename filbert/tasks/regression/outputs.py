"""A number a text: from the head's output to answers and scores, and for people.

While it trains the head gives scaled numbers; `calibrate` has the unit folded into the last layer, so that a saved
model, in `transformers` too, gives numbers in the unit of the file.

Shapes: N texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from filbert.metrics import numbers
from filbert.records import Example, Features, FloatArray, Prediction
from filbert.tasks.asking import ranked
from filbert.tasks.framing import only_window
from filbert.tasks.labels import MISTAKES, passage
from filbert.tasks.regression.settings import Settings
from filbert.tasks.task import Baseline, Calibrated, Doubt, Fold, Goal, Json, Outputs, Quantity, Shown, Windows

DIGITS = 6  # significant ones of a number given
NINE_IN_TEN = 1.6449  # standard deviations to either side of a normal distribution
RARE = 0.05  # an error that one in twenty is as large as


@dataclass(frozen=True, kw_only=True)
class NumberPrediction(Prediction):
    """A number in the unit of the training file, and the range in which nine of ten true numbers lie."""

    score: float | None = None
    low: float | None = None
    high: float | None = None


def empty(error: str) -> Prediction:
    """Return a prediction without an answer."""
    return NumberPrediction(error=error)


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Give the number, and the range around it where that was fitted."""
    return numbered(only_window(outputs)[:, 0], settings) if len(outputs) else []


def numbered(found_N: FloatArray, settings: Settings) -> list[Prediction]:
    """Return a prediction for each number."""
    half = settings.half_width
    return [
        NumberPrediction(score=each, low=each - half if half else None, high=each + half if half else None)
        for each in found_N.tolist()
    ]


def values(predictions: Sequence[Prediction]) -> FloatArray:
    """Return the numbers of predictions that have one."""
    return np.array([found.score for found in predictions if isinstance(found, NumberPrediction)], dtype=np.float64)


def true(examples: Sequence[Example]) -> FloatArray:
    """Return the number of each text."""
    return np.array([example.target for example in examples], dtype=np.float64)


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """Pearson, Spearman, mean absolute and root mean squared error, each with its 95 % interval."""
    return numbers.score_numbers(true(examples), values(predictions))


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return (-loss,) to maximise, the squared error of the scaled numbers, and figures for the log."""
    from scipy.stats import spearmanr  # type: ignore[import-untyped]  # scikit-learn's own

    found_N = only_window(outputs)[:, 0]
    scaled_N = (true(examples) - settings.mean) / settings.spread
    loss = float(losses(settings, outputs, examples).mean())
    mae = float(np.abs(found_N - scaled_N).mean()) * settings.spread
    pearson = spearman = 0.0
    if found_N.std() > 0 and scaled_N.std() > 0:
        pearson, spearman = float(np.corrcoef(found_N, scaled_N)[0, 1]), float(spearmanr(found_N, scaled_N)[0])
    return (-loss,), {"loss": loss, "pearson": pearson, "spearman": spearman, "mae": mae}


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fold the unit into the last layer, and fit the range in which nine of ten true numbers lie."""
    found_N = only_window(outputs)[:, 0] * settings.spread + settings.mean
    half = numbers.residual_quantile(true(examples), found_N)  # infinite where the texts are too few to say
    fitted = replace(settings, half_width=half if np.isfinite(half) else 0.0)
    inside = float((np.abs(true(examples) - found_N) <= half).mean())
    facts = {"half_width": fitted.half_width, "coverage": 0.9, "inside": inside}
    return Calibrated(fitted, Fold(1 / settings.spread, settings.mean), facts)


def losses(settings: Settings, outputs: Outputs, examples: Sequence[Example]) -> FloatArray:
    """Return the squared error of each scaled number, as the head gives it while it trains.

    >>> losses(Settings(mean=1.0, spread=2.0), np.zeros((1, 1, 1)), [Example(("fine",), 5.0)]).tolist()
    [4.0]
    """
    scaled_N = (true(examples) - settings.mean) / settings.spread
    return np.asarray((only_window(outputs)[:, 0] - scaled_N) ** 2, dtype=np.float64)


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return the numbers, the range of the training texts as 1, and that no answer is near another one."""
    width = settings.high - settings.low
    found_N1 = only_window(outputs)
    return found_N1 / (width if np.isfinite(width) and width > 0 else 1.0), np.ones(len(found_N1))


def soften(outputs: Outputs, settings: Settings, temperature: float) -> FloatArray:
    """Return the numbers scaled to mean 0 and spread 1 and divided by the temperature, which thereby has no effect."""
    return np.asarray((only_window(outputs)[:, 0] - settings.mean) / settings.spread / temperature)


def answered(prediction: Prediction, settings: Settings, random: np.random.Generator | None = None) -> Any:
    """Return the number, or one drawn from a normal distribution of which nine in ten lie in the range."""
    assert isinstance(prediction, NumberPrediction)
    score = float(prediction.score or 0.0)
    return score if random is None else score + float(random.normal()) * settings.half_width / NINE_IN_TEN


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Fit TF-IDF + ridge regression."""
    from filbert.linear.baseline import fit_texts

    found = fit_texts(train, (true(train) - settings.mean) / settings.spread, asked, 1)
    plain = replace(settings, half_width=0.0)
    predictions = {
        split: numbered(rows[:, 0] * settings.spread + settings.mean, plain) for split, rows in found.outputs.items()
    }
    return Baseline(found.name, found.seconds, predictions, found.note, fitted=found, losses=partial(losses, settings))


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return the median of the numbers; the loss of their mean is 1, as they are scaled."""
    return numbered(np.full(count, float(np.median(true(train)))), settings), 1.0


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in Pearson's correlation."""
    return numbers.paired_difference_of_errors(true(examples), values(ours), values(theirs))


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return by how much each number is off."""
    return "absolute error", np.abs(values(predictions) - true(examples))


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the texts whose number is furthest off."""
    true_N, found_N = true(examples), values(predictions)
    off_N = np.abs(true_N - found_N)
    worst = np.argsort(-off_N, kind="stable")[:MISTAKES].tolist()
    return [
        {**passage(examples[i]), "score": float(true_N[i]), "predicted": float(found_N[i]), "off": float(off_N[i])}
        for i in worst
    ]


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return of each text how rarely a number is so far off, as if errors were normal, with their median as the scale.

    What is further off than nineteen in twenty is doubtful; otherwise the number is suggested as it is.
    """
    true_N, found_N = true(examples), values(predictions)
    off_N = np.abs(true_N - found_N)
    scale = max(1.4826 * float(np.median(off_N)), 1e-12)  # a standard deviation, whatever a few wrong numbers do
    rare_N = [math.erfc(off / scale / math.sqrt(2)) for off in off_N.tolist()]
    return [
        Doubt(rare, f"{true:g}", f"{found if rare < RARE else true:.{DIGITS}g}", None)
        for rare, true, found in zip(rare_N, true_N.tolist(), found_N.tolist(), strict=True)
    ]


def columns(settings: Settings) -> dict[str, str]:
    """Return `score`, and the range where that was fitted."""
    ends = ("score_low", "score_high") if settings.half_width else ()
    return dict.fromkeys(("score", *ends), "float")


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the number and its range.

    >>> row(numbered(np.array([2.5]), Settings(0, 1, 0.5))[0], Settings(0, 1, 0.5))
    {'score': 2.5, 'score_low': 2.0, 'score_high': 3.0}
    """
    assert isinstance(prediction, NumberPrediction)
    cells = {"score": prediction.score, "score_low": prediction.low, "score_high": prediction.high}
    return {name: None if cells[name] is None else _short(cells[name]) for name in columns(settings)}


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.{DIGITS}g}")


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> list[list[Json]]:
    """Return the number as the score of its only label."""
    assert isinstance(prediction, NumberPrediction)
    return ranked({"score": float(prediction.score or 0.0)}, outputs)


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the number, and in brackets the range of nine in ten."""
    assert isinstance(prediction, NumberPrediction)
    ends = "" if prediction.low is None else f" (9 of 10 from {prediction.low:.4g} to {prediction.high:.4g})"
    return Shown(f"{prediction.score:.4g}{ends}")


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return nothing: numbers are not counted."""
    return ()


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return the number itself, in the unit of the training file."""
    return [Quantity("score", "the number itself", np.ones(1))]
