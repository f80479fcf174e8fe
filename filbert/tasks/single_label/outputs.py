"""One label a text: from the head's outputs to answers and scores, and for people.

Shapes: N texts, C classes, T places in a table of results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from filbert.errors import shown
from filbert.metrics import calibration, classes, intervals
from filbert.records import Example, Features, FloatArray, IntArray, Numbers, Prediction
from filbert.tasks.asking import ranked
from filbert.tasks.framing import only_window
from filbert.tasks.labels import MISTAKES, passage
from filbert.tasks.single_label.settings import UNEVEN, Settings
from filbert.tasks.task import Baseline, Calibrated, Doubt, Fold, Goal, Json, Outputs, Quantity, Shown, Windows

LEAST = 1e-12  # of a mean probability, so that it has a logarithm
FEW = 10  # validation texts of a class: of fewer, one moves macro-F1 by several points
CONFUSIONS, EXAMPLES = 10, 2  # pairs of labels that are taken for each other most often, and texts kept of each
DIGITS = 6  # of a probability: beyond fp32's agreement between machines


@dataclass(frozen=True, kw_only=True)
class LabelPrediction(Prediction):
    """A label, and the probability of each class in the model's order; neither where the text could not be scored."""

    label: str | None = None
    probabilities: Sequence[float] = ()


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Name the most probable class; of equal ones the first."""
    return labelled(calibration.softmax(only_window(outputs)), settings) if len(outputs) else []


def empty(error: str) -> Prediction:
    """Return a prediction without an answer."""
    return LabelPrediction(error=error)


def labelled(probabilities_NC: FloatArray, settings: Settings) -> list[Prediction]:
    """Return a prediction for each row of probabilities."""
    best_N = probabilities_NC.argmax(axis=1).tolist()
    return [
        LabelPrediction(label=settings.labels[best], probabilities=Numbers(row), confidence=float(row[best]))
        for best, row in zip(best_N, probabilities_NC, strict=True)
    ]


def probabilities(predictions: Sequence[Prediction]) -> FloatArray:
    """Return probabilities_NC of predictions that have some."""
    return np.array([found.probabilities for found in predictions if isinstance(found, LabelPrediction)])


def true(examples: Sequence[Example], settings: Settings) -> IntArray:
    """Return the number of each text's label."""
    number = {label: i for i, label in enumerate(settings.labels)}
    return np.array([number[str(example.target)] for example in examples], dtype=np.int32)


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """Accuracy, macro-F1, MCC, calibration and the per-class table, each with its 95 % interval."""
    return classes.score(true(examples, settings), probabilities(predictions), settings.labels)


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return what is to be maximised, and figures for the log, first what that is.

    (macro-F1, -loss); where a class is so rare here that one text of it moves macro-F1, the cross-entropy comes first,
    as the mean over the classes: a rare class counts as much as any.
    """
    from sklearn.metrics import f1_score

    true_N, found_NC = true(examples, settings), calibration.softmax(only_window(outputs))
    predicted_N = found_NC.argmax(axis=1)
    macro_f1 = float(f1_score(true_N, predicted_N, average="macro", zero_division=0))
    loss = calibration.log_loss(true_N, found_NC)
    accuracy = float((predicted_N == true_N).mean())
    figures = {"macro_f1": macro_f1, "accuracy": accuracy, "loss": loss}
    count_C = np.bincount(true_N)
    count_C = count_C[count_C > 0]
    if count_C.min() >= FEW or count_C.min() * UNEVEN > count_C.max():
        return (macro_f1, -loss), figures
    lost_N = -np.log(np.clip(found_NC[np.arange(len(true_N)), true_N], 1e-12, None))
    balanced = float(np.mean([lost_N[true_N == c].mean() for c in np.unique(true_N)]))
    return (-balanced, macro_f1), {"balanced_loss": balanced, **figures}


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fit one temperature, to be folded into the last layer: the order of classes stays (Guo et al. 2017)."""
    true_N, logits_NC = true(examples, settings), only_window(outputs)
    temperature = calibration.fit_temperature(logits_NC, true_N)
    before, after = calibration.softmax(logits_NC), calibration.softmax(logits_NC, temperature)
    facts = {
        "temperature": temperature,
        "ece_before": calibration.expected_calibration_error(true_N, before),
        "ece_after": calibration.expected_calibration_error(true_N, after),
        "bins": calibration.reliability(true_N, after),
    }
    return Calibrated(settings, Fold(temperature), facts)


def losses(settings: Settings, outputs: Outputs, examples: Sequence[Example]) -> FloatArray:
    """Return the cross-entropy of each text.

    >>> losses(Settings(("bad", "good")), np.zeros((1, 1, 2)), [Example(("fine",), "good")]).round(4).tolist()
    [0.6931]
    """
    logits_NC = only_window(outputs)
    above_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
    true_logit_N = above_NC[np.arange(len(above_NC)), true(examples, settings)]
    return np.asarray(np.log(np.exp(above_NC).sum(axis=1)) - true_logit_N, dtype=np.float64)


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return probabilities_NC, and how far the most probable class is ahead of the next one."""
    found_NC = calibration.softmax(only_window(outputs))
    if found_NC.shape[1] < 2:
        return found_NC, np.ones(len(found_NC))
    two_N2 = np.sort(found_NC, axis=1)[:, -2:]
    return found_NC, two_N2[:, -1] - two_N2[:, 0]


def averaged(outputs: Sequence[Outputs], settings: Settings) -> Outputs:
    """Return the logarithms of the mean probabilities of several models.

    >>> one, two = np.log([[[0.5, 0.5]]]), np.log([[[0.9, 0.1]]])
    >>> np.exp(averaged([one, two], Settings(("a", "b")))).round(2)
    array([[[0.7, 0.3]]])
    """
    mean_NC = np.mean([calibration.softmax(only_window(each)) for each in outputs], axis=0)
    return np.asarray(np.log(np.maximum(mean_NC, LEAST))[:, None])


def soften(outputs: Outputs, settings: Settings, temperature: float) -> FloatArray:
    """Return the probabilities of the classes at a temperature (Hinton et al. 2015)."""
    return calibration.softmax(only_window(outputs), temperature)


def answered(prediction: Prediction, settings: Settings, random: np.random.Generator | None = None) -> Any:
    """Return the label, or one drawn by the probabilities."""
    assert isinstance(prediction, LabelPrediction)
    if random is None:
        return prediction.label
    chances_C = np.array(prediction.probabilities)
    return settings.labels[int(random.choice(len(chances_C), p=chances_C / chances_C.sum()))]


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Fit TF-IDF + logistic regression."""
    from filbert.linear.baseline import fit_texts

    found = fit_texts(train, true(train, settings), asked, len(settings.labels))
    predictions = {split: labelled(calibration.softmax(rows), settings) for split, rows in found.outputs.items()}
    return Baseline(found.name, found.seconds, predictions, found.note, fitted=found, losses=partial(losses, settings))


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return the most frequent label, and the entropy of the labels, as the loss weighs them.

    >>> found, loss = constant([Example(("a",), "x"), Example(("b",), "y")], 1, Settings(("x", "y")))
    >>> found[0].label, round(loss, 4)
    ('x', 0.6931)
    """
    share_C = np.bincount(true(train, settings), minlength=len(settings.labels)) / len(train)
    mass_C = share_C * np.array(settings.weights or [1.0] * len(share_C))
    log_C = np.log(np.where(mass_C > 0, mass_C / mass_C.sum(), 1.0))
    return labelled(share_C[np.newaxis], settings) * count, float(-(mass_C * log_C).sum())


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in accuracy, and on how many texts one of the two is right alone."""
    one_N, two_N = (probabilities(found).argmax(axis=1) for found in (ours, theirs))
    return intervals.paired_difference(true(examples, settings), one_N, two_N)


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return 1 for each wrong label."""
    wrong_N = probabilities(predictions).argmax(axis=1) != true(examples, settings)
    return "wrong", wrong_N.astype(np.float64)


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the wrong answers given with most confidence, and after them examples of the most frequent confusions.

    >>> two = Settings(("bad", "good"))
    >>> found = mistakes([Example(("fine",), "good")], labelled(np.array([[0.9, 0.1]]), two), two)
    >>> found[0]["predicted"], found[0]["probability"], found[0]["place"]
    ('bad', 0.9, 'memory')
    """
    truth_N, chances_NC = true(examples, settings), probabilities(predictions)
    predicted_N = chances_NC.argmax(axis=1)
    wrong = np.flatnonzero(predicted_N != truth_N)
    worst_first = wrong[np.argsort(-chances_NC[wrong, predicted_N[wrong]], kind="stable")].tolist()
    pairs = [(int(truth_N[i]), int(predicted_N[i])) for i in worst_first]
    often = {pair for pair, _ in Counter(pairs).most_common(CONFUSIONS)}
    kept, met = list[tuple[int, bool]](), Counter[tuple[int, int]]()
    for place, (i, pair) in enumerate(zip(worst_first, pairs, strict=True)):
        met[pair] += 1
        if place < MISTAKES or (pair in often and met[pair] <= EXAMPLES):
            kept.append((i, place >= MISTAKES))
    return [
        {
            **passage(examples[i]),
            "label": settings.labels[truth_N[i]],
            "predicted": settings.labels[predicted_N[i]],
            "probability": float(chances_NC[i, predicted_N[i]]),
            **({"as_example": True} if only_example else {}),
        }
        for i, only_example in kept
    ]


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return the normalized margin of each label (Northcutt et al. 2021): how far it is ahead of the best other one.

    >>> two = Settings(("bad", "good"))
    >>> doubts([Example(("fine",), "good")], labelled(np.array([[0.9, 0.1]]), two), two)[0].suggested
    'bad'
    """
    truth_N, chances_NC = true(examples, settings), probabilities(predictions)
    rows_N = np.arange(len(truth_N))
    others_NC = chances_NC.copy()
    others_NC[rows_N, truth_N] = -1
    quality_N = (chances_NC[rows_N, truth_N] - others_NC.max(axis=1) + 1) / 2
    best_N = chances_NC.argmax(axis=1)
    return [
        Doubt(float(quality_N[i]), settings.labels[truth_N[i]], settings.labels[best], float(chances_NC[i, best]))
        for i, best in enumerate(best_N.tolist())
    ]


def columns(settings: Settings) -> dict[str, str]:
    """Return `label`, and `probability_CLASS` for each class."""
    return {"label": "string", **{f"probability_{label}": "float" for label in settings.labels}}


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the label and the probability of each class.

    >>> two = Settings(("bad", "good"))
    >>> row(labelled(np.array([[0.75, 0.25]]), two)[0], two)
    {'label': 'bad', 'probability_bad': 0.75, 'probability_good': 0.25}
    """
    assert isinstance(prediction, LabelPrediction)
    chances: list[float | None] = [round(p, DIGITS) for p in prediction.probabilities] or [None] * len(settings.labels)
    names = (f"probability_{label}" for label in settings.labels)
    return {"label": prediction.label, **dict(zip(names, chances, strict=True))}


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> list[list[Json]]:
    """Return each label with its probability, or its output."""
    assert isinstance(prediction, LabelPrediction)
    return ranked(dict(zip(settings.labels, prediction.probabilities, strict=True)), outputs)


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the label, and a bar for each class."""
    assert isinstance(prediction, LabelPrediction)
    return Shown(str(prediction.label), dict(zip(settings.labels, prediction.probabilities, strict=True)))


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return the label."""
    assert isinstance(prediction, LabelPrediction)
    return (str(prediction.label),)


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return of each label by how much its logit is above that of the most probable other one, best label first.

    Of two labels this is the log-odds.

    >>> found = quantities([np.array([-1.0, 2.0])], Settings(("bad", "good")), ())
    >>> found[0].name, found[0].of(np.array([-1.0, 2.0]))
    ('good', 3.0)
    """
    logits_C = outputs[0].reshape(-1)
    order = np.argsort(-logits_C, kind="stable").tolist()
    found = []
    for best in order:
        other = next((c for c in order if c != best), None)
        factors_C = np.zeros(len(logits_C))
        factors_C[best] = 1.0
        meaning = f"the logit of {shown(settings.labels[best], 40)}"
        if other is not None:
            factors_C[other] = -1.0
            meaning += f" less that of {shown(settings.labels[other], 40)}"
        found.append(Quantity(settings.labels[best], meaning, factors_C))
    return found
