"""A source of texts in, the same rows with their answers out: streamed, in order, whole or not at all.

The original columns stand first and unchanged, then the task's, then `truncated`, `unk_ratio` and `error`. The format
is the output's suffix (writers.py). Reading is readers/sources.py's part, scoring engine.py's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filbert.inference.engine import Engine
from filbert.inference.writers import open_writer
from filbert.records import Example, Prediction

LAST = {"truncated": "bool", "unk_ratio": "float", "error": "string"}  # columns that every task's results end with

Row = dict[str, Any]


@dataclass
class Tally:
    """What became of the rows: `read` = `scored` + the sum of `errors`."""

    read: int = 0
    scored: int = 0
    truncated: int = 0
    unreadable: int = 0
    """Scored, though much of the text is beyond the vocabulary."""
    by_linear: int = 0
    """Answered by the linear model of a cascade."""
    answers: Counter[str] = field(default_factory=Counter)
    """How often each label was given; a text may have several, and a number has none."""
    errors: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    """Keys of later JSON lines for which the output has no column."""
    seconds: float = 0.0

    @property
    def texts_per_second(self) -> float:
        """Rows per second, reading and writing included."""
        return self.read / max(self.seconds, 1e-9)

    def count(self, prediction: Prediction, answers: Sequence[str]) -> None:
        """Take one row into account."""
        self.read += 1
        if prediction.error is not None:
            self.errors[prediction.error] += 1
            return
        self.scored += 1
        self.truncated += prediction.truncated
        self.unreadable += prediction.unreadable
        self.by_linear += prediction.by_linear
        self.answers.update(answers)


def result_names(columns: Sequence[str], results: Iterable[str]) -> dict[str, str]:
    """Return the column that each result gets; one that the input has already gets `predicted_` before it.

    >>> list(result_names(["text", "label"], ["label", "error"]).values())
    ['predicted_label', 'error']
    """
    taken, names = set(columns), {}
    for result in results:
        name = result
        while name in taken:
            name = f"predicted_{name}"
        taken.add(name)
        names[result] = name
    return names


def cells(engine: Engine, prediction: Prediction) -> Row:
    """Return all result cells of a prediction: the task's, then what every task's results end with."""
    return {
        **engine.task.row(prediction, engine.settings),
        "truncated": prediction.truncated,
        "unk_ratio": round(prediction.unk_ratio, 3),
        "error": prediction.error,
    }


def score_to(
    engine: Engine,
    examples: Iterable[Example],
    columns: Sequence[str],
    out: Path | None,
    *,
    bom: bool = False,
    done: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Score every example and write it to `out` (None: CSV on stdout), which appears when it is complete.

    `done` hears the tally after each row; `bom`: a CSV begins with a byte order mark, as Excel wants it. Whatever goes
    wrong, a half-written file does not stay.

    >>> score_to(engine, source.examples(), source.columns, Path("new.csv")).answers  # doctest: +SKIP
    Counter({'pos': 61, 'neg': 39})
    """
    tally, began = Tally(), time.monotonic()
    types = {**engine.task.columns(engine.settings), **LAST}
    names = result_names(columns, types)
    named = {names[key]: kind for key, kind in types.items()}
    with open_writer(out, [*columns, *named], named, bom=bom) as write:
        for example, prediction in engine.stream(examples):
            answers = () if prediction.error is not None else engine.task.tally(prediction)
            tally.count(prediction, answers)
            row: Row = {column: example.columns.get(column, "") for column in columns}
            tally.left_out |= example.columns.keys() - row.keys()
            row.update((names[key], cell) for key, cell in cells(engine, prediction).items())
            write(row)
            tally.seconds = time.monotonic() - began
            done(tally)
    tally.seconds = time.monotonic() - began
    return tally
