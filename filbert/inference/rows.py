"""A source of texts in, the same rows with their labels out: streamed, in order, whole or not at all.

The original columns stand first and unchanged (a cell that begins with `=` stays such a cell: open files you do not
trust in a spreadsheet with care), then `label`, `probability_CLASS` for each class, `truncated`, `unk_ratio` and
`error`. The format is the output's suffix: .csv, .tsv, .jsonl or .parquet. Reading is data/sources.py's part, scoring
engine.py's.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from filbert.errors import ConfigError
from filbert.inference.engine import Engine
from filbert.records import Example, Prediction

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
DIGITS = 6  # of a probability: beyond fp32's agreement between machines
GROUP = 2_048  # rows of a Parquet row group held in memory

Row = dict[str, Any]


@dataclass
class Tally:
    """What became of the rows: `read` = `scored` + the sum of `errors`."""

    read: int = 0
    scored: int = 0
    truncated: int = 0
    unreadable: int = 0
    """Scored, though much of the text is beyond the vocabulary."""
    in_front: int = 0
    """Answered by the linear model of a cascade."""
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    """Keys of later JSON lines for which the output has no column."""
    seconds: float = 0.0

    @property
    def texts_per_second(self) -> float:
        """Rows per second, reading and writing included."""
        return self.read / max(self.seconds, 1e-9)

    def count(self, prediction: Prediction) -> None:
        """Take one row into account."""
        self.read += 1
        if prediction.error is not None:
            self.errors[prediction.error] += 1
            return
        self.scored += 1
        self.truncated += prediction.truncated
        self.unreadable += prediction.unreadable
        self.in_front += prediction.in_front
        self.labels[str(prediction.label)] += 1


def result_names(columns: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the names of the added columns; one that the input has already gets `predicted_` before it.

    >>> result_names(["text", "label"], ["neg", "pos"])
    ['predicted_label', 'probability_neg', 'probability_pos', 'truncated', 'unk_ratio', 'error']
    """
    taken, names = set(columns), []
    for name in ("label", *(f"probability_{label}" for label in labels), "truncated", "unk_ratio", "error"):
        while name in taken:
            name = f"predicted_{name}"
        taken.add(name)
        names.append(name)
    return names


def check_output(out: Path, source: Path | None, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, would replace something, or is the input itself; ConfigError."""
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out} — its suffix names no format here — choose one of {', '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise ConfigError(f"{out} — there is no folder {out.parent} — make it, or write somewhere else with -o")
    if source is not None and out.exists() and source.exists() and out.samefile(source):
        raise ConfigError(f"{out} is the input itself — write somewhere else with -o")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder — give a file with -o")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists — write somewhere else with -o, or allow --overwrite")


def score_to(
    engine: Engine,
    examples: Iterable[Example],
    columns: Sequence[str],
    out: Path | None,
    *,
    done: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Score every example and write it to `out` (None: CSV on stdout), which appears when it is complete.

    `done` hears the tally after each row. Whatever goes wrong, a half-written file does not stay.

    >>> score_to(engine, source.examples(), source.columns, Path("new.csv")).labels  # doctest: +SKIP
    Counter({'pos': 61, 'neg': 39})
    """
    tally, began = Tally(), time.monotonic()
    names = result_names(columns, engine.labels)
    with _writer(out, [*columns, *names], engine.labels, names) as write:
        for example, prediction in engine.stream(examples):
            tally.count(prediction)
            row: Row = {column: example.columns.get(column, "") for column in columns}
            tally.left_out |= example.columns.keys() - row.keys()
            write({**row, **dict(zip(names, _cells(prediction, len(engine.labels)), strict=True))})
            tally.seconds = time.monotonic() - began
            done(tally)
    tally.seconds = time.monotonic() - began
    return tally


def _cells(prediction: Prediction, classes: int) -> list[Any]:
    chances: list[float | None] = [round(p, DIGITS) for p in prediction.probabilities] or [None] * classes
    return [prediction.label, *chances, prediction.truncated, round(prediction.unk_ratio, 3), prediction.error]


@contextmanager
def _writer(
    out: Path | None, columns: Sequence[str], labels: Sequence[str], names: Sequence[str]
) -> Iterator[Callable[[Row], None]]:
    """Give a function that writes one row; the file gets its name when all of them are on disk."""
    if out is None:
        yield _delimited(sys.stdout, columns, ",")
        return
    part = out.with_name(out.name + ".part")
    try:
        if out.suffix.lower() == ".parquet":
            with _parquet(part, columns, _types(names, len(labels))) as write:
                yield write
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                yield _text_writer(file, out.suffix.lower(), columns)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _text_writer(file: TextIO, suffix: str, columns: Sequence[str]) -> Callable[[Row], None]:
    if suffix == ".jsonl":
        return lambda row: _write_line(file, row)
    return _delimited(file, columns, "\t" if suffix == ".tsv" else ",")


def _write_line(file: TextIO, row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _delimited(file: TextIO, columns: Sequence[str], delimiter: str) -> Callable[[Row], None]:
    """Return a writer of delimited rows; one with a carriage return is quoted whole: csv leaves that character bare."""
    plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def put(values: Iterable[Any]) -> None:
        cells = ["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in values]
        (quoted if any(isinstance(v, str) and "\r" in v for v in cells) else plain).writerow(cells)

    put(columns)
    return lambda row: put(row.values())


def _types(names: Sequence[str], classes: int) -> dict[str, str]:
    kinds = ["string", *["float64"] * classes, "bool_", "float64", "string"]
    return dict(zip(names, kinds, strict=True))


@contextmanager
def _parquet(part: Path, columns: Sequence[str], types: Mapping[str, str]) -> Iterator[Callable[[Row], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column, getattr(pa, types.get(column, "string"))()) for column in columns])
    rows: list[Row] = []
    with pq.ParquetWriter(part, schema) as writer:

        def write(row: Row) -> None:
            rows.append(row)
            if len(rows) >= GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()

        yield write
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
