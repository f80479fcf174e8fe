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

from filbert.errors import Place, Problem, shown
from filbert.readers.columns import Roles
from filbert.readers.formats.jsons import as_text, check_surrogates
from filbert.readers.formats.sniff import ROWS
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal

COLUMNS = ("id", "question", "context", "answers")
CONTEXTS, QUESTIONS, IDS = ("context", "context_text"), ("question", "query_text"), ("id", "query_id")


class Squad(Table):
    """The questions of a file, a row each; their answers are JSON."""

    nested = True
    columns = COLUMNS
    roles = Roles((("question",), ("context",)), "answers", how="columns — question, context and answers")

    def __init__(self, name: str, value: Any) -> None:
        self.name = f"{name}[qas]"
        self._value = value
        self._current: object = None
        self.sample: list[Row] = []
        for _, _, row in self._questions():
            if len(self.sample) >= ROWS:
                break
            if row is not None:
                self.sample.append(row)
        if not self.sample:
            raise fatal(name, "file", "has the layout of SQuAD, and no question in it", "give another file")
        contexts = sum(1 for _ in paragraphs(value))
        self.found = [f"format: questions in the layout of SQuAD, on {contexts:,} texts"]

    def raw(self) -> str:
        """Return the current question as JSON, without its context."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield a row for each question."""
        for number, wrong, row in self._questions():
            try:
                if row is None:
                    raise ValueError(wrong)
                check_surrogates(row)
            except ValueError as error:
                ledger.reject(Problem(Place(self.name, number), "row", str(error), "correct it"), self.raw())
                continue
            yield number, row

    def _questions(self) -> Iterator[tuple[int, str, Row | None]]:
        """Yield (number, what is wrong, row)."""
        number = 0
        for paragraph in paragraphs(self._value):
            context, asked = _first(paragraph, CONTEXTS), paragraph.get("qas")
            for each in asked if isinstance(asked, list) else [asked]:
                number += 1
                self._current = each
                told: Mapping[str, Any] = each if isinstance(each, dict) else {}
                question = _first(told, QUESTIONS)
                if not isinstance(context, str):
                    yield number, f"its context is no string: {shown(context)}", None
                elif not isinstance(question, str):
                    yield number, f"has no question: {shown(each)}", None
                else:
                    answers = [] if told.get("is_impossible") in (True, "true") else told.get("answers")
                    row = {"id": as_text(_first(told, IDS)), "question": question, "context": context}
                    yield number, "", {**row, "answers": json.dumps(answers or [], ensure_ascii=False)}


def like_squad(value: object) -> bool:
    """Tell whether a JSON value has the layout, by its first paragraph.

    >>> like_squad({"data": [{"paragraphs": [{"context": "…", "qas": []}]}]}), like_squad({"data": [{"text": "a"}]})
    (True, False)
    """
    return next(paragraphs(value), None) is not None


def paragraphs(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield every object with `qas`, however deep it stands under lists, `data` and `paragraphs`."""
    if isinstance(value, list):
        for each in value:
            if not isinstance(each, (dict, list)):
                return
            yield from paragraphs(each)
    elif isinstance(value, dict):
        if "qas" in value:
            yield value
        for key in ("data", "paragraphs"):
            if isinstance(value.get(key), list):
                yield from paragraphs(value[key])


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if name in value), None)
