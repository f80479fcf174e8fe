"""Shortcuts: found where they are, silent where there are none."""

from __future__ import annotations

import random

import pytest

from filbert.data.doctor import quick
from filbert.data.shortcuts import shortcuts
from filbert.records import Example

WORDS = (
    "the",
    "room",
    "was",
    "clean",
    "and",
    "we",
    "had",
    "nice",
    "walk",
    "to",
    "sea",
    "with",
    "warm",
    "people",
    "who",
)


def texts(count=400, *, lengths=(5, 40), chinese=False, mark=""):
    """Return texts of two classes, one after the other, of random words; `lengths` of the second are `+ 60`."""
    draw = random.Random(5)
    rows = []
    for n in range(count):
        few, many = lengths
        words = draw.choices("房间干净服务热情早餐好酒店位置" if chinese else WORDS, k=draw.randint(few, many))
        text = ("" if chinese else " ").join(words) + (mark if n % 2 else "")
        rows.append(Example((text,), "ab"[n % 2], columns={"id": str(draw.random()), "from": draw.choice("xyz")}))
    return rows


def found(rows, unused=("id", "from")):
    return shortcuts(rows, [(row.target,) for row in rows], unused)


@pytest.mark.parametrize("chinese", [False, True])
def test_nothing_where_there_is_nothing(chinese):
    assert found(texts(chinese=chinese)) == []


@pytest.mark.parametrize(("chinese", "unit"), [(False, "words"), (True, "characters")])
def test_a_length_that_says_the_class(chinese, unit):
    rows = texts(chinese=chinese)
    longer = [Example((row.text + (" " * (not chinese)).join([""] + ["好"] * 45),), "b") for row in rows[1::2]]
    findings = found([*rows[::2], *longer], ())
    assert {finding.check for finding in findings} <= {"length", "word"}
    (over,) = [finding for finding in findings if f"{unit} are 100.0 % 'b'" in finding.said]
    assert over.said.startswith("texts of over 40")
    assert over.places


@pytest.mark.parametrize(("chinese", "mark"), [(False, " REF42"), (True, "编号")])
def test_a_word_that_says_the_class(chinese, mark):
    (finding,) = found(texts(chinese=chinese, mark=mark))
    assert finding.said == f"'{mark.strip().lower()}' stands in 200 of the 200 texts of 'b' and in 0 of the other 200"


def test_a_column_that_orders_the_classes():
    rows = texts()
    ordered = [
        Example(row.inputs, "ab"[n > 199], columns={"id": str(n), "from": "xy"[n > 199]}) for n, row in enumerate(rows)
    ]
    said = [finding.said for finding in found(ordered)]
    assert said == [
        "sorted by column 'id', 'a' and the other texts change 1 times, by chance 200",
        "column 'from' alone says the class of 400 of 400 texts",
    ]


def test_a_class_that_nearly_all_have_is_no_news():
    rows = [Example(row.inputs, "a" if n % 10 else "b") for n, row in enumerate(texts())]
    assert found(rows, ()) == []


def test_texts_of_another_language_are_listed():
    rows = texts()
    rows[7] = Example(("Das Zimmer war sauber und die Leute nicht unfreundlich.",), "b")
    rows[9] = Example(("Комната была чистая.",), "b")
    (finding,) = quick({"train": rows}, [(row.target,) for row in rows], [], None)
    assert (finding.check, finding.count, finding.level) == ("languages", 2, "note")
