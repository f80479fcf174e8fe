"""Questions and the texts that answer them: what a cell of answers says, and where in its text an answer stands.

A target is a tuple of `Answer`: several right ones of which training takes the first, none where the text has no
answer (Rajpurkar et al. 2018). Layouts of a cell: the answer itself; as SQuAD has it, [{"text": …, "answer_start": …}];
as `datasets` has it, {"text": […], "answer_start": […]}; a list of strings, as CMRC's older files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from filbert.errors import DataError, Place, Problem, Refusal, counted, shown
from filbert.records import Example, FloatArray
from filbert.tasks.question_answering.units import border
from filbert.tasks.task import Claim, Json, Reading

FEWEST = 4  # questions with an answer, to fit anything
STRIDE = 128  # Devlin et al. 2018, in the code of the paper
LONGEST, MOST = 30, 128  # tokens of the longest answer: Devlin's, and the most that is looked for
UNKNOWN = -1
LAYOUT = 'write the answer, or {"text": "…", "answer_start": 0}'
NAMES = ("answer", "answers", "答案")


@dataclass(frozen=True)
class Answer:
    """An answer and where it begins in its text, in code points; -1 while that is not known."""

    text: str
    start: int = UNKNOWN

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + len(self.text)


QUESTIONS = frozenset({"question", "questions", "query", "问题", "问"})
CONTEXTS = frozenset({"context", "contexts", "上下文", "原文", "文章", "正文", "背景"})
YES_OR_NO = frozenset({"yes", "no", "true", "false", "1", "0", "maybe", "是", "否", "对", "错"})


@dataclass(frozen=True)
class Settings:
    """How texts are cut into windows, and which of their spans may be an answer.

    A temperature is no setting: it is folded into the last layer, so that probabilities hold in `transformers`, too.
    """

    stride: int = STRIDE
    """Tokens that two windows of one text share; an answer of up to `longest` tokens stands whole in one of them."""
    longest: int = LONGEST
    """Tokens of the longest answer: 30 (Devlin et al. 2018), or more where those of the training texts are longer."""
    unanswerable: bool = False
    """Whether "no answer" may be said: there were such questions in training (Rajpurkar et al. 2018)."""
    threshold: float = 0.0
    """It is said where [CLS] scores higher than the best span by more than this; tuned for F1 on validation."""


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Claim a column of answers beside a question and its context, by their names; or beside two texts of other names,
    unless it holds few different ones. Yes and no are labels.

    >>> claim(["Navy", "in 1921", "Paris"], ("question", "context", "answer")).sure
    True
    >>> claim(["yes", "no"] * 20, ("question", "passage", "answer")) is None, claim(["Navy", "Paris"], ("a", "b"))
    (True, None)
    >>> claim(["Oslo", "Rome"] * 30, ("question", "context", "answer")).sure
    True
    """
    seen = [cell for cell in cells if cell.strip()]
    if len(names) != 3 or names[-1].strip().casefold() not in NAMES or not seen:
        return None
    if any('"answer_start"' in cell or cell.lstrip("[ ").startswith('{"text"') for cell in seen):
        return Claim(True, "answers in the layout of SQuAD")
    different = len(set(seen))
    if {cell.strip().casefold() for cell in seen} <= YES_OR_NO:
        return None
    if names[0].strip().casefold() in QUESTIONS and names[1].strip().casefold() in CONTEXTS:
        return Claim(True, "columns named question, context and answer")
    return Claim(True, f"{different:,} different answers") if 2 * different > len(seen) or different > 20 else None


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say how answers are read, and count what had to be searched for.

    >>> reading = read(["Navy"], {})
    >>> reading.locate(reading.parse("Navy"), ("Who?", "The Navy did."))
    (Answer(text='Navy', start=4),)
    """
    notes = Counter[str]()

    def parse(cell: str) -> tuple[Answer, ...]:
        return answers_in(merges.get(cell, cell))

    def locate(target: tuple[Answer, ...], inputs: tuple[str, ...]) -> tuple[Answer, ...]:
        if not target:
            notes["questions without an answer"] += 1
        return all_located(target, inputs[-1], notes)

    def said() -> list[str]:
        return [f"{what}: {count:,}" for what, count in notes.items() if count]

    return Reading(parse, "task: an answer out of a text for each question", said, locate)


class _Number(str):
    """A number of JSON as it stood: as an answer it is text."""


def answers_in(cell: str) -> tuple[Answer, ...]:
    """Return the answers of a cell, without their places where it has none; raises Refusal.

    >>> answers_in('{"text": ["Navy"], "answer_start": [4]}'), answers_in("")
    ((Answer(text='Navy', start=4),), ())
    """
    found = cell.strip()
    if found[:1] not in ("[", "{"):
        return (Answer(cell),) if found else ()
    try:
        value = json.loads(found, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        if value and isinstance(value, list) and all(isinstance(each, (bool, _Number)) for each in value):
            return (Answer(cell),)  # [3] is a piece of text
        return target_of(value)
    except Refusal:
        raise
    except ValueError:
        return (Answer(cell),)
    except RecursionError:
        raise Refusal(f"is nested too deeply: {shown(cell)}", LAYOUT) from None


def target_of(value: Any) -> tuple[Answer, ...]:
    """Return a Python value as answers: text, (text, start), SQuAD's objects, lists of these, None; raises Refusal.

    >>> target_of(["Navy", {"text": "the Navy", "answer_start": 0}]), target_of(None)
    ((Answer(text='Navy', start=-1), Answer(text='the Navy', start=0)), ())
    """
    value = _plain(value)
    if value is None or value != value or type(value).__name__ == "NAType":
        return ()
    if isinstance(value, Answer):
        return (value,)
    if isinstance(value, str):
        return (Answer(value),) if value.strip() else ()
    if isinstance(value, Mapping):
        texts, starts = _plain(value.get("text")), _plain(value.get("answer_start"))
        if isinstance(texts, str):
            return (_answer(texts, starts),) if texts.strip() else ()
        if isinstance(texts, (list, tuple)):
            places = starts if isinstance(starts, (list, tuple)) and len(starts) == len(texts) else [None] * len(texts)
            found = [_answer(text, start) for text, start in zip(texts, places, strict=True)]
            return tuple(answer for answer in found if answer.text.strip())
    if (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(_plain(value[1]), Real)
    ):
        return (_answer(*value),) if value[0].strip() else ()
    if isinstance(value, (list, tuple)):
        return tuple(answer for each in value for answer in target_of(each))
    raise Refusal(f"is {shown(value)}, no answer", LAYOUT)


def _plain(value: Any) -> Any:
    """Return an array, series or number of numpy or pandas as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _answer(text: object, start: object) -> Answer:
    start = _plain(start)
    if not isinstance(text, str):
        raise Refusal(f"has an answer that is {shown(text)}, no text", "write the answer as it stands in its text")
    if start is None or start != start or not str(start).strip():
        return Answer(text)
    try:
        place = float(str(start))  # "4.0" where a column has gaps
        if place.is_integer():
            return Answer(text, int(place))
        raise ValueError
    except ValueError:
        wrong = f"has an answer_start that is {shown(start)}, no whole number"
        raise Refusal(wrong, "count characters from 0, or leave it out") from None


def all_located(target: Sequence[Answer], context: str, notes: Counter[str]) -> tuple[Answer, ...]:
    """Return answers with their places, and last those that do not stand in the text, which count in scoring only.

    Raises Refusal where none of them stands in the text.
    """
    found, strange, refusal = dict[Answer, None](), list[Answer](), None
    for answer in target:
        try:
            found[located(answer, context, notes)] = None
        except Refusal as one:
            refusal = refusal or one
            strange.append(Answer(answer.text))
    if refusal and not found:
        raise refusal
    notes["further answers that do not stand in their texts, and count in scoring only"] += len(strange)
    return (*found, *dict.fromkeys(strange))


def located(answer: Answer, context: str, notes: Counter[str]) -> Answer:
    """Return an answer with its place in a text: where it was said to be, else the nearest, else the first.

    Blanks at its ends and their number inside may differ, and case where nothing else is found; without a start, whole
    words are looked for first. What was searched for is counted; raises Refusal where it does not stand in the text.

    >>> located(Answer("Paris", 4), "In Paris. Paris!", Counter())
    Answer(text='Paris', start=3)
    """
    if answer.start >= 0 and context.startswith(answer.text, answer.start) and answer.text.strip():
        return _stripped(answer)
    found = [] if answer.start >= 0 else _matches(border(answer.text), context)
    inside = [] if found else _matches(r"\s+".join(map(re.escape, answer.text.split())), context)
    places = [Answer(match.group(), match.start()) for match in found or inside]
    if not places:
        wrong = f"the answer {shown(answer.text, 60)} does not stand in its text {shown(context, 60)}"
        raise Refusal(wrong, "write it as the text has it, or leave it empty where there is none")
    if answer.start >= 0:
        notes["answers found near where answer_start says they are"] += 1
        return min(places, key=lambda each: abs(each.start - answer.start))
    if inside:
        notes["answers found only inside of a word (give answer_start)"] += 1
    if len(places) > 1:
        notes["answers that stand in their text several times, of which the first is taken (give answer_start)"] += 1
    return places[0]


def _stripped(answer: Answer) -> Answer:
    kept = answer.text.lstrip()
    return Answer(kept.rstrip(), answer.start + len(answer.text) - len(kept))


def _matches(pattern: str, context: str) -> list[re.Match[str]]:
    if not pattern:
        return []
    return list(re.finditer(pattern, context)) or list(re.finditer(pattern, context, re.IGNORECASE))


def strata(examples: Sequence[Example]) -> list[bool]:
    """Return of each question whether it has an answer."""
    return [bool(example.target) for example in examples]


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return of each question whether it has an answer."""
    return [("an answer" if example.target else "no answer",) for example in examples]


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return whether there are questions without an answer; how long answers are is told by word pieces (windows.py).

    Raises DataError where fewer than four questions have an answer.
    """
    answers = sum(bool(example.target) for example in train)
    if answers < FEWEST:
        wrong = f"has {counted(answers, 'question')} with an answer"
        raise DataError([Problem(Place(name), "answers", wrong, f"give at least {FEWEST}, better thousands")])
    return Settings(unanswerable=answers < len(train))


def reopen(told: Json, config: Json) -> Settings:
    """Return the settings of a saved model; the usual ones of other people's; ValueError for other tasks."""
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not any("ForQuestionAnswering" in str(name) for name in architectures):
        raise ValueError(
            f"config.json architectures — are {shown(architectures)}, not BertForQuestionAnswering — give another model"
        )
    settings = told.get("settings")
    if settings is None:
        return Settings()
    try:
        found = Settings(**settings)
        sound = all(type(each) is int and each >= 1 for each in (found.stride, found.longest))
        found = replace(found, threshold=float(found.threshold), unanswerable=bool(found.unanswerable))
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(f"filbert.json settings — are {shown(settings)} — restore the file")
    return found


def saved(settings: Settings) -> Json:
    """Return nothing: the architecture says it all."""
    return {}


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return nothing: what a model cannot answer counts against it."""
    return []


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return a line on questions, texts and answers, and the same by split for the report."""
    facts = {
        split: {
            "questions": len(examples),
            "texts": len({example.inputs[-1] for example in examples}),
            "unanswerable": sum(not example.target for example in examples),
        }
        for split, examples in splits.items()
    }
    train = facts["train"]
    none = f", {train['unanswerable']:,} of them without an answer" if train["unanswerable"] else ""
    line = f"questions: {train['questions']:,} on {counted(train['texts'], 'text')} for training{none}"
    return [line], {"questions": facts}


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return the settings as they are: `BALANCE` refuses it before."""
    return settings, None
