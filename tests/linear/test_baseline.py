"""The baseline on real data, and the parts of the report that are computed from predictions."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from filbert.errors import ConfigError, Place
from filbert.finetuning.facts import length_profile, mistakes
from filbert.linear import baseline as evaluate
from filbert.linear.baseline import baseline
from filbert.records import Example
from filbert.report.summary import summary_lines, summary_rows
from filbert.text.chinese import han_share

DATA = Path(os.environ.get("FILBERT_DATA", Path(__file__).parents[2] / "shared" / "data"))


def lines_of(path: str, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a real data file, or skip the test."""
    if not (DATA / path).exists():
        pytest.skip(f"{path} is not in {DATA} (set FILBERT_DATA)")
    return (DATA / path).read_text(encoding).splitlines()


def accuracy(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> float:
    """Return the baseline's accuracy on (label, text) pairs."""
    labels = sorted({label for label, _ in train})
    found = baseline([text for _, text in train], [y for y, _ in train], {"test": [t for _, t in test]}, labels)
    said_N = found.probabilities["test"].argmax(axis=1)
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


def test_baseline_columns_follow_the_labels_and_skip_absent_ones() -> None:
    found = baseline(["good", "bad"] * 5, ["pos", "neg"] * 5, {"a": ["bad", "good"], "b": []}, ["unseen", "neg", "pos"])
    assert found.probabilities["a"].argmax(axis=1).tolist() == [1, 2]
    assert found.probabilities["a"][:, 0].tolist() == [0, 0]
    assert found.probabilities["a"].sum(axis=1) == pytest.approx(1)
    assert found.probabilities["b"].shape == (0, 3)
    assert found.note == ""


def test_baseline_without_a_single_word_answers_with_the_shares() -> None:
    found = baseline(["…", "", "—", "…"], ["a", "a", "a", "b"], {"test": ["…"]}, ["a", "b"])
    assert found.probabilities["test"][0] == pytest.approx([0.75, 0.25], abs=0.01)
    one = baseline(["x", "y"], ["a", "a"], {"test": ["z"]}, ["a", "b"])
    assert one.probabilities["test"].tolist() == [[1, 0]]


def test_baseline_refuses_an_unknown_label() -> None:
    with pytest.raises(ConfigError, match="'c' is not among"):
        baseline(["x"], ["c"], {}, ["a", "b"])


def test_baseline_says_when_it_took_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MOST_TEXTS", 6)
    found = baseline(["good", "bad"] * 10, ["pos", "neg"] * 10, {"test": ["good"]}, ["neg", "pos"])
    assert found.note == "trained on a random 6 of the 20 training texts"


def test_han_share_tells_the_languages_apart() -> None:
    assert han_share(["这部电影很好看，iPhone 也好"]) > 0.5
    assert han_share(["An English review", "café déjà vu"]) == 0
    assert han_share(["!!!", ""]) == 0


def test_mistakes_come_most_confident_first_with_their_place() -> None:
    examples = [Example(f"t{i}", "a", Place("f.csv", i + 2)) for i in range(3)] + [Example("x" * 9000, "a")]
    chances = [[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7]]
    found = mistakes(examples, [0, 0, 0, 0], chances, ["a", "b"], limit=2)
    assert [(each["place"], each["probability"]) for each in found] == [("f.csv:4", 0.9), ("memory", 0.7)]
    assert len(found[1]["text"]) == evaluate.MISTAKE_CHARACTERS


@pytest.mark.parametrize("max_length", [16, 50, 128, 512])
def test_length_profile_parts_cut_from_whole(max_length: int) -> None:
    lengths = np.random.default_rng(0).geometric(0.01, 2000).tolist()
    found = length_profile(lengths, max_length)
    edges, counts = found["edges"], found["counts"]
    assert sum(counts) == 2000
    assert edges == sorted(set(edges))
    assert max_length in edges
    cut = sum(count for edge, count in zip(edges, counts, strict=False) if edge >= max_length)
    assert cut == sum(length > max_length for length in lengths)


def test_length_profile_of_short_texts_and_of_none() -> None:
    found = length_profile([3, 4, 4, 30], 512)
    assert found["edges"][-1] == 30
    assert Counter(found["counts"])[0] == len(found["counts"]) - 2
    assert length_profile([], 512)["counts"] == [0]


def test_summary_sets_the_baseline_beside() -> None:
    def at(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    report = {
        "scores": {"validation": {"n": 1200, "accuracy": at(0.9), "mcc": at(0.8)}},
        "baseline": {
            "validation": {"n": 1200, "accuracy": at(0.88), "mcc": at(0.76)},
            "difference": {"validation": {"value": 0.02, "low": -0.001, "high": 0.041}},
        },
    }
    assert summary_rows(report)[1] == ("accuracy", "90.0 % (89.0–91.0)", "88.0 % (87.0–89.0)")
    assert summary_lines(report) == [
        "validation, 1,200 texts  model                baseline",
        "accuracy                 90.0 % (89.0–91.0)   88.0 % (87.0–89.0)",
        "MCC                      0.800 (0.790–0.810)  0.760 (0.750–0.770)",
        "no clear difference to the linear baseline: accuracy +2.0 points (−0.1 to +4.1)",
    ]
