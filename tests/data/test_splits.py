"""The division: stratified, whole groups, from the seed alone, never from test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from filbert.data import splits as splits_module
from filbert.data.splits import Splits, fingerprint
from filbert.errors import DataError
from filbert.records import Example
from filbert.text.same import same_key


def labels(examples: Sequence[Example]) -> list[str]:
    return [str(example.target) for example in examples]


def make_splits(examples: Sequence[Example], seed: int = 0, **parts: Sequence[Example]) -> Splits:
    """Divide by label."""
    return splits_module.make_splits(examples, labels, seed, **parts)


def texts(count, classes="ab"):
    return [Example((f"text {n}",), classes[n % len(classes)]) for n in range(count)]


def test_a_stratified_tenth():
    examples = [Example((f"text {n}",), "rare" if n % 10 == 0 else "usual") for n in range(1000)]
    splits = make_splits(examples, seed=3)
    assert len(splits.train) + len(splits.validation) == 1000
    assert Counter(row.target for row in splits.validation) == {"usual": 90, "rare": 10}
    assert not {row.text for row in splits.train} & {row.text for row in splits.validation}


def test_the_seed_decides_and_nothing_else():
    examples = texts(200)
    assert make_splits(examples, 1) == make_splits(examples, 1)
    assert make_splits(examples, 1).validation != make_splits(examples, 2).validation


def test_at_most_a_thousand():
    assert len(make_splits(texts(30_000), 0).validation) == 1000


def test_each_class_on_both_sides():
    splits = make_splits(texts(40, "abcdefghij"), 0)
    assert {row.target for row in splits.validation} == {row.target for row in splits.train} == set("abcdefghij")
    splits = make_splits(
        [Example(("one",), "a"), Example(("two",), "a"), Example(("three",), "b"), Example(("four",), "b")], 0
    )
    assert Counter(row.target for row in splits.train) == {"a": 1, "b": 1}


def test_a_validation_part_that_rare_classes_make_large_is_said():
    examples = [Example((f"text {n}",), f"class {n // 2}") for n in range(60)]
    splits = make_splits(examples)
    assert len(splits.validation) == 30
    (line,) = [line for line in splits.found if "--rare-labels" in line]
    assert "validation takes 50% of the texts, as each of 30 classes has a text there" in line
    assert not any("--rare-labels" in line for line in make_splits(texts(40, "abc")).found)


@pytest.mark.parametrize("seed", range(10))
def test_identical_texts_stay_together(seed):
    examples = [Example((f"text {n % 30}",), "ab"[n % 2]) for n in range(200)]
    splits = make_splits(examples, seed)
    assert splits.validation
    assert not {row.text for row in splits.train} & {row.text for row in splits.validation}
    assert {row.target for row in splits.train} == {"a", "b"}


def test_given_parts_are_used_as_they_are():
    splits = make_splits(texts(10), 0, validation=texts(2), test=texts(3))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (10, 2, 3)
    assert any("3 texts of test stand in train" in line for line in splits.found)
    assert make_splits(texts(10), 0, test=texts(4)).test == texts(4)


@pytest.mark.parametrize(
    "twin", ["TÉ TEXT {}", "té text {}\u200b", "\u00a0té\ttext  {}\r\n", "te\u0301 text {}", "te text {}"]
)
def test_D12_texts_that_a_model_reads_alike_stay_together(twin):
    examples = [Example((each.format(n),), "ab"[n % 2]) for n in range(60) for each in ("té text {}", twin)]
    splits = make_splits(examples, 0)
    numbers = [{re.sub(r"\D", "", row.text) for row in part} for part in (splits.train, splits.validation)]
    assert len(numbers[1]) == 6
    assert not numbers[0] & numbers[1]


def test_D12_given_parts_are_counted_without_what_a_model_has_read():
    train = [*texts(10), Example(("TEXT  0",), "a")]
    splits = make_splits(
        train, 0, validation=[Example(("new",), "a")], test=[*texts(2), Example(("Text 3\u200b",), "b")]
    )
    assert splits.repeated == {"test": [0, 1, 2]}
    but_for = "but for case, accents, blanks or characters that show nothing"
    assert f"warning: 1 text of train repeats another one {but_for}" in splits.found
    assert "warning: 2 texts of test stand in train too" in splits.found
    assert f"warning: 1 text of test stands in train {but_for}" in splits.found


def test_rare_classes_have_some_texts_in_validation():
    examples = [Example((f"text {n}",), "rare" if n < 15 else "usual") for n in range(300)]
    assert Counter(row.target for row in make_splits(examples, 1).validation) == {"usual": 28, "rare": 3}
    examples = [Example((f"text {n}",), "rare" if n < 40 else "usual") for n in range(300)]
    assert Counter(row.target for row in make_splits(examples, 1).validation) == {"usual": 26, "rare": 5}
    assert len(make_splits(texts(60), 1).validation) == 6  # even classes are divided as they were


def test_duplicates_and_contradictions_are_counted():
    found = make_splits([*texts(10), Example(("text 0",), "a"), Example(("text 1",), "a")], 0).found
    assert "warning: 2 texts of train repeat another one word for word" in found
    assert "warning: 1 text of train stands there with different targets" in found


def test_fingerprint_sees_every_change():
    first = make_splits(texts(20), 0).fingerprint
    assert first == make_splits(texts(20), 0).fingerprint
    changed = [*texts(19), Example(("text 19",), "a")]
    assert len({first, make_splits(changed, 0).fingerprint, make_splits(texts(20)[::-1], 0).fingerprint}) == 3
    assert len(first) == 64


def test_the_fingerprint_sees_the_second_text_and_where_a_part_ends():
    one, two = Example(("a", "b"), "x"), Example(("a", "c"), "x")
    assert fingerprint([one]) != fingerprint([two])
    assert fingerprint([one, two], []) != fingerprint([one], [two])


def test_repeated_texts_only():
    examples = [Example((f"{label} {n % 3}",), label) for label in "ab" for n in range(30)]
    assert Counter(row.target for row in make_splits(examples, 0).validation) == {"a": 10, "b": 10}
    with pytest.raises(DataError, match="one text repeated"):
        make_splits([Example((label,), label) for label in "ab" for _ in range(10)], 0)


def test_pairs_are_the_same_only_where_both_texts_are():
    pairs = [Example(("one premise", f"hypothesis {n % 20}"), "ab"[n % 2]) for n in range(60)]
    splits = make_splits(pairs, 0)
    assert len(splits.validation) == 6
    assert not {row.inputs for row in splits.train} & {row.inputs for row in splits.validation}
    assert "warning: 40 texts of train repeat another one word for word" in splits.found[1]
    assert set(splits.held_out) == {text for row in splits.validation for text in row.inputs}


def test_what_is_kept_in_proportion_is_handed_in():
    """Any hashable key will do: here a range of numbers."""
    examples = [Example((f"text {n}",), float(n)) for n in range(100)]
    splits = splits_module.make_splits(examples, lambda rows: [int(row.target // 50) for row in rows], 1)
    assert Counter(row.target >= 50 for row in splits.validation) == {True: 5, False: 5}


def test_rows_on_one_text_stay_on_one_side_however_it_is_written():
    ends = ("", " ", "\r\n")
    rows = [Example((f"question {n}?", f"The text number {n // 3}.{ends[n % 3]}"), "a") for n in range(180)]
    splits = splits_module.make_splits(rows, labels, whole=lambda example: same_key(example.inputs[-1:]))
    sides = [{example.inputs[-1].strip() for example in part} for part in (splits.train, splits.validation)]
    assert sides[0].isdisjoint(sides[1])
    assert not any("stand in train and validation" in line for line in splits.found)


def test_rows_on_one_text_alone_are_divided_with_a_warning():
    rows = [Example((f"question {n}?", "The only text."), "a") for n in range(40)]
    splits = splits_module.make_splits(rows, labels, whole=lambda example: same_key(example.inputs[-1:]))
    assert len(splits.validation) == 4
    assert any(line.startswith("warning: rows on the same text stand in train and validation") for line in splits.found)
