"""Groups: kept on one side, linked by any key, dealt whole into folds."""

from __future__ import annotations

from collections import Counter

import pytest

from filbert.data.groups import folds, likely_groups, linked, on_both_sides
from filbert.data.splits import make_splits
from filbert.errors import DataError
from filbert.records import Example


def rows(count, each=5):
    return [
        Example((f"text {n}",), "ab"[n % 2], columns={"patient": f"p{n // each}", "text": f"text {n}"})
        for n in range(count)
    ]


def labels(examples):
    return [example.target for example in examples]


def test_a_group_stays_on_one_side():
    splits = make_splits(rows(400), labels, 0, group="patient")
    sides = [{row.columns["patient"] for row in part} for part in (splits.train, splits.validation)]
    assert not sides[0] & sides[1]
    assert 30 <= len(splits.validation) <= 50
    assert "'patient' on one side" in splits.found[0]
    assert make_splits(rows(400), labels, 0).validation != splits.validation


def test_one_text_of_two_patients_links_them():
    examples = [*rows(400), Example(("text 1",), "b", columns={"patient": "p79"})]
    splits = make_splits(examples, labels, 3, group="patient")
    for part in (splits.train, splits.validation):
        found = {row.columns["patient"] for row in part}
        assert ("p0" in found) == ("p79" in found)


def test_rows_without_a_value_are_groups_of_their_own():
    examples = [Example((f"text {n}",), "ab"[n % 2], columns={"patient": "p" if n < 60 else ""}) for n in range(200)]
    splits = make_splits(examples, labels, 0, group="patient")
    assert len(splits.validation) == 20


def test_two_groups_cannot_be_divided_silently():
    examples = [Example((f"text {n}",), "ab"[n % 2], columns={"patient": "pq"[n % 2]}) for n in range(200)]
    with pytest.raises(DataError, match="--group — has no texts that can be kept for validation"):
        make_splits(examples, labels, 0, group="patient")


def test_folds_are_even_whole_and_in_proportion():
    examples = [Example((f"text {n // 2}",), "rare" if n % 10 < 2 else "usual") for n in range(1000)]
    groups = linked(examples, [lambda example: example.text])
    dealt = folds(groups, labels(examples), 5, seed=1)
    assert set(Counter(dealt).values()) == {200}
    assert all(dealt[n] == dealt[n + 1] for n in range(0, 1000, 2))
    assert set(Counter(fold for fold, each in zip(dealt, examples, strict=True) if each.target == "rare").values()) == {
        40
    }
    assert dealt == folds(groups, labels(examples), 5, seed=1) != folds(groups, labels(examples), 5, seed=2)


def test_columns_that_look_like_groups():
    examples = rows(40)
    assert likely_groups(examples, ["text"]) == ["patient"]
    assert likely_groups(rows(40, each=1), ["text"]) == []  # each has its own: nothing to keep together
    assert on_both_sides({"train": examples[:22], "test": examples[22:]}, "patient") == {
        "test": [(at, "p4") for at in range(3)]
    }
