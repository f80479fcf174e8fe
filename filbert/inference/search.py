"""A question asked of many texts: BM25 chooses the passages, and BERT reads these as one long text.

    passages → BM25 (Robertson & Zaragoza 2009, by bm25s) → the best ten, end to end → windows → answers with places

Read as one text, the passages' answers compete in one softmax, as windows do in training; so the confidence was
calibrated on the same thing, and "no answer" is said where no passage has one.

BM25 counts words without their plural s; Chinese is counted in characters and pairs of them.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from filbert.errors import ConfigError, Place
from filbert.inference.engine import Engine
from filbert.readers.passages import Passage
from filbert.records import BREAK
from filbert.text.sentences import spans

PASSAGES = 10  # read by BERT
GAP = f"\n{BREAK}\n"  # between two of them: no answer runs across it
WORD = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+|[^\\W\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True)
class Answer:
    """An answer, where it stands, the sentence it stands in, and how probable it is that it is right."""

    answer: str
    confidence: float
    place: Place
    sentence: str


@dataclass(frozen=True)
class Answers:
    """What was found: the answers, best first, each out of one passage; none where `no_answer` is true."""

    answers: tuple[Answer, ...]
    no_answer: bool
    confidence: float
    """Of the first answer, or that there is none."""
    truncated: bool
    """Whether the end of the question was not read."""


def terms(text: str) -> list[str]:
    """Return what BM25 counts.

    >>> terms("The cookies of 北京市")
    ['the', 'cookie', 'of', '北', '京', '市', '北京', '京市']
    """
    found: list[str] = []
    for run in WORD.findall(text.lower()):
        if "\u3400" <= run[0] <= "\u9fff" or run[0] >= "\U00020000" or "\uf900" <= run[0] <= "\ufaff":
            found += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
        else:
            found.append(run[:-1] if len(run) > 3 and run.endswith("s") and not run.endswith("ss") else run)
    return found


class Index:
    """Passages that can be searched.

    >>> passages = [Passage(text, Place("a.txt", 1)) for text in ("We use cookies.", "You may write to us.")]
    >>> Index(passages).best("How do I write to you?", 1)[0].text
    'You may write to us.'
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._known: dict[str, int] = {}
        self._bm25: Any = None
        if len(passages) > 1:
            import bm25s  # type: ignore[import-untyped]

            number = self._known.setdefault  # a number each, 4 bytes: the terms themselves took 170 a character
            counted = [array("i", [number(term, len(self._known)) for term in terms(p.text)]) for p in passages]
            if self._known:
                self._bm25 = bm25s.BM25()
                self._bm25.index((counted, self._known), show_progress=False)

    def best(self, question: str, count: int = PASSAGES) -> list[Passage]:
        """Return the passages nearest to a question, best first; the first ones where they share no word with it."""
        asked = [term for term in terms(question) if term in self._known]
        count = min(count, len(self.passages))
        if self._bm25 is None or not asked:
            return list(self.passages[:count])
        numbers, _ = self._bm25.retrieve([asked], k=count, show_progress=False)
        return [self.passages[int(number)] for number in numbers[0]]


def gives_answers(engine: Engine) -> bool:
    """Tell whether a model answers a question out of a text."""
    return {"answer", "answer_start"} <= set(engine.task.columns(engine.settings))


def ask(engine: Engine, question: str, index: Index, count: int = PASSAGES) -> Answers:
    """Return what the passages answer to a question. Raises ConfigError where the model gives no such answers."""
    if not gives_answers(engine):
        raise ConfigError(
            f"the model is for {engine.task.NAME}, and gives no answers out of texts — give one "
            "fitted on questions, contexts and answers"
        )
    chosen = index.best(question, count)
    starts = list(accumulate((len(passage.text) + len(GAP) for passage in chosen), initial=0))
    found: Any = engine.predict([(question, GAP.join(passage.text for passage in chosen))])[0]
    if found.error is not None:
        raise ConfigError("the question has nothing to read — give at least one visible character")
    answers = []
    for each in () if found.no_answer else (found, *found.alternatives):
        number = bisect_right(starts, each.start) - 1
        passage, offset = chosen[number], each.start - starts[number]
        sentence = _sentence(passage.text, offset, offset + len(each.answer))
        answers.append(Answer(each.answer, float(each.confidence), passage.line_of(offset), sentence))
    return Answers(tuple(answers), bool(found.no_answer), float(found.confidence), bool(found.truncated))


def _sentence(text: str, begin: int, end: int) -> str:
    """Return the sentences that a span touches."""
    touched = [(first, last) for first, last in spans(text) if last > begin and first < end]
    return text[touched[0][0] : touched[-1][1]] if touched else text[begin:end]
