"""Cells and Python values as answers, and where in its text an answer stands."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from filbert.errors import Refusal
from filbert.tasks.question_answering.settings import Answer, answers_in, located, target_of


def test_targets_of_python_values() -> None:
    assert target_of("Navy") == (Answer("Navy"),)
    assert target_of(("Navy", 4)) == (Answer("Navy", 4),)
    assert target_of({"text": [], "answer_start": []}) == target_of(float("nan")) == target_of("") == ()
    assert answers_in("[3]") == (Answer("[3]"),)
    assert answers_in("{x") == (Answer("{x"),)
    for wrong in ("four", "4.5", "inf", True):
        with pytest.raises(Refusal, match="no whole number"):
            target_of({"text": "Navy", "answer_start": wrong})
    with pytest.raises(Refusal, match="no answer"):
        target_of(7)


@pytest.mark.parametrize(
    "value",
    [
        ("Navy", np.int64(4)),
        ("Navy", 4.0),
        {"text": "Navy", "answer_start": "4.0"},
        {"text": "Navy", "answer_start": np.float64(4)},
        {"text": np.array(["Navy"], dtype=object), "answer_start": np.array([4])},  # pandas of load_dataset("squad")
        {"text": ["Navy", " "], "answer_start": [4, 0]},
        np.array([{"text": "Navy", "answer_start": 4}]),
    ],
)
def test_targets_of_numpy_and_pandas(value: object) -> None:
    assert target_of(value) == (Answer("Navy", 4),)


def test_targets_of_arrays_and_gaps() -> None:
    assert target_of(np.array(["Navy", "the Navy"])) == (Answer("Navy"), Answer("the Navy"))
    assert target_of({"text": np.array([]), "answer_start": np.array([])}) == target_of(np.array([])) == ()
    assert target_of({"text": [""], "answer_start": [0]}) == target_of(("", 0)) == ()
    assert target_of({"text": "Navy", "answer_start": float("nan")}) == (Answer("Navy"),)


@pytest.mark.parametrize("deep", ["[" * 100_000 + "]" * 100_000, "[" * 5_000 + '"a"' + "]" * 5_000])
def test_a_cell_nested_too_deeply_is_refused(deep: str) -> None:
    with pytest.raises(Refusal, match="nested too deeply"):
        answers_in(deep)


@pytest.mark.parametrize(
    ("answer", "context", "start", "inside"),
    [
        ("art", "The party saw art.", 14, 0),
        ("art", "The party saw Art.", 14, 0),
        ("art", "The party.", 5, 1),
        ("5", "15 of 5", 6, 0),
        ("(a)", "x(a)y", 1, 0),
        ("Navy", "他在Navy服役", 2, 0),
        ("海军", "中国海军Navy", 2, 0),
    ],
)
def test_answers_without_a_start_are_whole_words_first(answer: str, context: str, start: int, inside: int) -> None:
    notes = Counter[str]()
    assert located(Answer(answer), context, notes).start == start
    assert sum(count for note, count in notes.items() if "inside of a word" in note) == inside
    assert located(Answer("art", 5), "The party saw art.", Counter()).start == 5  # as it was said


def test_blanks_and_case_may_differ_and_no_more() -> None:
    assert located(Answer(" the  navy "), "The\nNavy", Counter()) == Answer("The\nNavy", 0)
    assert located(Answer(" Navy ", 3), "The Navy won", Counter()) == Answer("Navy", 4)
    assert located(Answer("a.b"), "axb a.b", Counter()) == Answer("a.b", 4)
    with pytest.raises(Refusal, match="does not stand in its text"):
        located(Answer("Army"), "The Navy", Counter())
    with pytest.raises(Refusal, match="does not stand"):
        located(Answer(" ", 0), "The Navy", Counter())
