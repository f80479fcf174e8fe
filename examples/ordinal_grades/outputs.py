"""Grades: from the head's outputs to answers and scores, and for people.

Shapes: N texts, K grades, Q = K − 1 questions, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filbert.metrics import numbers
from filbert.metrics.calibration import softmax
from filbert.metrics.intervals import interval, text_counts, wilson
from filbert.metrics.label_sets import fit_sigmoid_temperature, sigmoid
from filbert.records import Example, Features, FloatArray, IntArray, Prediction
from filbert.tasks.asking import ranked
from filbert.tasks.framing import only_window
from filbert.tasks.labels import MISTAKES, passage
from filbert.tasks.task import Baseline, Calibrated, Doubt, Fold, Goal, Json, Outputs, Quantity, Shown, Windows
from ordinal_grades.settings import Settings

DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class GradePrediction(Prediction):
    """A grade, and what it was rounded from: the expected one, 0 for the lowest, and the answer to each question."""

    grade: str | None = None
    level: float | None = None
    above: tuple[float, ...] = ()


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Give the grade next to the expected one."""
    return graded(sigmoid(only_window(outputs)), settings) if len(outputs) else []


def graded(above_NQ: FloatArray, settings: Settings) -> list[Prediction]:
    """Return a prediction for each row of probabilities: of a whole number the mean is the sum of P(above k).

    >>> graded(np.array([[0.9, 0.8, 0.1]]), Settings(("A", "B", "C", "D")))[0].grade
    'C'
    """
    found: list[Prediction] = []
    for above_Q in above_NQ.tolist():
        level = sum(above_Q)
        number = int(level + 0.5)
        bounds = (1.0, *above_Q, 0.0)  # P(at least grade k), which the questions do not force to fall with k
        sure = max(0.0, bounds[number] - bounds[number + 1])
        grade = settings.labels[number]
        found.append(GradePrediction(grade=grade, level=level, above=tuple(above_Q), confidence=sure))
    return found


def empty(error: str) -> Prediction:
    """Return a prediction without an answer."""
    return GradePrediction(error=error)


def true(examples: Sequence[Example], settings: Settings) -> IntArray:
    """Return the number of each text's grade."""
    return np.array([settings.labels.index(example.target) for example in examples], dtype=np.int32)


def given(predictions: Sequence[Prediction], settings: Settings) -> IntArray:
    """Return the number of each grade that was given."""
    grades = [found.grade for found in predictions if isinstance(found, GradePrediction)]
    return np.array([settings.labels.index(grade) for grade in grades if grade is not None], dtype=np.int32)


def levels(predictions: Sequence[Prediction]) -> FloatArray:
    """Return the expected grades, 0 for the lowest."""
    return np.array([found.level for found in predictions if isinstance(found, GradePrediction)], dtype=np.float64)


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """Correlation and error of the expected grade, and accuracy of the one given, each with its 95 % interval."""
    true_N, texts = true(examples, settings), len(examples)
    right_N = (given(predictions, settings) == true_N).astype(np.float64)
    drawn = [counts_RN @ right_N / texts for counts_RN in text_counts(texts, 1000, np.random.default_rng(0))]
    accuracy = interval(right_N.mean(), np.concatenate(drawn), wilson(int(right_N.sum()), texts))
    return {**numbers.score_numbers(true_N, levels(predictions)), "accuracy": accuracy}


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return (-mean absolute error, -loss) to maximise, and figures for the log."""
    logits_NQ, true_N = only_window(outputs), true(examples, settings)
    off_N = np.abs(given(decode(outputs, settings), settings) - true_N)
    loss = float(np.mean(np.logaddexp(0, logits_NQ) - _above(true_N, settings) * logits_NQ))
    mae, accuracy = float(off_N.mean()), float((off_N == 0).mean())
    return (-mae, -loss), {"mae": mae, "accuracy": accuracy, "loss": loss}


def _above(true_N: IntArray, settings: Settings) -> FloatArray:
    return (np.arange(len(settings.labels) - 1) < true_N[:, None]).astype(np.float64)


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fit one temperature for all questions, to be folded into the last layer."""
    above_NQ = _above(true(examples, settings), settings)
    temperature = fit_sigmoid_temperature(only_window(outputs), above_NQ)
    return Calibrated(settings, Fold(temperature), {"temperature": temperature})


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return the probabilities, and twice how far the expected grade is from where it is rounded the other way."""
    above_NQ = sigmoid(only_window(outputs))
    return above_NQ, 2 * np.abs(above_NQ.sum(axis=1) % 1 - 0.5)


def soften(outputs: Outputs, settings: Settings, temperature: float) -> FloatArray:
    """Return P(above k) at a temperature."""
    return sigmoid(only_window(outputs) / temperature)


def answered(prediction: Prediction, settings: Settings, random: np.random.Generator | None = None) -> Any:
    """Return the grade, or one drawn: one number between 0 and 1 answers all questions, as one text has one grade."""
    assert isinstance(prediction, GradePrediction)
    if random is None:
        return prediction.grade
    return settings.labels[int((np.array(prediction.above) > random.random()).sum())]


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Fit TF-IDF + logistic regression, which knows no order, and add up its classes."""
    from filbert.linear.baseline import fit_texts

    found = fit_texts(train, true(train, settings), asked, len(settings.labels))
    above = {split: 1 - softmax(rows_NK).cumsum(axis=1)[:, :-1] for split, rows_NK in found.outputs.items()}
    predictions = {split: graded(above_NQ, settings) for split, above_NQ in above.items()}
    return Baseline(found.name, found.seconds, predictions, found.note)


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return the median grade, and the mean entropy of the questions."""
    true_N = true(train, settings)
    above_Q = (true_N[:, None] > np.arange(len(settings.labels) - 1)).mean(axis=0)
    parts_Q = [share * np.log(np.where(share > 0, share, 1.0)) for share in (above_Q, 1 - above_Q)]
    step_Q = (np.median(true_N) > np.arange(len(above_Q))).astype(np.float64)
    return graded(np.tile(step_Q, (count, 1)), settings), float(-np.sum(parts_Q, axis=0).mean())


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in Pearson's correlation between expected and true grade."""
    return numbers.paired_difference_of_errors(true(examples, settings), levels(ours), levels(theirs))


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return 1 for each wrong grade."""
    return "wrong", (given(predictions, settings) != true(examples, settings)).astype(np.float64)


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the texts whose grade is furthest off."""
    off_N = np.abs(given(predictions, settings) - true(examples, settings))
    worst = [i for i in np.argsort(-off_N, kind="stable").tolist() if off_N[i]][:MISTAKES]
    return [{**passage(examples[i]), "grade": examples[i].target, "predicted": _grade(predictions[i])} for i in worst]


def _grade(prediction: Prediction) -> str:
    assert isinstance(prediction, GradePrediction)
    return str(prediction.grade)


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return of each grade how probable it is by the questions around it."""
    found = []
    for example, prediction in zip(examples, predictions, strict=True):
        assert isinstance(prediction, GradePrediction)
        at, bounds = settings.labels.index(example.target), (1.0, *prediction.above, 0.0)
        quality = max(0.0, bounds[at] - bounds[at + 1])
        found.append(Doubt(quality, example.target, _grade(prediction), prediction.confidence))
    return found


def columns(settings: Settings) -> dict[str, str]:
    """Return `grade`, `level`, and `probability_above_GRADE` for each question."""
    questions = (f"probability_above_{grade}" for grade in settings.labels[:-1])
    return {"grade": "string", **dict.fromkeys(("level", *questions), "float")}


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the cells of these columns, empty ones where the text could not be scored."""
    assert isinstance(prediction, GradePrediction)
    answer = (prediction.level, *prediction.above) if prediction.above else (None,) * len(settings.labels)
    cells = [None if number is None else round(number, DIGITS) for number in answer]
    return dict(zip(columns(settings), (prediction.grade, *cells), strict=True))


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> list[list[Json]]:
    """Return each question with its probability, or its output."""
    return ranked(show(prediction, settings).bars, outputs)


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the grade, and a bar for each question."""
    assert isinstance(prediction, GradePrediction)
    questions = (f"above {grade}" for grade in settings.labels)
    return Shown(_grade(prediction), dict(zip(questions, prediction.above, strict=False)))


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return the grade."""
    return (_grade(prediction),)


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return the mean logit of the questions, which rises with the grade."""
    count = len(settings.labels) - 1
    return [Quantity("grade", "the mean logit of the questions whether the grade is above", np.full(count, 1 / count))]
