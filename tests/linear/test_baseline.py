"""The baseline on real data, and what it reads and answers: classes, sets of labels, numbers, of texts and of pairs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from filbert.errors import ConfigError
from filbert.linear import baseline
from filbert.linear.baseline import fit_texts
from filbert.metrics.calibration import softmax
from filbert.records import Example

DATA = Path(os.environ.get("FILBERT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def lines_of(path: str, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a real data file, or skip the test."""
    if not (DATA / path).exists():
        pytest.skip(f"{path} is not in {DATA} (set FILBERT_DATA)")
    return (DATA / path).read_text(encoding).splitlines()


def examples(*texts: str) -> list[Example]:
    return [Example((text,)) for text in texts]


def accuracy(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> float:
    """Return the baseline's accuracy on (label, text) pairs."""
    labels = sorted({label for label, _ in train})
    number = {label: i for i, label in enumerate(labels)}
    true_N = [number[label] for label, _ in train]
    asked = {"test": examples(*(text for _, text in test))}
    found = fit_texts(examples(*(text for _, text in train)), true_N, asked, len(labels))
    said_N = found.outputs["test"].argmax(axis=1)
    return float(np.mean([labels[said] == label for said, (label, _) in zip(said_N, test, strict=True)]))


def test_baseline_on_trec() -> None:
    train, test = (
        [(line[0], line[2:]) for line in lines_of(f"trec6/TREC.{split}.all", "latin-1")] for split in ("train", "test")
    )
    assert accuracy(train, test) >= 0.90


def test_baseline_on_sst2() -> None:
    train, test = (
        [(label, text) for text, label in (line.rsplit("\t", 1) for line in lines_of(f"sst2/{split}.tsv"))]
        for split in ("train", "test")
    )
    assert accuracy(train, test) >= 0.80


def test_baseline_reads_chinese_by_characters() -> None:
    train, test = (
        [(line[0], line[2:]) for line in lines_of(f"chnsenticorp/{split}.tsv")[1:]] for split in ("train", "test")
    )
    assert accuracy(train[:2500], test) >= 0.86


# -- one label a text -------------------------------------------------------------------------------------------------


def test_columns_follow_the_numbers_and_absent_classes_are_never_said() -> None:
    asked = {"a": examples("bad", "good"), "b": []}
    found = fit_texts(examples("good", "bad") * 5, [2, 1] * 5, asked, 3)
    assert found.outputs["a"].argmax(axis=1).tolist() == [1, 2]
    assert found.outputs["a"][:, 0].tolist() == [-np.inf, -np.inf]
    assert found.outputs["b"].shape == (0, 3)
    assert found.note == ""
    assert found.name == "TF-IDF (words and pairs) + logistic regression"


def test_without_a_single_word_it_answers_with_the_shares() -> None:
    found = fit_texts(examples("…", "", "—", "…"), [0, 0, 0, 1], {"test": examples("…")}, 2)
    assert softmax(found.outputs["test"])[0] == pytest.approx([0.75, 0.25], abs=0.01)
    one = fit_texts(examples("x", "y"), [0, 0], {"test": examples("z")}, 2)
    assert softmax(one.outputs["test"]).tolist() == [[1, 0]]


@pytest.mark.parametrize("true_N", [[0], [0, 1, 0], []])
def test_texts_and_targets_that_differ_in_number_are_refused(true_N: list[int]) -> None:
    with pytest.raises(ConfigError, match="texts and targets differ in number"):
        fit_texts(examples("x", "y"), true_N, {}, 2)
    with pytest.raises(ConfigError, match="or there are none"):
        fit_texts([], [], {}, 2)


def test_it_says_when_it_took_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MAX_TEXTS", 6)
    found = fit_texts(examples("good", "bad") * 10, [1, 0] * 10, {"test": examples("good")}, 2)
    assert found.note == "trained on a random 6 of the 20 training texts"


# -- sets of labels, numbers ------------------------------------------------------------------------------------------


def test_label_sets_have_a_probability_each() -> None:
    train = examples("good", "long", "good and long", "neither of them") * 10
    true_NL = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 10, dtype=bool)
    found = fit_texts(train, true_NL, {"test": examples("long and good", "good", "zebra")}, 2)
    assert (found.outputs["test"] >= 0).tolist() == [[True, True], [True, False], [False, False]]
    assert found.name.endswith("one logistic regression a label")


def test_a_label_that_every_text_has_or_none_stays_a_number() -> None:
    true_NL = np.array([[1, 0, 1], [1, 0, 0]] * 5, dtype=bool)
    found = fit_texts(examples("good", "bad") * 5, true_NL, {"test": examples("good")}, 3).outputs["test"]
    assert (found[0] >= 0).tolist() == [True, False, True]
    assert found[0, :2].tolist() == [30, -30]


def test_numbers_come_in_their_unit() -> None:
    found = fit_texts(examples("cheap", "dear") * 20, np.array([1000.0, 9000.0] * 20), {"test": examples("dear")}, 1)
    assert found.outputs["test"].shape == (1, 1)
    assert 8500 < found.outputs["test"][0, 0] < 9500
    assert found.name.endswith("ridge regression")


# -- two texts --------------------------------------------------------------------------------------------------------


def test_of_pairs_it_sees_whether_the_two_are_alike() -> None:
    """No word tells the class, only that both texts have the same ones."""
    random = np.random.default_rng(0)
    words = [f"word{n}" for n in range(200)]
    first = [" ".join(random.choice(words, 6)) for _ in range(400)]
    second = [text if n % 2 else " ".join(random.choice(words, 6)) for n, text in enumerate(first)]
    pairs = [Example(each) for each in zip(first, second, strict=True)]
    found = fit_texts(pairs[:300], [0, 1] * 150, {"test": pairs[300:]}, 2).outputs["test"]
    assert (found.argmax(axis=1) == [0, 1] * 50).mean() >= 0.95


def test_which_text_a_word_stands_in_matters() -> None:
    pairs = [Example(("good", "bad")), Example(("bad", "good"))]
    found = fit_texts(pairs * 20, [0, 1] * 20, {"test": pairs}, 2).outputs["test"]
    assert found.argmax(axis=1).tolist() == [0, 1]
