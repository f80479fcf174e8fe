"""Questions on texts in the layout of SQuAD: articles of paragraphs, each a context with the questions asked of it.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [{"id": …, "question": …, "answers": [
        {"text": …, "answer_start": …}]}]}]}]}

SQuAD 2.0 says `is_impossible` where there is no answer. CMRC's older files are a list of `context_text` and `qas` with
`query_text` and answers as strings. What a question, an answer and a place are good for is no concern here.

A context is in memory once, whatever is asked of it. The line of a Place is a question's number, as the whole file may
stand in one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from filbert.errors import DataError, Place, Problem, counted, shown
from filbert.readers.columns import Roles
from filbert.readers.formats.jsons import as_json, as_text, check_surrogates
from filbert.readers.formats.sniff import ROWS
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal
from filbert.records import JsonCell

COLUMNS = ("id", "question", "context", "answers")
LISTS = {"data": "article", "paragraphs": "paragraph"}  # what the elements of each list are called
CONTEXTS, QUESTIONS, IDS = ("context", "context_text"), ("question", "query_text"), ("id", "query_id")


class Squad(Table):
    """The questions of a file, a row each; their answers are JSON."""

    nested = True
    columns = COLUMNS
    roles = Roles((("question",), ("context",)), "answers", how="columns — question, context and answers")

    def __init__(self, name: str, value: Any, *, labelled: bool = False) -> None:
        self.name = f"{name}[qas]"
        self._value, self._labelled = value, labelled
        self._current: object = None
        self.sample: list[Row] = []
        wrong: Problem | None = None
        for _, found in self._questions():
            if len(self.sample) >= ROWS:
                break
            if not isinstance(found, Problem):
                self.sample.append(found)
            wrong = wrong or (found if isinstance(found, Problem) else None)
        if not self.sample:
            if wrong is not None:
                raise DataError([wrong])
            raise fatal(name, "file", "has the layout of SQuAD, and no question in it", "give another file")
        contexts = sum(1 for field, _ in paragraphs(value) if not field)
        self.found = [f"format: questions in the layout of SQuAD, on {counted(contexts, 'text')}"]

    def raw(self) -> str:
        """Return the current question as JSON, without its context."""
        return as_json(self._current)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield a row for each question."""
        for number, found in self._questions():
            if not isinstance(found, Problem):
                try:
                    check_surrogates(found)
                    yield number, found
                    continue
                except ValueError as error:
                    found = self._problem(number, "row", str(error), "write whole characters")
            ledger.reject(found, self.raw())

    def _problem(self, number: int, field: str, wrong: str, todo: str) -> Problem:
        return Problem(Place(self.name, number), field, wrong, todo)

    def _questions(self) -> Iterator[tuple[int, Row | Problem]]:
        """Yield the number of each question and its row, or what is wrong with it or with where questions should be."""
        number = 0
        for field, paragraph in paragraphs(self._value):
            if field:
                self._current = paragraph
                what = "no object with paragraphs or qas"
                yield number, Problem(Place(self.name), field, f"is {_json(paragraph)}, {what}", "correct or remove it")
                continue
            context, asked = _first(paragraph, CONTEXTS), paragraph["qas"]
            for each in asked if isinstance(asked, list) else [asked]:
                number += 1
                self._current = each
                yield number, self._question(number, context, each)

    def _question(self, number: int, context: object, each: object) -> Row | Problem:
        told: Mapping[str, Any] = each if isinstance(each, dict) else {}
        question = _first(told, QUESTIONS)
        if not isinstance(context, str):
            return self._problem(number, "context", f"is {_json(context)}, no text", "write the text as a string")
        if not isinstance(question, str):
            return self._problem(number, "question", f"is missing in {shown(each)}", 'write "question": "…"')
        if self._labelled and not {"answers", "is_impossible"} & set(told):
            wrong = f"are missing among {shown(list(told))}"
            return self._problem(number, "answers", wrong, 'write "answers": [{…}], or [] where there is none')
        answers = [] if told.get("is_impossible") in (True, "true") else told.get("answers")
        try:
            cell = _cell(answers or [])
        except (ValueError, RecursionError):
            return self._problem(number, "answers", "are nested too deeply", "write a list of objects")
        return {"id": as_text(_first(told, IDS)), "question": question, "context": context, "answers": cell}


def like_squad(value: object) -> bool:
    """Tell whether a JSON value has the layout, by its first paragraph.

    >>> like_squad({"data": [{"paragraphs": [{"context": "…", "qas": []}]}]}), like_squad({"data": [{"text": "a"}]})
    (True, False)
    """
    for field, each in paragraphs(value):
        if not field:
            return True
        if not isinstance(each, dict):
            return False
    return False


def paragraphs(value: object, where: tuple[str, ...] = (), kind: str = "element") -> Iterator[tuple[str, Any]]:
    """Yield ("", object) for each with `qas`, however deep under lists, `data`, `paragraphs`; (where, value) of others.

    >>> list(paragraphs({"data": [{"paragraphs": [{"qas": []}, 7]}, {"title": "t"}]}))
    [('', {'qas': []}), ('article 1, paragraph 2', 7), ('article 2', {'title': 't'})]
    """
    if isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from paragraphs(each, (*where, f"{kind} {number}"), kind)
        return
    inner = [key for key in LISTS if isinstance(value.get(key), list)] if isinstance(value, dict) else []
    if isinstance(value, dict) and "qas" in value:
        yield "", value
    elif not inner:
        yield ", ".join(where) or "file", value
    for key in inner:
        yield from paragraphs(value[key], where, LISTS[key])  # type: ignore[index]


def _cell(answers: object) -> str:
    """Return answers as a cell; a list of bare numbers is read as one of texts, and written as it stood."""
    told = as_text(answers)
    if isinstance(answers, list) and any(isinstance(each, JsonCell) for each in answers):
        return JsonCell(json.dumps(answers, ensure_ascii=False), told)
    return told


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if name in value), None)


def _json(value: object) -> str:
    """Return a value for a message, as JSON spells it."""
    return "null" if value is None else shown(value)
