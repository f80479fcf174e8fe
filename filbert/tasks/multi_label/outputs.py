"""Several labels a text, or none: from the head's outputs to answers and scores, and for people.

Shapes: N texts, L labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.errors import shown
from filbert.metrics import calibration, label_sets
from filbert.records import Example, Features, FloatArray, IntArray, Numbers, Prediction
from filbert.tasks.asking import ranked
from filbert.tasks.framing import only_window
from filbert.tasks.labels import MISTAKES, passage
from filbert.tasks.multi_label.settings import Settings
from filbert.tasks.task import Baseline, Calibrated, Doubt, Fold, Goal, Json, Outputs, Quantity, Shown, Windows

LEAST = 1e-12  # of a mean probability, so that it has a logarithm
DIGITS = 6  # of a probability: beyond fp32's agreement between machines
HALF = 0.5
TOLD = 20  # labels whose thresholds are said

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LabelsPrediction(Prediction):
    """The labels of a text, which may be none, and the probability of each label in the model's order.

    `labels` is None where the text could not be scored.
    """

    labels: tuple[str, ...] | None = None
    probabilities: Sequence[float] = ()


def empty(error: str) -> Prediction:
    """Return a prediction without an answer."""
    return LabelsPrediction(error=error)


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Give each label whose probability is at least its threshold."""
    return labelled(label_sets.sigmoid(only_window(outputs)), settings) if len(outputs) else []


def labelled(probabilities_NL: FloatArray, settings: Settings) -> list[Prediction]:
    """Return a prediction for each row of probabilities; sure is one that no label would leave or join soon."""
    given_NL = probabilities_NL >= thresholds(settings)
    sure_N = np.where(given_NL, probabilities_NL, 1 - probabilities_NL).min(axis=1)
    return [
        LabelsPrediction(
            labels=tuple(label for label, given in zip(settings.labels, row, strict=True) if given),
            probabilities=Numbers(chances),
            confidence=sure,
        )
        for row, chances, sure in zip(given_NL, probabilities_NL, sure_N.tolist(), strict=True)
    ]


def thresholds(settings: Settings) -> FloatArray:
    """Return the probability of each label from which on it is given."""
    return np.array(settings.thresholds or [HALF] * len(settings.labels))


def probabilities(predictions: Sequence[Prediction]) -> FloatArray:
    """Return probabilities_NL of predictions that have some."""
    return np.array([found.probabilities for found in predictions if isinstance(found, LabelsPrediction)])


def given(predictions: Sequence[Prediction], settings: Settings) -> Flags:
    """Return which labels were given to each text."""
    return flags([found.labels or () for found in predictions if isinstance(found, LabelsPrediction)], settings)


def true(examples: Sequence[Example], settings: Settings) -> Flags:
    """Return which labels each text has."""
    return flags([example.target for example in examples], settings)


def flags(sets: Sequence[Sequence[str]], settings: Settings) -> Flags:
    """Return sets of labels as rows of yes and no.

    >>> flags([("b",), ()], Settings(("a", "b"))).astype(int).tolist()
    [[0, 1], [0, 0]]
    """
    number = {label: i for i, label in enumerate(settings.labels)}
    found_NL = np.zeros((len(sets), len(number)), dtype=bool)
    for row, labels in zip(found_NL, sets, strict=True):
        row[[number[label] for label in labels]] = True
    return found_NL


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """Micro-, macro- and samples-F1, subset accuracy, mean average precision and the table of labels."""
    found = label_sets.score_label_sets(
        true(examples, settings), probabilities(predictions), given(predictions, settings), settings.labels
    )
    return found


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return (mean average precision, -loss) to maximise, and figures for the log.

    Average precision needs no threshold, and thresholds are tuned only once the weights are there.
    """
    from sklearn.metrics import average_precision_score, f1_score

    true_NL, logits_NL = true(examples, settings), only_window(outputs)
    found_NL = label_sets.sigmoid(logits_NL)
    met_L = true_NL.any(axis=0)
    precision = float(average_precision_score(true_NL[:, met_L], found_NL[:, met_L])) if met_L.any() else 0.0
    loss = float(losses(settings, outputs, examples).mean())
    micro = float(f1_score(true_NL, found_NL >= HALF, average="micro", zero_division=0))
    return (precision, -loss), {"map": precision, "micro_f1": micro, "loss": loss}


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fit one temperature, to be folded into the last layer, and then the threshold of each label."""
    true_NL, logits_NL = true(examples, settings), only_window(outputs)
    temperature = label_sets.fit_sigmoid_temperature(logits_NL, true_NL)
    before_NL, after_NL = label_sets.sigmoid(logits_NL), label_sets.sigmoid(logits_NL / temperature)
    tuned_L = label_sets.tune_thresholds(true_NL, after_NL)
    facts = {
        "temperature": temperature,
        "ece_before": calibration.expected_calibration_error(*_questions(true_NL, before_NL)),
        "ece_after": calibration.expected_calibration_error(*_questions(true_NL, after_NL)),
        "bins": calibration.reliability(*_questions(true_NL, after_NL)),
        "of": "label",
        "thresholds": [round(float(each), 4) for each in tuned_L],
    }
    tuned = replace(settings, thresholds=tuple(map(float, tuned_L)), weights=())
    return Calibrated(tuned, Fold(temperature), facts)


def _questions(true_NL: Flags, probabilities_NL: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return each text's question for each label on its own: the answer, no or yes, and the probability of both."""
    chances_M = probabilities_NL.reshape(-1)
    return true_NL.reshape(-1).astype(np.int32), np.stack((1 - chances_M, chances_M), axis=1)


def losses(settings: Settings, outputs: Outputs, examples: Sequence[Example]) -> FloatArray:
    """Return the binary cross-entropy of each text, as the mean over the labels.

    >>> losses(Settings(("bad", "good")), np.zeros((1, 1, 2)), [Example(("fine",), ("good",))]).round(4).tolist()
    [0.6931]
    """
    true_NL, logits_NL = true(examples, settings), only_window(outputs)
    return np.asarray((np.logaddexp(0, logits_NL) - np.where(true_NL, logits_NL, 0)).mean(axis=1), dtype=np.float64)


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return probabilities_NL, and twice how far the nearest is from its threshold."""
    found_NL = label_sets.sigmoid(only_window(outputs))
    return found_NL, 2 * np.abs(found_NL - thresholds(settings)).min(axis=1)


def averaged(outputs: Sequence[Outputs], settings: Settings) -> Outputs:
    """Return the logits of the mean probabilities of several models."""
    mean_NL = np.mean([label_sets.sigmoid(only_window(each)) for each in outputs], axis=0)
    mean_NL = np.clip(mean_NL, LEAST, 1 - LEAST)
    return np.asarray((np.log(mean_NL) - np.log1p(-mean_NL))[:, None])


def soften(outputs: Outputs, settings: Settings, temperature: float) -> FloatArray:
    """Return the probability of each label at a temperature."""
    return label_sets.sigmoid(only_window(outputs) / temperature)


def answered(prediction: Prediction, settings: Settings, random: np.random.Generator | None = None) -> Any:
    """Return the labels, or some drawn by the probability of each."""
    assert isinstance(prediction, LabelsPrediction)
    if random is None:
        return prediction.labels or ()
    drawn_L = random.random(len(settings.labels)) < np.array(prediction.probabilities)
    return tuple(label for label, drawn in zip(settings.labels, drawn_L.tolist(), strict=True) if drawn)


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Fit TF-IDF + a logistic regression for each label, its thresholds tuned on the same validation texts."""
    from filbert.linear.baseline import fit_texts

    found = fit_texts(train, true(train, settings), asked, len(settings.labels))
    chances = {split: label_sets.sigmoid(rows) for split, rows in found.outputs.items()}
    tuned = settings
    if "validation" in asked:
        tuned_L = label_sets.tune_thresholds(true(asked["validation"], settings), chances["validation"])
        tuned = replace(settings, thresholds=tuple(map(float, tuned_L)))
    predictions = {split: labelled(rows, tuned) for split, rows in chances.items()}
    return Baseline(found.name, found.seconds, predictions, found.note, fitted=found, losses=partial(losses, settings))


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return the labels that most texts have, and the mean entropy of the labels; no loss where they are weighed."""
    share_L = true(train, settings).mean(axis=0)
    rest_L = 1 - share_L
    parts_L = [share * np.log(np.where(share > 0, share, 1.0)) for share in (share_L, rest_L)]
    loss = None if settings.weights else float(-np.sum(parts_L, axis=0).mean())
    return labelled(share_L[np.newaxis], replace(settings, thresholds=())) * count, loss


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in macro-F1."""
    return label_sets.paired_difference_of_macro_f1(
        true(examples, settings), given(ours, settings), given(theirs, settings)
    )


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return 1 for each text whose labels are not exactly right."""
    wrong_N = (given(predictions, settings) != true(examples, settings)).any(axis=1)
    return "not exactly right", wrong_N.astype(np.float64)


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the texts in which a label was missed or given wrongly with most confidence."""
    true_NL, given_NL, found_NL = true(examples, settings), given(predictions, settings), probabilities(predictions)
    wrong_NL = true_NL != given_NL
    sure_NL = np.where(wrong_NL, np.where(given_NL, found_NL, 1 - found_NL), 0)
    worst = [i for i in np.argsort(-sure_NL.max(axis=1), kind="stable").tolist() if wrong_NL[i].any()][:MISTAKES]
    names = np.array(settings.labels, dtype=object)
    return [
        {
            **passage(examples[i]),
            "labels": names[true_NL[i]].tolist(),
            "predicted": names[given_NL[i]].tolist(),
            "label": settings.labels[int(sure_NL[i].argmax())],
            "probability": float(found_NL[i, int(sure_NL[i].argmax())]),
        }
        for i in worst
    ]


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return of each text how probable its most doubtful label is, there or missing, beside the labels predicted."""
    true_NL, given_NL, found_NL = true(examples, settings), given(predictions, settings), probabilities(predictions)
    held_NL = np.where(true_NL, found_NL, 1 - found_NL)
    names = np.array(settings.labels, dtype=object)
    return [
        Doubt(
            float(held_NL[i].min()),
            json.dumps(names[true_NL[i]].tolist(), ensure_ascii=False),
            json.dumps(names[given_NL[i]].tolist(), ensure_ascii=False),
            float(1 - held_NL[i].min()),
        )
        for i in range(len(examples))
    ]


def columns(settings: Settings) -> dict[str, str]:
    """Return `labels`, and `probability_LABEL` for each label."""
    return {"labels": "string", **{f"probability_{label}": "float" for label in settings.labels}}


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the labels, joined as the text of a cell, and the probability of each.

    >>> row(labelled(np.array([[0.75, 0.5]]), Settings(("a", "b")))[0], Settings(("a", "b")))
    {'labels': 'a|b', 'probability_a': 0.75, 'probability_b': 0.5}
    """
    assert isinstance(prediction, LabelsPrediction)
    chances: list[float | None] = [round(p, DIGITS) for p in prediction.probabilities] or [None] * len(settings.labels)
    names = (f"probability_{label}" for label in settings.labels)
    joined = None if prediction.labels is None else joined_labels(prediction.labels)
    return {"labels": joined, **dict(zip(names, chances, strict=True))}


def joined_labels(labels: Sequence[str]) -> str:
    """Return labels as a cell that can be read again: with | between them, as an array where a label holds one itself.

    >>> joined_labels(["a", "b"]), joined_labels(["a|b"])
    ('a|b', '["a|b"]')
    """
    if any("|" in label or label != label.strip() or label.startswith("[") for label in labels):
        return json.dumps(list(labels), ensure_ascii=False)
    return "|".join(labels)


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> list[list[Json]]:
    """Return each label with its probability, or its output."""
    assert isinstance(prediction, LabelsPrediction)
    return ranked(dict(zip(settings.labels, prediction.probabilities, strict=True)), outputs)


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the labels, and a bar for each."""
    assert isinstance(prediction, LabelsPrediction)
    answer = ", ".join(prediction.labels or ()) or "(no label)"
    return Shown(answer, dict(zip(settings.labels, prediction.probabilities, strict=True)))


def rule(settings: Settings) -> tuple[str, Json]:
    """Return from which probability on each label is given.

    >>> rule(Settings(("bug", "urgent"), (0.25, 0.625)))[0]
    "given from these probabilities on: 'bug' 0.250, 'urgent' 0.625"
    """
    known = dict(zip(settings.labels, thresholds(settings).tolist(), strict=True))
    told = ", ".join(f"{shown(label, 30)} {known[label]:.3f}" for label in settings.labels[:TOLD])
    more = f" … and {len(known) - TOLD:,} more: see --json" if len(known) > TOLD else ""
    return f"given from these probabilities on: {told}{more}", {"thresholds": known}


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return the labels, or that there is none."""
    assert isinstance(prediction, LabelsPrediction)
    return prediction.labels or ("(no label)",)


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return the logit of each label, the most probable one first.

    >>> [each.name for each in quantities([np.array([-1.0, 2.0])], Settings(("late", "odd")), ())]
    ['odd', 'late']
    """
    logits_L = outputs[0].reshape(-1)
    one_LL = np.eye(len(logits_L))
    return [
        Quantity(settings.labels[i], f"the logit of {shown(settings.labels[i], 40)}", one_LL[i])
        for i in np.argsort(-logits_L, kind="stable").tolist()
    ]
