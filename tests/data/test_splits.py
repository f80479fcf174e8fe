"""The division: stratified, whole groups, from the seed alone, never from test."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from filbert.data.splits import load_splits, make_splits
from filbert.errors import ConfigError, DataError
from filbert.readers.sources import ReadOptions
from filbert.records import Example
from filbert.tasks.labels import sort_labels
from filbert.text.visible import visible


def texts(count, classes="ab"):
    return [Example(f"text {n}", classes[n % len(classes)]) for n in range(count)]


def test_a_stratified_tenth():
    examples = [Example(f"text {n}", "rare" if n % 10 == 0 else "usual") for n in range(1000)]
    splits = make_splits(examples, seed=3)
    assert len(splits.train) + len(splits.validation) == 1000
    assert Counter(row.label for row in splits.validation) == {"usual": 90, "rare": 10}
    assert not {row.text for row in splits.train} & {row.text for row in splits.validation}


def test_the_seed_decides_and_nothing_else():
    examples = texts(200)
    assert make_splits(examples, 1) == make_splits(examples, 1)
    assert make_splits(examples, 1).validation != make_splits(examples, 2).validation


def test_at_most_a_thousand():
    assert len(make_splits(texts(30_000), 0).validation) == 1000


def test_each_class_on_both_sides():
    splits = make_splits(texts(40, "abcdefghij"), 0)
    assert {row.label for row in splits.validation} == {row.label for row in splits.train} == set("abcdefghij")
    splits = make_splits([Example("one", "a"), Example("two", "a"), Example("three", "b"), Example("four", "b")], 0)
    assert Counter(row.label for row in splits.train) == {"a": 1, "b": 1}


@pytest.mark.parametrize("seed", range(10))
def test_identical_texts_stay_together(seed):
    examples = [Example(f"text {n % 30}", "ab"[n % 2]) for n in range(200)]
    splits = make_splits(examples, seed)
    assert splits.validation
    assert not {row.text for row in splits.train} & {row.text for row in splits.validation}
    assert {row.label for row in splits.train} == {"a", "b"}


def test_given_parts_are_used_as_they_are():
    splits = make_splits(texts(10), 0, validation=texts(2), test=texts(3))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (10, 2, 3)
    assert any("3 texts of test stand in train" in line for line in splits.found)
    assert make_splits(texts(10), 0, test=texts(4)).test == texts(4)


def test_duplicates_and_contradictions_are_counted():
    found = make_splits([*texts(10), Example("text 0", "a"), Example("text 1", "a")], 0).found
    assert "warning: 2 texts of train repeat another one word for word" in found
    assert "warning: 1 texts of train stand there with different labels" in found


def test_fingerprint_sees_every_change():
    first = make_splits(texts(20), 0).fingerprint
    assert first == make_splits(texts(20), 0).fingerprint
    changed = [*texts(19), Example("text 19", "a")]
    assert len({first, make_splits(changed, 0).fingerprint, make_splits(texts(20)[::-1], 0).fingerprint}) == 3
    assert len(first) == 64


def test_files_beside_each_other(tmp_path):
    for name, count in (("a", 10), ("b", 4), ("c", 6)):
        rows = "".join(f"text {name} {n},{n % 2}\n" for n in range(count))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + rows)
    splits = load_splits(tmp_path / "a.csv", validation=tmp_path / "b.csv", test=tmp_path / "c.csv")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (10, 4, 6)
    assert splits.counts == {"read": 20, "accepted": 20, "quarantined": 0}


def test_quarantine_keeps_the_rows(tmp_path):
    good = "".join(f"text {n},{n % 2}\n" for n in range(10))
    (tmp_path / "a.csv").write_text("text,label\n" + good + "one\n,1\n" + "x,\n")
    with pytest.raises(ConfigError, match="rejects"):
        load_splits(tmp_path / "a.csv", ReadOptions(on_bad_rows="quarantine"))
    kept = tmp_path / "a.rejects.jsonl"
    splits = load_splits(tmp_path / "a.csv", ReadOptions(on_bad_rows="quarantine"), rejects=kept)
    assert splits.counts == {"read": 13, "accepted": 10, "quarantined": 3}
    assert [json.loads(line)["row"] for line in kept.read_text().splitlines()] == ["one\n", ",1\n", "x,\n"]


def test_all_errors_are_counted_and_kept(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "good,1\nbad,0\n" + "short\n" * 2000)
    kept = tmp_path / "a.rejects.jsonl"
    with pytest.raises(DataError, match="and 1,980 more") as caught:
        load_splits(tmp_path / "a.csv", rejects=kept)
    assert caught.value.total == 2000
    assert len(kept.read_text().splitlines()) == 2000


def test_labels_are_sorted_by_value_or_code_point():
    assert sort_labels(["10", "9", "-1"]) == ("-1", "9", "10")
    assert sort_labels(["b", "1", "B", "é"]) == ("1", "B", "b", "é")


@pytest.mark.parametrize(
    ("text", "seen"), [("", False), ("\u3164", False), ("\ufeff\u200d", False), ("!", True), ("ا", True)]
)
def test_visible(text, seen):
    assert visible(text) is seen


def test_merging_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"text {n},{'aAb'[n % 3]}\n" for n in range(12)))
    splits = load_splits(tmp_path / "a.csv", ReadOptions(merge_labels={"A": "a", "c": "b"}))
    assert "texts with the label 'A' read as 'a': 4" in splits.found
    assert "warning: --merge-labels 'c=b' met no such label" in splits.found
    assert splits.labels == ("a", "b")


def test_repeated_texts_only():
    examples = [Example(f"{label} {n % 3}", label) for label in "ab" for n in range(30)]
    assert Counter(row.label for row in make_splits(examples, 0).validation) == {"a": 10, "b": 10}
    with pytest.raises(DataError, match="one text repeated"):
        make_splits([Example(label, label) for label in "ab" for _ in range(10)], 0)


def test_a_lone_variant_is_offered_for_merging():
    with pytest.raises(DataError, match='merge it: --merge-labels "A=a"'):
        make_splits([*texts(10), Example("x", "A")], 0)
