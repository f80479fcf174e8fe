"""A question asked of many texts: BM25 finds the passage, in English and Chinese; answers come with their places."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from filbert.errors import Place
from filbert.inference.search import GAP, Index, ask, terms
from filbert.readers.passages import Passage, passages_of
from filbert.tasks import question_answering
from filbert.tasks.question_answering.outputs import AnswerPrediction
from filbert.tasks.question_answering.settings import Settings
from filbert.text.tokenizer import SPECIALS, Tokenizer

ENGLISH = ["We store cookies for a year.", "Write to our office in Rome.", "Children may not sign up."]
CHINESE = ["本公司在北京市设有办公室。", "我们保存您的数据一年。", "儿童不得注册。"]


def passages(texts: list[str]) -> list[Passage]:
    return [Passage(text, Place(f"{n}.txt", n + 5)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "question", "number"),
    [
        (ENGLISH, "Is a cookie stored?", 0),
        (ENGLISH, "Where is the office?", 1),
        (CHINESE, "办公室在哪里？", 0),
        (CHINESE, "数据保存多久？", 1),
        (ENGLISH, "儿童？", 0),  # nothing in common: the first
    ],
)
def test_the_nearest_passage_comes_first(texts: list[str], question: str, number: int) -> None:
    assert Index(passages(texts)).best(question, 1)[0].text == texts[number]


def test_more_passages_than_there_are() -> None:
    assert len(Index(passages(ENGLISH)).best("cookies", 99)) == 3
    assert Index(passages(["。"])).best("x") == passages(["。"])
    assert len(Index(passages(["。", "！"])).best("x")) == 2


def test_terms_leave_ss_alone() -> None:
    assert terms("Policies of glass, his AS") == ["policie", "of", "glass", "his", "as"]


class Quoting:
    """An engine that answers with a word it was told, wherever that stands."""

    settings = None

    def __init__(self, word: str, others: tuple[str, ...] = (), *, none: bool = False) -> None:
        self.word, self.others, self.none, self.read = word, others, none, ""
        self.task = SimpleNamespace(NAME="t", columns=lambda settings: {"answer": "", "answer_start": ""})

    def predict(self, pairs: list[tuple[str, str]]) -> list[Any]:
        self.read = pairs[0][1]
        others = [SimpleNamespace(answer=o, start=self.read.index(o), confidence=0.1) for o in self.others]
        start = None if self.none else self.read.index(self.word)
        told = {"answer": self.word, "start": start, "confidence": 0.8, "error": None, "truncated": False}
        return [SimpleNamespace(**told, no_answer=self.none, alternatives=others)]


def test_answers_come_with_file_line_and_sentence() -> None:
    text = "First.\n\nWe keep it.\nFor a year. Then no more."
    found = passages(ENGLISH) + passages_of(text, "long.txt")
    engine: Any = Quoting("a year. Then", ("Rome",))
    answers = ask(engine, "How long do we keep it, and where is the office?", Index(found)).answers
    assert [(a.answer, str(a.place), a.sentence) for a in answers] == [
        ("a year. Then", "long.txt:4", "For a year. Then no more."),
        ("Rome", "1.txt:6", "Write to our office in Rome."),
    ]
    assert engine.read.count(GAP) >= 3


@pytest.mark.parametrize("length", [11, 14, 64])
def test_no_answer_runs_from_one_passage_into_the_next(length: int) -> None:
    """The head scores "b c d" highest: first and last stand in different passages; else "c d", then "b"."""
    tokenizer, settings = Tokenizer.from_vocab([*SPECIALS, *"abcdefg?"]), Settings(stride=2, longest=4)
    sure = {"b": (9, 1), "d": (0, 9), "c": (2, 0)}

    def answers(context: str) -> list[str]:
        texts = tokenizer.encode(["? ?", context], offsets=True)
        parts = question_answering.features(texts, None, tokenizer, settings, length)
        rows = [np.array([sure.get(tokenizer.token(token), (0, 0)) for token in part.ids.tolist()]) for part in parts]
        (found,) = question_answering.decode([rows], settings, [parts])
        assert isinstance(found, AnswerPrediction)
        return [found.answer, *(each.answer for each in found.alternatives)]

    told = answers(GAP.join(["a b", "c d e", "f g"]))
    assert told[:2] == ["c d", "b"]
    assert all(each in "a b|c d e|f g" for each in told)
    assert answers("a b\n\nc d e\n\nf g")[0] == "b\n\nc d"  # paragraphs of one text are no passages


def test_only_the_nearest_are_read() -> None:
    engine: Any = Quoting("Rome")
    ask(engine, "Where is the office?", Index(passages(ENGLISH)), 1)
    assert engine.read == ENGLISH[1]


def test_no_answer() -> None:
    engine: Any = Quoting("", ("Rome",), none=True)
    found = ask(engine, "Where?", Index(passages(ENGLISH)))
    assert found.no_answer
    assert found.confidence == 0.8
    assert found.answers == ()


def test_a_model_of_another_kind_is_refused() -> None:
    engine: Any = SimpleNamespace(settings=None, task=SimpleNamespace(NAME="t", columns=lambda settings: {"label": ""}))
    with pytest.raises(ValueError, match="no answers out of texts"):
        ask(engine, "Where?", Index(passages(ENGLISH)))
