"""Score the rows of a source and write them with their predictions: streamed, in order, complete or not at all.

    chunks of examples → Scored rows, here or elsewhere → counted, written

The original columns come first, unchanged, then the task's, then `truncated`, `unk_ratio` and `error`. The suffix of
the output says its format (writers.py). readers/ reads, engine.py scores, kept.py keeps what is scored already.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filbert.inference.engine import Engine, chunks
from filbert.inference.writers import Row, Write, open_writer
from filbert.records import Example, Prediction
from filbert.tasks.task import Task

LAST = {"truncated": "bool", "unk_ratio": "float", "error": "string"}  # the last columns, for every task

DECIDED = {"decided_start": "int", "decided_end": "int", "decided_weight": "float"}

Inputs = tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """What is written and counted of one row that was scored; it survives JSON unchanged."""

    cells: Row
    """The task's cells and those of `LAST`, by the names of their columns."""
    answers: Sequence[str] = ()
    """What is counted of it over all rows: labels."""
    unreadable: bool = False
    by_linear: bool = False

    def told(self) -> list[Any]:
        """Return it as JSON holds it: `Scored(*row.told())` is the row."""
        return [self.cells, self.answers, self.unreadable, self.by_linear]


Pairs = Iterator[tuple[list[Example], list[Scored]]]


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
    unknown: int = 0
    """Scored, but not answered, as the text is of none of the known classes."""
    kept: int = 0
    """Of those read, the rows that an earlier run had scored before it was stopped."""
    answers: Counter[str] = field(default_factory=Counter)
    """How often each label was predicted; empty for regression."""
    errors: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    """Keys of later JSON lines that have no column in the output."""
    seconds: float = 0.0

    @property
    def texts_per_second(self) -> float:
        """Rows per second, reading and writing included."""
        return (self.read - self.kept) / max(self.seconds, 1e-9)

    def count(self, row: Scored) -> None:
        """Count one row."""
        self.read += 1
        if row.cells["error"] is not None:
            self.errors[row.cells["error"]] += 1
            return
        self.scored += 1
        self.truncated += row.cells["truncated"]
        self.unreadable += row.unreadable
        self.by_linear += row.by_linear
        self.abstained += row.cells.get("abstained", False)
        self.unknown += row.cells.get("unknown", False)
        self.answers.update(row.answers)


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


class Answers(Protocol):
    """What must be known of a model to know its results: an engine's, or of one that scores elsewhere."""

    task: Task
    settings: Any
    least_confidence: float
    farthest: float | None


def result_types(model: Answers) -> dict[str, str]:
    """Return the task's result columns and their types, and what this model may say beside.

    `abstained` and `unknown`, and for long texts the window that decided most, as code points of its text, its weight.
    """
    may = {"abstained": "bool"} if model.least_confidence else {}
    apart = {"unknown": "bool"} if model.farthest is not None else {}
    long = DECIDED if model.task.head(model.settings).weighed else {}
    return {**model.task.columns(model.settings), **may, **apart, **long}


def cells(engine: Engine, prediction: Prediction) -> Row:
    """Return all result cells of a prediction: the task's, then those of every task (`LAST`).

    Where the answer is withheld its cells are empty; its numbers stay.
    """
    row, kinds = engine.task.row(prediction, engine.settings), engine.task.columns(engine.settings)
    if prediction.withheld:
        row = {name: cell if kinds[name] == "float" else None for name, cell in row.items()}
    may = {"abstained": prediction.abstained} if engine.least_confidence else {}
    apart: Row = {"unknown": prediction.unknown} if engine.farthest is not None else {}
    if engine.head.weighed:
        first = prediction.evidence[0] if prediction.evidence else None
        places = (None,) * 3 if first is None else (first.start, first.end, round(first.weight, 4))
        apart |= dict(zip(DECIDED, places, strict=True))
    return {
        **row,
        **may,
        **apart,
        "truncated": prediction.truncated,
        "unk_ratio": round(prediction.unk_ratio, 3),
        "error": prediction.error,
    }


def scored_rows(engine: Engine, inputs: Sequence[Inputs]) -> list[Scored]:
    """Score the texts of a chunk."""
    return [
        Scored(
            cells(engine, prediction),
            () if prediction.withheld or prediction.error is not None else tuple(engine.task.tally(prediction)),
            prediction.unreadable,
            prediction.by_linear,
        )
        for prediction in engine.predict(inputs)
    ]


def scored_here(engine: Engine, examples: Iterable[list[Example]]) -> Pairs:
    """Score chunk after chunk in this process."""
    for chunk in examples:
        yield chunk, scored_rows(engine, [example.inputs for example in chunk])


def score_to(
    engine: Engine, examples: Iterable[Example], columns: Sequence[str], out: Path | None, *, overwrite: bool = False
) -> Tally:
    """Score every example and write it to `out` (None: CSV on stdout), which appears when it is complete.

    On an error no half-written file stays. ConfigError where `out` exists, unless `overwrite` is set.

    >>> score_to(engine, source.examples(), source.columns, Path("new.csv")).answers  # doctest: +SKIP
    Counter({'pos': 61, 'neg': 39})
    """
    types = {**result_types(engine), **LAST}
    tally = Tally()
    with open_writer(out, *written_columns(columns, types), overwrite=overwrite) as write:
        write_rows(scored_here(engine, chunks(examples)), types, columns, write, tally, lines=in_lines(out))
    return tally


def in_lines(out: Path | None) -> bool:
    """Say whether rows go out as JSON lines: each with its own keys, in its own order."""
    return out is not None and out.suffix.lower() == ".jsonl"


def written_columns(columns: Sequence[str], types: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return all columns of the output, the results last, and the types of the results."""
    names = result_names(columns, types)
    named = {names[key]: kind for key, kind in types.items()}
    return [*columns, *named], named


def write_rows(
    pairs: Pairs,
    types: Mapping[str, str],
    columns: Sequence[str],
    write: Write,
    tally: Tally,
    *,
    lines: bool,
    done: Callable[[Tally], None] = lambda tally: None,
) -> None:
    """Write each row with its results, and count it; `done` is called with the tally after each row."""
    began = time.monotonic()
    names = result_names(columns, types)
    results = set(names.values())
    for chunk, scored in pairs:
        for example, found in zip(chunk, scored, strict=True):
            tally.count(found)
            row: Row = {column: example.columns.get(column, "") for column in columns}
            if lines:
                row = {key: cell for key, cell in example.columns.items() if key not in results}
            tally.left_out |= example.columns.keys() - row.keys()
            row.update((names[key], found.cells[key]) for key in types)
            write(row)
            tally.seconds = time.monotonic() - began
            done(tally)
    tally.seconds = time.monotonic() - began
