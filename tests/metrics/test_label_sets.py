"""Several labels a text, against scikit-learn and against worlds whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from filbert.errors import ConfigError
from filbert.metrics.label_sets import paired_difference_of_macro_f1, score_label_sets, sigmoid

OVERALL = (
    *("micro_f1", "macro_f1", "samples_f1", "subset_accuracy"),
    *("micro_precision", "micro_recall", "hamming_loss", "map", "ece"),
)


def simulated(n: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true label sets and their honest probabilities, rounded, so that some are equal."""
    rng = np.random.default_rng(seed)
    chances_NL = sigmoid(rng.normal(size=(n, width)) * 2 - np.linspace(0, 2, width)).round(2)
    return rng.random((n, width)) < chances_NL, chances_NL


def names(width: int) -> list[str]:
    return [f"l{i}" for i in range(width)]


def test_values_equal_scikit_learn() -> None:
    true_NL, chances_NL = simulated(300, 5)
    said_NL = chances_NL > 0.5
    found = score_label_sets(true_NL, chances_NL, said_NL, names(5))
    expected = {
        "micro_f1": sk.f1_score(true_NL, said_NL, average="micro"),
        "macro_f1": sk.f1_score(true_NL, said_NL, average="macro", zero_division=np.nan),
        "samples_f1": sk.f1_score(true_NL, said_NL, average="samples", zero_division=1),
        "subset_accuracy": sk.accuracy_score(true_NL, said_NL),
        "micro_precision": sk.precision_score(true_NL, said_NL, average="micro"),
        "micro_recall": sk.recall_score(true_NL, said_NL, average="micro"),
        "hamming_loss": sk.hamming_loss(true_NL, said_NL),
        "map": sk.average_precision_score(true_NL, chances_NL, average="macro"),
    }
    assert (~true_NL & ~said_NL).all(axis=1).any()  # where zero_division decides
    assert {key: found[key]["value"] for key in expected} == pytest.approx(expected)
    assert all(found[key]["low"] < found[key]["value"] < found[key]["high"] for key in OVERALL)
    assert found["cardinality"] == pytest.approx({"true": true_NL.sum() / 300, "predicted": said_NL.sum() / 300})


def test_every_label_equals_scikit_learn() -> None:
    true_NL, chances_NL = simulated(300, 5)
    found = score_label_sets(true_NL, chances_NL, chances_NL > 0.5, names(5))["per_label"]
    rates = sk.precision_recall_fscore_support(true_NL, chances_NL > 0.5)
    for name, values_L in zip(("precision", "recall", "f1"), rates, strict=False):
        assert [each[name]["value"] for each in found] == pytest.approx(list(values_L))
    assert [each["support"] for each in found] == list(rates[3])
    assert [each["predicted"] for each in found] == (chances_NL > 0.5).sum(axis=0).tolist()
    areas = [sk.average_precision_score(true_NL[:, label], chances_NL[:, label]) for label in range(5)]
    assert [each["average_precision"]["value"] for each in found] == pytest.approx(areas)


def test_products_of_counts_equal_resampling_texts() -> None:
    """The fast path multiplies counts; its readable twin draws texts and asks scikit-learn."""
    true_NL, chances_NL = simulated(150, 3)
    said_NL, rng = chances_NL > 0.5, np.random.default_rng(1)
    twin: dict[str, list[float]] = {"micro_f1": [], "samples_f1": [], "hamming_loss": [], "map": []}
    for _ in range(300):
        drawn = rng.integers(0, 150, 150)
        true, said = true_NL[drawn], said_NL[drawn]
        twin["micro_f1"].append(sk.f1_score(true, said, average="micro"))
        twin["samples_f1"].append(sk.f1_score(true, said, average="samples", zero_division=1))
        twin["hamming_loss"].append(sk.hamming_loss(true, said))
        twin["map"].append(sk.average_precision_score(true, chances_NL[drawn]))
    found = score_label_sets(true_NL, chances_NL, said_NL, names(3), resamples=2000)
    for key, values in twin.items():
        ends = np.quantile(values, [0.025, 0.975])
        assert [found[key]["low"], found[key]["high"]] == pytest.approx(ends, abs=0.02), key


def test_intervals_cover_the_truth() -> None:
    """A world of 200,000 texts is the truth; of 200 samples about 95 % of the intervals must hold its figures."""
    true_NL, chances_NL = simulated(200_000, 3)
    world = score_label_sets(true_NL, chances_NL, chances_NL > 0.4, names(3), resamples=1)
    keys = ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "micro_precision", "hamming_loss", "map")
    held = dict.fromkeys((*keys, "average_precision"), 0)
    for draw in range(200):
        rows = slice(draw * 200, draw * 200 + 200)
        found = score_label_sets(
            true_NL[rows], chances_NL[rows], chances_NL[rows] > 0.4, names(3), resamples=300, seed=draw
        )
        for key in held:
            one, truth = (each[key] if key in each else each["per_label"][2][key] for each in (found, world))
            held[key] += one["low"] <= truth["value"] <= one["high"]
    assert all(180 <= times <= 200 for times in held.values()), held


def test_perfect_sets_never_claim_certainty() -> None:
    true_NL = np.eye(3)[np.arange(60) % 3]
    found = score_label_sets(true_NL, true_NL, true_NL, names(3))
    for key in ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "micro_precision", "micro_recall", "map"):
        assert found[key]["value"] == 1 == found[key]["high"], key
        assert 0.8 < found[key]["low"] < 1, key
    assert found["hamming_loss"]["value"] == 0 < found["hamming_loss"]["high"]
    assert found["ece"]["value"] == 0 < found["ece"]["high"]
    assert all(each[key]["low"] < 1 for each in found["per_label"] for key in ("f1", "average_precision"))


def test_a_label_that_never_occurs_counts_nowhere() -> None:
    true_NL, chances_NL = simulated(100, 3)
    true_NL[:, 1] = False
    said_NL = chances_NL > 0.5
    said_NL[:, 1] = False
    found = score_label_sets(true_NL, chances_NL, said_NL, names(3))
    without = score_label_sets(true_NL[:, ::2], chances_NL[:, ::2], said_NL[:, ::2], names(2))
    for key in ("macro_f1", "micro_f1", "map"):
        assert found[key]["value"] == pytest.approx(without[key]["value"]), key
    for key in ("precision", "recall", "f1", "average_precision"):
        assert found["per_label"][1][key] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_empty_sets_on_few_texts(n: int) -> None:
    empty_NL = np.zeros((n, 2))
    found = score_label_sets(empty_NL, empty_NL + 0.1, empty_NL, names(2))
    assert found["samples_f1"]["value"] == found["subset_accuracy"]["value"] == 1
    assert found["micro_f1"]["value"] is found["macro_f1"]["value"] is found["map"]["value"] is None
    assert found["ece"]["value"] == pytest.approx(0.1)
    assert found["ece"]["high"] > 0.5
    json.dumps(found, allow_nan=False)


def test_calibration_error_is_of_decisions() -> None:
    true_NL, chances_NL = simulated(4000, 4)
    honest = score_label_sets(true_NL, chances_NL, true_NL, names(4))["ece"]
    assert honest["value"] < 0.02
    assert honest["low"] < 0.005
    shifted = score_label_sets(true_NL, np.full((4000, 4), 0.9), true_NL, names(4))["ece"]
    assert shifted["value"] == pytest.approx(0.9 - true_NL.mean())


@pytest.mark.parametrize(
    ("true", "chances", "said", "labels"),
    [
        ([[0, 2]], [[0.1, 0.2]], [[0, 1]], "ab"),
        ([[0, 1]], [[0.1, np.nan]], [[0, 1]], "ab"),
        ([[0, 1]], [[-3.0, 2.0]], [[0, 1]], "ab"),
        ([[0, 1]], [[0.1, 0.2]], [[0]], "ab"),
        ([[0, 1]], [[0.1, 0.2]], [[0, 1]], "abc"),
        ([0, 1], [0.1, 0.2], [0, 1], "ab"),
        (np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), "ab"),
    ],
)
def test_wrong_input_is_named(true: object, chances: object, said: object, labels: str) -> None:
    with pytest.raises(ConfigError, match=" — give "):
        score_label_sets(true, chances, said, list(labels))


def test_difference_of_macro_f1_equals_scikit_learn_and_changes_sign() -> None:
    true_NL, chances_NL = simulated(400, 4)
    first_NL, second_NL = chances_NL > 0.4, chances_NL > 0.8
    found = paired_difference_of_macro_f1(true_NL, first_NL, second_NL)
    one, two = (sk.f1_score(true_NL, each, average="macro") for each in (first_NL, second_NL))
    assert found["value"] == pytest.approx(one - two)
    assert 0 < found["low"] < found["value"] < found["high"]
    turned = paired_difference_of_macro_f1(true_NL, second_NL, first_NL)
    assert [-turned[key] for key in ("value", "high", "low")] == pytest.approx(
        [found[key] for key in ("value", "low", "high")], abs=1e-6
    )


@pytest.mark.parametrize(("wins", "clear"), [(0, False), (4, False), (12, True)])
def test_a_few_texts_are_no_clear_difference(wins: int, clear: bool) -> None:
    """As McNemar's exact test: 4 against 0 gives p = 0.125, 12 against 0 gives p = 0.0005."""
    true_NL = np.ones((500, 1))
    second_NL = true_NL.copy()
    second_NL[:wins] = 0
    found = paired_difference_of_macro_f1(true_NL, true_NL, second_NL)
    assert (found["low"] > 0) == clear
    assert found["low"] < found["high"]
