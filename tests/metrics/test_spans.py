"""EM and F1 by the rules of SQuAD and of CMRC: the official scripts' own cases, and what their users trip over."""

from __future__ import annotations

import pytest
from nltk.tokenize import NLTKWordTokenizer

from filbert.errors import ConfigError
from filbert.metrics.spans import CMRC_MARKS, best_of, characters, exact, is_chinese, measured, overlap, score_spans

ENGLISH = [  # found, right, EM, F1 as SQuAD's evaluate-v2.0.py gives them
    ("The Eiffel Tower.", "eiffel tower", 1, 1),
    ("U.S.A.", "usa", 1, 1),
    ("a theatre", "the theatre", 1, 1),
    ("and", "an", 0, 0),  # "an" is an article, "and" is none
    ("in Paris, France", "Paris", 0, 0.5),
    ("Paris Paris", "Paris", 0, 2 / 3),  # a bag, not a set
    ("", "", 1, 1),
    ("", "Paris", 0, 0),
    ("Paris", "", 0, 0),
    ("the", "", 1, 1),  # as the script has it: nothing is left of "the"
    ("the", "an", 1, 1),  # nothing is left of either
    ("the", "Paris", 0, 0),
]
CHINESE = [  # … and CMRC's cmrc2018_evaluate.py
    ("《战国无双3》", "战国无双3", 1, 1),
    ("光荣和ω-force", "光荣和ω－force", 1, 1),
    ("武田信玄等人", "武田信玄", 0, 0.8),
    ("信玄武田", "武田信玄", 0, 0.5),  # the longest run both share, not the bag
    ("2005年", "2005 年", 0, 1),
    ("，。", "武田", 0, 0),
    ("约3.5米", "3.5", 0, 0.5),  # a number is one word
    ("1,000人", "1,000", 0, 2 / 3),
    ("U.S.A", "u.s.a", 1, 1),
    ("武田…", "武田", 0, 0.8),  # the script's mark is "……", which no single character is
]


def segmented(answer: str) -> list[str]:
    """Return the segments as CMRC's script makes them, character by character, its punctuation left out."""
    found, run = [], ""
    for mark in answer.lower().strip():
        if mark in CMRC_MARKS:
            continue
        if "\u4e00" <= mark <= "\u9fa5":
            found += [*NLTKWordTokenizer().tokenize(run), mark]
            run = ""
        else:
            run += mark
    return found + NLTKWordTokenizer().tokenize(run)


@pytest.mark.parametrize(
    "answer",
    ["光荣和ω-force。", "约3.5%的人 (1,000)", " U.S.A.：don't 说'是' ", "2005 年", "a 武 b-c 3田 12", "…", "，", ""],
)
def test_chinese_answers_are_cut_as_cmrcs_script_does(answer: str) -> None:
    assert characters(answer) == segmented(answer)


def test_names_in_the_other_script_do_not_change_whose_rules_hold() -> None:
    assert not is_chinese("What does 北京 mean?", "It is the name of a city.")
    assert not is_chinese("What does 北京大学 mean?")
    assert is_chinese("Harry Potter的作者是谁？", "《Harry Potter》的作者是英国作家罗琳，第一本于1997年出版。")
    assert not is_chinese("", "3 + 4")


def test_right_answers_of_which_nothing_counts_are_left_out() -> None:
    assert best_of(exact, "", ["the", "cat"], chinese=False) == 0
    assert best_of(exact, "", ["the", "%"], chinese=False) == 1
    assert best_of(overlap, "cat", ["%", "cat"], chinese=False) == 1


@pytest.mark.parametrize(("found", "right", "em", "f1"), ENGLISH)
def test_english_is_measured_as_squad_does(found: str, right: str, em: float, f1: float) -> None:
    assert exact(found, right, chinese=False) == em
    assert overlap(found, right, chinese=False) == pytest.approx(f1)


@pytest.mark.parametrize(("found", "right", "em", "f1"), CHINESE)
def test_chinese_is_measured_as_cmrc_does(found: str, right: str, em: float, f1: float) -> None:
    assert exact(found, right, chinese=True) == em
    assert overlap(found, right, chinese=True) == pytest.approx(f1)


def test_the_nearest_of_several_right_answers_counts() -> None:
    assert best_of(overlap, "in 1921", ["the spring", "1921"], chinese=False) == pytest.approx(2 / 3)
    assert best_of(exact, "Navy", [], chinese=False) == 0


def test_questions_without_an_answer_are_counted_apart() -> None:
    found = score_spans(["Navy", "", "fleet", "x"], [["Navy"], [], [], ["y"]], [False] * 4)
    assert (found["answerable"], found["unanswerable"]) == (2, 2)
    assert found["em_answerable"]["value"] == found["em_unanswerable"]["value"] == 0.5
    assert found["f1"]["value"] == 0.5
    assert "em_answerable" not in score_spans(["Navy"], [["Navy"]], [False])


def test_an_interval_holds_the_value_and_n_of_n_right_is_no_certainty() -> None:
    found = score_spans(["a b"] * 20, [["a b"]] * 20, [False] * 20)["f1"]
    assert found["value"] == found["high"] == 1
    assert found["low"] < 0.9


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="one length"):
        measured(["a"], [["a"], ["b"]], [False])
