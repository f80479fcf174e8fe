"""Score the rows of a source and write them with their predictions: streamed, in order, complete or not at all.

The original columns come first, unchanged, then the task's, then `truncated`, `unk_ratio` and `error`. The suffix of
the output says its format (writers.py). readers/sources.py reads, engine.py scores.
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

LAST = {"truncated": "bool", "unk_ratio": "float", "error": "string"}  # the last columns, for every task

Row = dict[str, Any]


@dataclass
class Tally:
    """Counts of rows: `read` = `scored` + the sum of `errors`."""

    read: int = 0
    scored: int = 0
    truncated: int = 0
    unreadable: int = 0
    """Scored, though the vocabulary has no pieces for much of the text."""
    by_linear: int = 0
    """Scored by the linear model of a cascade."""
    abstained: int = 0
    """Scored, but not answered, as the model is not sure enough."""
    answers: Counter[str] = field(default_factory=Counter)
    """How often each label was predicted; empty for regression."""
    errors: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    """Keys of later JSON lines that have no column in the output."""
    seconds: float = 0.0

    @property
    def texts_per_second(self) -> float:
        """Rows per second, reading and writing included."""
        return self.read / max(self.seconds, 1e-9)

    def count(self, prediction: Prediction, answers: Sequence[str]) -> None:
        """Count one row."""
        self.read += 1
        if prediction.error is not None:
            self.errors[prediction.error] += 1
            return
        self.scored += 1
        self.truncated += prediction.truncated
        self.unreadable += prediction.unreadable
        self.by_linear += prediction.by_linear
        self.abstained += prediction.abstained
        self.answers.update(answers)


def result_names(columns: Sequence[str], results: Iterable[str]) -> dict[str, str]:
    """Return the column name of each result; a name that the input already has gets the prefix `predicted_`.

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


def result_types(engine: Engine) -> dict[str, str]:
    """Return the task's result columns and their types, and `abstained` where the model may do so."""
    may = {"abstained": "bool"} if engine.least_confidence else {}
    return {**engine.task.columns(engine.settings), **may}


def cells(engine: Engine, prediction: Prediction) -> Row:
    """Return all result cells of a prediction: the task's, then those of every task (`LAST`).

    Where the model abstains the cells of the answer are empty; its numbers stay.
    """
    row, kinds = engine.task.row(prediction, engine.settings), engine.task.columns(engine.settings)
    if prediction.abstained:
        row = {name: cell if kinds[name] == "float" else None for name, cell in row.items()}
    may = {"abstained": prediction.abstained} if engine.least_confidence else {}
    return {
        **row,
        **may,
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
    overwrite: bool = False,
    done: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Score every example and write it to `out` (None: CSV on stdout), which appears when it is complete.

    `done` is called with the tally after each row; `bom`: a CSV begins with a byte order mark, which Excel needs. On an
    error no half-written file stays. ConfigError where `out` exists, unless `overwrite` is set.

    >>> score_to(engine, source.examples(), source.columns, Path("new.csv")).answers  # doctest: +SKIP
    Counter({'pos': 61, 'neg': 39})
    """
    tally, began = Tally(), time.monotonic()
    types = {**result_types(engine), **LAST}
    names = result_names(columns, types)
    named = {names[key]: kind for key, kind in types.items()}
    lines = out is not None and out.suffix.lower() == ".jsonl"
    with open_writer(out, [*columns, *named], named, bom=bom, overwrite=overwrite) as write:
        for example, prediction in engine.stream(examples):
            no_answer = prediction.abstained or prediction.error is not None
            answers = () if no_answer else engine.task.tally(prediction)
            tally.count(prediction, answers)
            row: Row = {column: example.columns.get(column, "") for column in columns}
            if lines:  # each has its own keys, in its own order
                row = {key: cell for key, cell in example.columns.items() if key not in named}
            tally.left_out |= example.columns.keys() - row.keys()
            row.update((names[key], cell) for key, cell in cells(engine, prediction).items())
            write(row)
            tally.seconds = time.monotonic() - began
            done(tally)
    tally.seconds = time.monotonic() - began
    return tally
