"""Write rows to a file in the format of its suffix (.csv, .tsv, .jsonl, .parquet, .xlsx), completely or not at all.

The file is written under a temporary name beside it, and renamed when it is on disk. A cell that begins with `=` is
kept: .xlsx holds it as text, never as a formula; a .csv from untrusted texts can run formulas in a spreadsheet.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.files import delete_drafts, replacing
from filbert.owned import Paths, lock, refuse_input
from filbert.records import JsonCell

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")
GROUP = 2_048  # rows of a Parquet row group held in memory
XLSX_ROWS = 1_048_575  # below the header
XLSX_COLUMNS = 16_384
XLSX_CELL = 32_767  # characters, as UTF-16 counts them
WIDEST = 60  # characters of an .xlsx column
LOOKED_AT = 200  # rows that set the widths
INSTEAD = "write .csv, .jsonl or .parquet"

Row = dict[str, Any]
Write = Callable[[Row], None]


def check_output(
    out: Path, inputs: Paths, models: Paths = (), *, overwrite: bool, formats: Sequence[str] = FORMATS
) -> None:
    """Refuse an output that cannot be written, would replace something, or is an input itself; ConfigError.

    >>> check_output(Path("answers.docx"), (), overwrite=False)
    Traceback (most recent call last):
    filbert.errors.ConfigError: answers.docx — its suffix names no format here — choose one of .csv, .tsv, .jsonl, ...
    """
    if formats and out.suffix.lower() not in formats:
        raise ConfigError(f"{out} — its suffix names no format here — choose one of {', '.join(formats)}")
    if out.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{out} — Parquet needs pyarrow — pip install 'filbert[parquet]'")
    if not out.parent.is_dir():
        raise ConfigError(f"{out} — there is no folder {out.parent} — make it, or write somewhere else with -o")
    refuse_input(out, inputs, models)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder — give a file with -o")
    _refuse_existing(out, overwrite)


def _refuse_existing(out: Path, overwrite: bool) -> None:
    if os.path.lexists(out) and not overwrite:
        raise ConfigError(f"{out} exists — write somewhere else with -o, or allow --overwrite")


@contextmanager
def open_writer(
    out: Path | None,
    columns: Sequence[str],
    types: Mapping[str, str] | None = None,
    *,
    bom: bool = False,
    overwrite: bool = False,
) -> Iterator[Write]:
    """Give a function that writes one row of `columns`; the file gets its name when all of them are on disk.

    `out` None is CSV on stdout. `types` says which columns are "float", "int" or "bool"; all others are strings. With
    `bom` a CSV or TSV file begins with a byte order mark, which Excel needs to read it as UTF-8. Whatever goes wrong,
    a half-written file does not stay, and one that stood there does. Raises ConfigError where the file exists, unless
    `overwrite` says that it may be replaced, or where another process is writing it.

    >>> with open_writer(Path("new.csv"), ["text", "score"], {"score": "float"}) as write:  # doctest: +SKIP
    ...     write({"text": "good film", "score": 0.97})
    """
    types = types or {}
    if out is None:
        yield _delimited(sys.stdout, columns, ",")
        return
    with reserved(out, overwrite=overwrite), written(out, columns, types, bom=bom) as write:
        yield write


@contextmanager
def written(out: Path, columns: Sequence[str], types: Mapping[str, str], *, bom: bool = False) -> Iterator[Write]:
    """Give a function that writes one row, as `open_writer` does; the caller holds `reserved`."""
    with replacing(out) as part:
        suffix = out.suffix.lower()
        if suffix == ".parquet":
            with _parquet(part, columns, types) as write:
                yield write
        elif suffix == ".xlsx":
            with _xlsx(part, out, columns, types) as write:
                yield write
        else:
            codec = "utf-8-sig" if bom and suffix in (".csv", ".tsv") else "utf-8"
            with part.open("w", encoding=codec, newline="") as file:
                yield _text_writer(file, suffix, columns)


@contextmanager
def reserved(out: Path, *, overwrite: bool) -> Iterator[None]:
    """Keep other processes from writing the same file, and delete what a killed one left half written."""
    with lock(out.with_name(f".filbert-lock-{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:8]}")) as held:
        if not held:
            raise ConfigError(f"{out} is being written by another process — wait for it, or write elsewhere with -o")
        _refuse_existing(out, overwrite)  # it may have come since it was looked for
        delete_drafts(out.parent, out.name)
        yield


def _text_writer(file: TextIO, suffix: str, columns: Sequence[str]) -> Write:
    if suffix == ".jsonl":
        return lambda row: _write_line(file, row)
    return _delimited(file, columns, "\t" if suffix == ".tsv" else ",")


def _write_line(file: TextIO, row: Row) -> None:
    """Write an object; what stood as a number, null, list or object in JSON is written as it stood."""
    cells = (f"{_json(key)}: {cell.json if isinstance(cell, JsonCell) else _json(cell)}" for key, cell in row.items())
    file.write("{" + ", ".join(cells) + "}\n")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _delimited(file: TextIO, columns: Sequence[str], delimiter: str) -> Write:
    """Return a writer of delimited rows; one with a carriage return is quoted whole: csv leaves that character bare."""
    plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def put(values: Iterable[Any]) -> None:
        cells = ["" if v is None else str(v).lower() if isinstance(v, bool) else _flat(v) for v in values]
        (quoted if any(isinstance(v, str) and "\r" in v for v in cells) else plain).writerow(cells)

    put(columns)
    return lambda row: put(row[column] for column in columns)


def _flat(value: Any) -> Any:
    """Return a list or an object as JSON text, any other value unchanged."""
    return _json(value) if isinstance(value, (list, tuple, dict)) else value


@contextmanager
def _parquet(part: Path, columns: Sequence[str], types: Mapping[str, str]) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"string": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_()}
    schema = pa.schema([(column, kinds[types.get(column, "string")]) for column in columns])
    rows: list[Row] = []
    with pq.ParquetWriter(part, schema) as writer:

        def write(row: Row) -> None:
            rows.append({column: _flat(cell) for column, cell in row.items()})
            if len(rows) >= GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()

        yield write
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))


@contextmanager
def _xlsx(part: Path, out: Path, columns: Sequence[str], types: Mapping[str, str]) -> Iterator[Write]:
    """Write one sheet row by row in constant memory: a bold, frozen header, numbers as numbers, all else as text."""
    import xlsxwriter
    from xlsxwriter.exceptions import XlsxWriterException

    if len(columns) > XLSX_COLUMNS:
        raise ConfigError(f"{out} — .xlsx has room for {XLSX_COLUMNS:,} columns, not {len(columns):,} — write .csv")
    book = xlsxwriter.Workbook(str(part), {"constant_memory": True, "tmpdir": str(part.parent)})
    book.set_properties({"created": datetime(1980, 1, 1)})  # not now: the same rows are the same bytes
    try:
        sheet = _XlsxSheet(book, out, columns, types)
        yield sheet.write
        sheet.set_widths()
        book.close()
    except XlsxWriterException as error:
        raise OSError(f"{out} could not be written ({str(error)[:120]})") from None
    finally:
        book.fileclosed = True  # else a half-written one is closed, with a warning, when it is collected


class _XlsxSheet:
    """The sheet of an .xlsx file; its columns are as wide as the first rows need."""

    def __init__(self, book: Any, out: Path, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self._sheet, self._out, self._columns, self._row = book.add_worksheet("Results"), out, columns, 0
        self._text = [types.get(column, "string") == "string" for column in columns]
        self._widths = [len(column) + 2 for column in columns]
        self._sheet.freeze_panes(1, 0)
        bold = book.add_format({"bold": True})
        for at, column in enumerate(columns):
            self._put_text(at, column, bold)

    def write(self, row: Row) -> None:
        """Write one row below the last; DataError where the sheet is full, or a cell is too long for it."""
        self._row += 1
        if self._row > XLSX_ROWS:
            problem = Problem(Place(str(self._out)), "rows", f"are more than the {XLSX_ROWS:,} of a sheet", INSTEAD)
            raise DataError([problem])
        for at, (column, text) in enumerate(zip(self._columns, self._text, strict=True)):
            value = row[column]
            if value is None:
                continue
            if text:
                self._put_text(at, _flat(value))
            elif isinstance(value, bool):
                self._sheet.write_boolean(self._row, at, value)
            elif math.isfinite(value) and abs(value) <= 2**53:
                self._sheet.write_number(self._row, at, value)
            else:
                self._put_text(at, str(value))

    def _put_text(self, at: int, value: object, form: Any = None) -> None:
        text = str(value)
        if len(text.encode("utf-16-le", "surrogatepass")) // 2 > XLSX_CELL:
            wrong = f"has {len(text):,} characters, and a cell of .xlsx holds {XLSX_CELL:,}: {shown(text, 40)}"
            raise DataError([Problem(Place(str(self._out), self._row + 1), self._columns[at], wrong, INSTEAD)])
        if text:
            self._sheet.write_string(self._row, at, text, form)  # never `write`, which makes formulas and links
        if self._row <= LOOKED_AT:
            self._widths[at] = max(self._widths[at], len(text) + 2)

    def set_widths(self) -> None:
        """Set the columns' widths, at the end, when the first rows are known."""
        for at, width in enumerate(self._widths):
            self._sheet.set_column(at, at, min(width, WIDEST))
