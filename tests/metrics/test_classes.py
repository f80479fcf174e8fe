"""One label a text, against scikit-learn where it has the number, and against simulated truth where it has none."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from sklearn import metrics as sk

from filbert.errors import ConfigError
from filbert.metrics.calibration import softmax
from filbert.metrics.classes import score
from filbert.metrics.intervals import wilson


def simulated(n: int, classes: int, *, strength: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes, and probabilities that favour them."""
    rng = np.random.default_rng(seed)
    true_N = rng.integers(0, classes, n)
    logits_NC = rng.normal(size=(n, classes))
    logits_NC[np.arange(n), true_N] += strength
    return true_N, softmax(logits_NC)


def labels_of(classes: int) -> list[str]:
    return [f"c{i}" for i in range(classes)]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_values_equal_scikit_learn(classes: int) -> None:
    true_N, chances_NC = simulated(300, classes)
    found = score(true_N, chances_NC, labels_of(classes))
    predicted_N = chances_NC.argmax(axis=1)
    precision, recall, f1, support = sk.precision_recall_fscore_support(true_N, predicted_N, zero_division=0)
    area = chances_NC[:, 1] if classes == 2 else chances_NC
    expected = {
        "accuracy": sk.accuracy_score(true_N, predicted_N),
        "macro_f1": sk.f1_score(true_N, predicted_N, average="macro"),
        "mcc": sk.matthews_corrcoef(true_N, predicted_N),
        "auc": sk.roc_auc_score(true_N, area, multi_class="ovr"),
    }
    assert {key: found[key]["value"] for key in expected} == pytest.approx(expected)
    assert found["log_loss"] == pytest.approx(sk.log_loss(true_N, chances_NC))
    assert found["confusion"] == sk.confusion_matrix(true_N, predicted_N).tolist()
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [each[name]["value"] for each in found["per_class"]] == pytest.approx(list(values))
    assert [each["support"] for each in found["per_class"]] == list(support)


@pytest.mark.slow
def test_counting_cells_equals_resampling_texts() -> None:
    """The fast path draws confusion counts; its readable twin draws texts."""
    true_N, chances_NC = simulated(200, 3, strength=1.0)
    predicted_N, rng = chances_NC.argmax(axis=1), np.random.default_rng(1)
    twin: dict[str, list[float]] = {"accuracy": [], "macro_f1": [], "mcc": []}
    for _ in range(1000):
        drawn = rng.integers(0, 200, 200)
        twin["accuracy"].append(sk.accuracy_score(true_N[drawn], predicted_N[drawn]))
        twin["mcc"].append(sk.matthews_corrcoef(true_N[drawn], predicted_N[drawn]))
        confusion = np.bincount(true_N[drawn] * 3 + predicted_N[drawn], minlength=9).reshape(3, 3)
        twin["macro_f1"].append(float(np.mean(2 * np.diag(confusion) / (confusion.sum(0) + confusion.sum(1)))))
    found = score(true_N, chances_NC, labels_of(3), resamples=4000)
    for key, values in twin.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert found[key]["low"] == pytest.approx(low, abs=0.015), key
        assert found[key]["high"] == pytest.approx(high, abs=0.015), key


def test_intervals_cover_the_truth() -> None:
    """Of 200 samples from a world where 80 % are right, about 95 % of the intervals must hold 80 %."""
    rng = np.random.default_rng(0)
    held = {"accuracy": 0, "recall": 0, "auc": 0}
    for _ in range(200):
        true_N = rng.integers(0, 2, 300)
        said_N = np.where(rng.random(300) < 0.8, true_N, 1 - true_N)
        first_N = np.where(said_N == 0, 0.7, 0.3)
        found = score(true_N, np.stack([first_N, 1 - first_N], axis=1), ["a", "b"], resamples=300)
        intervals = {"accuracy": found["accuracy"], "recall": found["per_class"][0]["recall"], "auc": found["auc"]}
        for key, each in intervals.items():
            held[key] += each["low"] <= 0.8 <= each["high"]
    assert all(180 <= times <= 199 for times in held.values()), held


def test_perfect_scores_never_claim_certainty() -> None:
    true_N = np.arange(50) % 3
    found = score(true_N, np.eye(3)[true_N], labels_of(3))
    for key in ("accuracy", "macro_f1", "mcc", "auc"):
        assert found[key]["value"] == 1 == found[key]["high"], key
        assert 0.7 < found[key]["low"] < 1, key
    assert found["accuracy"]["low"] == pytest.approx(wilson(50, 50)[0])
    assert found["ece"]["value"] == 0 < found["ece"]["high"]
    assert all(each["f1"]["low"] < 1 for each in found["per_class"])


def test_one_text_and_classes_without_texts() -> None:
    found = score([0], [[0.8, 0.1, 0.1]], labels_of(3))
    assert "auc" not in found
    assert found["accuracy"]["low"] < 0.3
    assert found["per_class"][1]["recall"] == {"value": None, "low": None, "high": None}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("true", "chances"),
    [
        ([0, 2], [[1, 0], [1, 0]]),
        ([0], [[np.nan, 1]]),
        ([0], [[3.0, -2.0]]),
        ([0, 1], [[1, 0]]),
        ([], np.zeros((0, 2))),
    ],
)
def test_wrong_input_is_named(true: list[int], chances: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match=" — give "):
        score(true, chances, ["a", "b"])


def test_many_classes_take_seconds() -> None:
    true_N, chances_NC = simulated(25_000, 150, strength=4.0)
    started = time.process_time()
    score(true_N, chances_NC, labels_of(150))
    assert time.process_time() - started < 6  # 0.6 s on an idle core


def test_of_many_classes_the_cells_that_are_not_empty():
    true_N = np.arange(400) % 201
    predicted_N = np.where(np.arange(400) < 5, 7, true_N)
    labels = [str(c) for c in range(201)]
    found = score(true_N, np.eye(201)[predicted_N] * 0.799 + 0.001, labels, resamples=20)
    assert "confusion" not in found
    whole = np.zeros((201, 201), int)
    for true, predicted, count in found["confusion_cells"]:
        whole[true, predicted] = count
    np.add.at(expected := np.zeros((201, 201), int), (true_N, predicted_N), 1)
    assert (whole == expected).all()
    assert found["per_class"][7]["support"] == 2
