"""Whether cells name several labels: separators are found where labels recur, and asked about where few cells do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from filbert.tasks.label_lists import SEPARATORS, Lists, commonest, look_at_lists

SETS = [("a", "b"), ("b",), ("a",), ("b", "c"), ("c",), ("a", "b", "c")]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_every_separator_is_found(separator):
    found = look_at_lists([separator.join(each) for each in SETS] * 3)
    assert found is not None
    assert (found.separator, found.sure) == (separator, True)
    assert found.split(separator.join(("a", "b"))) == ["a", "b"]
    assert found.why.startswith(f"9 of 18 cells hold '{separator}' between labels that recur, such as")


@pytest.mark.parametrize("separator", ["| ", " ; ", ", "])
def test_blanks_around_a_separator_are_no_part_of_a_label(separator):
    found = look_at_lists([separator.join(each) for each in SETS])
    assert found is not None
    assert [label for cell in SETS for label in found.split(separator.join(cell))] == [x for each in SETS for x in each]


def test_arrays_are_found():
    found = look_at_lists([json.dumps(each) for each in [*SETS, ()]])
    assert found is not None
    assert (found.separator, found.sure) == ("json", True)
    assert found.split('["b", "a", "b"]') == ["b", "a"]
    assert found.split("[]") == []
    assert found.split("a|b") == ["a|b"]


def test_arrays_of_one_label_each_are_no_lists():
    assert look_at_lists(['["a"]', '["b"]']) is None


@pytest.mark.parametrize("cell", ['["a", ["b"]]', "[null]", '["a"', '[{"name": "a"}]'])
def test_a_broken_array_is_refused_not_guessed_at(cell):
    with pytest.raises(ValueError, match=r"list of labels|Expecting"):
        Lists("json", True, "").split(cell)


@pytest.mark.parametrize(
    "cells",
    [
        ["Furniture, indoor", "Food", "Toys", "Food"],  # the name of one class
        ["Furniture, indoor", "Books, used", "Food", "Furniture, indoor"],
        ["good", "bad"],
        ["3,5", "2,0", "4,5"],
        ["", " "],
        [],
        ["this is a sentence, which goes on and on for more than sixty characters, b", "b"],
    ],
    ids=["comma in a name", "commas in names", "no separator", "decimal commas", "blank", "none", "sentences"],
)
def test_what_only_looks_like_lists(cells):
    found = look_at_lists(cells)
    assert found is None or not found.sure


def test_under_a_tenth_of_combined_cells_is_for_a_person_to_decide():
    rare = ["a"] * 60 + ["b"] * 35 + ["a,b"] * 5
    found = look_at_lists(rare)
    assert found is not None
    assert not found.sure
    assert found.why.startswith("5 of 100 cells hold ',' between labels that recur, such as 'a,b'")
    often = look_at_lists(["a"] * 60 + ["b"] * 30 + ["a,b"] * 10)
    assert often is not None
    assert often.sure


def test_the_separator_of_most_cells_is_taken():
    found = look_at_lists(["a|b", "b|c", "a|c", "c|a", "a", "b", "c", "x;a", "x"])
    assert found is not None
    assert found.separator == "|"


def test_empty_parts_and_repeated_ones_are_dropped():
    assert Lists(";", True, "").split("a;; b ;a;") == ["a", "b"]
    assert Lists("、", True, "").split("") == []


def test_many_cells_are_looked_at_in_little_time():
    random = np.random.default_rng(0)
    words = [f"label {n}" for n in range(500)]
    cells = [",".join(random.choice(words, random.integers(1, 5))) for _ in range(20_000)]
    found = look_at_lists(cells)
    assert found is not None
    assert found.sure


def test_lists_that_never_recur_are_cut_where_several_labels_are_asked_for() -> None:
    cells = ["a|b", "c|d", "e"]
    assert look_at_lists(cells) is None
    assert [commonest(cells).split(cell) for cell in cells] == [["a", "b"], ["c", "d"], ["e"]]
