"""A sheet of .xlsx, .xlsm, .xls, .xlsb or .ods, read as it is: no saving as CSV first.

The line of a Place is the row's number as the spreadsheet shows it. Cells come as they are shown, but for their format:
calamine gives 0.25 for 25 % and 12.5 for € 12.50; dates are ISO. Of a formula, its last value counts. The sheet is
chosen where one alone holds texts; lines above the header are left out, which is said.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from filbert.errors import Place, Problem, counted, shown
from filbert.readers.blobs import Blob
from filbert.readers.columns import Roles
from filbert.readers.formats.header import TITLES, has_header
from filbert.readers.formats.sheet_scan import Scan, column_letters
from filbert.readers.formats.tables import Row, Table
from filbert.readers.formats.workbook import Workbook
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.names import known_name
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

SAMPLE = 500
WHOLE = 1e15  # beyond it a number of 15 digits, as spreadsheets keep them, is no exact integer


@dataclass(frozen=True)
class Filled:
    """A row that is not empty: its number from 0, its cells, and the (column → error) cells among them."""

    number: int
    cells: list[str]
    errors: Mapping[int, str]

    @property
    def filled(self) -> list[int]:
        """The columns that hold something."""
        return [at for at, cell in enumerate(self.cells) if cell]


@dataclass(frozen=True)
class Region:
    """Where the table stands in its sheet: columns kept, their names, the row of the first text (from 0)."""

    kept: tuple[int, ...]
    columns: tuple[str, ...]
    header: int | None
    first: int
    titles: tuple[str, ...] = ()
    sample: tuple[Row, ...] = ()


class Sheet:
    """One sheet's rows as strings, columns counted from the first that is filled."""

    def __init__(self, sheet: CalamineSheet, scan: Scan) -> None:
        self._sheet, self.start = sheet, (sheet.start or (0, 0))[1]
        self.height = scan.height
        self._errors: dict[int, dict[int, str]] = {}
        for (row, column), code in scan.errors.items():
            self._errors.setdefault(row, {})[column - self.start] = code
        self._merged = sorted((top, bottom, left - self.start) for top, bottom, left in scan.merged)

    def rows(self, first: int = 0, *, blank: Counter[str] | None = None) -> Iterator[tuple[Filled, frozenset[int]]]:
        """Yield each row that is not empty, from `first`, and the columns that a merged cell above fills in it.

        `blank` counts the empty rows between them.
        """
        merged = [each for each in self._merged if each[0] >= first]
        active: dict[int, tuple[int, str, str | None]] = {}  # column → (last row, value, error)
        at = empty = 0
        for number, values in enumerate(self._sheet.iter_rows()):
            if number < first:
                continue
            cells = [value if value.__class__ is str else as_shown(value) for value in values]
            errors = {c: e for c, e in self._errors.get(number, {}).items() if 0 <= c < len(cells)}
            for column, code in errors.items():
                cells[column] = code
            hollow = not any(cells)
            taken = set()
            for column, (last, value, error) in list(active.items()):
                if number > last:
                    del active[column]
                elif not cells[column]:
                    cells[column] = value
                    taken.add(column)
                    errors |= {column: error} if error else {}
            while at < len(merged) and merged[at][0] <= number:
                _, last, column = merged[at]
                at += 1
                if 0 <= column < len(cells) and cells[column]:
                    active[column] = (last, cells[column], errors.get(column))
            if hollow:
                empty += 1
                continue
            if empty and blank is not None:
                blank["blank rows skipped"] += empty
            empty = 0
            yield Filled(number, cells, errors), frozenset(taken)


class Spreadsheet(Table):
    """One sheet of a spreadsheet; DataError where the sheet cannot be told, listing them all."""

    def __init__(self, blob: Blob, options: ReadOptions, *, labelled: bool = True) -> None:
        self.name, self._labelled = blob.name, labelled
        book = Workbook(blob)
        self.sheet_name, self._sheet, self._region = _choose(book, options, labelled)
        self.columns = self._region.columns
        self.sample: Sequence[Mapping[str, str]] = self._region.sample
        self._current: Row = {}
        region = self._region
        header = "no header (the first row is data; if not, add --header)"
        header = header if region.header is None else f"header in row {region.header + 1}"
        sheet = f", sheet {shown(self.sheet_name)}" if len(book.names) > 1 else ""
        self.found = [f"format: {book.kind} spreadsheet{sheet}, {header}, {counted(len(self.columns), 'column')}"]
        if region.titles:
            listed = ", ".join(shown(title, 40) for title in region.titles)
            self.found.append(f"not used: {counted(len(region.titles), 'line')} above the header ({listed})")

    def raw(self) -> str:
        """Return the current row as JSON."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield (row as the spreadsheet numbers it, cells); an error such as #N/A in a text or a label is a problem."""
        region, start = self._region, self._sheet.start
        read = {name for names in roles.inputs for name in names} | {roles.split}
        read |= roles.columns if self._labelled else set()
        needed = {at: column for at, column in zip(region.kept, self.columns, strict=True) if column in read}
        for row, merged in self._sheet.rows(region.first, blank=ledger.notes):
            self._current = _row(region, row.cells)
            number = row.number + 1
            wrong = next(((at, code) for at, code in row.errors.items() if at in needed), None)
            if wrong is not None:
                at, code = wrong
                what = f"cell {column_letters(start + at)}{number} holds the error {code}"
                todo = "correct its formula in the spreadsheet, or drop the row"
                ledger.reject(Problem(Place(self.name, number), needed[at], what, todo), self.raw())
                continue
            if shared := merged & needed.keys():
                ledger.notes["cells filled in from a merged cell above"] += len(shared)
            yield number, self._current


def _row(region: Region, cells: Sequence[str]) -> Row:
    return {name: cells[at] for at, name in zip(region.kept, region.columns, strict=True)}


def _choose(book: Workbook, options: ReadOptions, labelled: bool) -> tuple[str, Sheet, Region]:
    """Return the sheet that was named, or the one that alone holds texts."""
    if options.sheet is not None:
        name = _named(book, options.sheet)
        sheet = Sheet(*book.sheet(name))
        region = _region(book.name, sheet, options)
        if region is None:
            raise fatal(book.name, "sheet", f"sheet {shown(name)} has no rows", "choose another with --sheet NAME")
        return name, sheet, region
    opened: list[tuple[str, Sheet, Region]] = []
    for names in (book.visible, [name for name in book.names if name not in book.visible]):
        for name in names:
            sheet = Sheet(*book.sheet(name))
            region = _region(book.name, sheet, options)
            if region is not None and len(region.columns) >= (2 if labelled else 1):
                opened.append((name, sheet, region))
        if opened:
            break
    if len(opened) == 1:
        return opened[0]
    if not opened:
        what = "two columns" if labelled else "a column of texts"
        raise fatal(book.name, "sheet", f"no sheet has {what} with a row below the header", "fill one in")
    listed = "; ".join(
        f"{name} ({', '.join(shown(column, 30) for column in region.columns[:8])}, {counted(sheet.height, 'row')})"
        if sheet.height
        else f"{name} ({', '.join(shown(column, 30) for column in region.columns[:8])})"
        for name, sheet, region in opened
    )
    raise fatal(book.name, "sheet", f"{len(opened)} sheets hold a table: {listed}", "say which with --sheet NAME")


def _named(book: Workbook, wanted: str) -> str:
    """Return the sheet of this name, else of this number."""
    if wanted in book.names:
        return wanted
    same = [name for name in book.names if name.strip().casefold() == wanted.strip().casefold()]
    if len(same) == 1:
        return same[0]
    if wanted.isdigit() and 1 <= int(wanted) <= len(book.names):
        return book.names[int(wanted) - 1]
    listed = ", ".join(shown(name, 40) for name in book.names)
    raise fatal(book.name, "sheet", f"there is no sheet {shown(wanted)}", f"choose one of {listed}")


def _region(file: str, sheet: Sheet, options: ReadOptions) -> Region | None:
    """Find the table in a sheet; None where there is no row of data."""
    start: list[Filled] = []
    filled: set[int] = set()
    for row, _ in sheet.rows(options.skip_lines):
        if len(start) < SAMPLE + TITLES:
            start.append(row)
        elif len(filled) < len(row.cells):
            filled.update(row.filled)
    above = _titles(start)
    titles = tuple(next(filter(None, row.cells)) for row in start[:above])
    start = start[above:]
    kept = tuple(sorted(filled.union(*(row.filled for row in start))))
    cells = [[row.cells[at] for at in kept] for row in start]
    header = has_header(cells, options) if cells else False
    if len(cells) <= header:
        return None
    columns = tuple(f"column {at + 1}" for at in range(len(kept)))
    if header:
        columns = tuple(name.strip() or columns[at] for at, name in enumerate(cells[0]))
        twice = [name for name, count in Counter(columns).items() if count > 1]
        if twice:
            wrong = f"the column {shown(twice[0])} stands {columns.count(twice[0])} times"
            raise fatal(file, "header", wrong, "rename one of them", line=start[0].number + 1)
    first = start[0].number + 1 if header else start[0].number
    region = Region(kept, columns, start[0].number if header else None, first, titles)
    sample = [_row(region, row.cells) for row, _ in _first(sheet.rows(first))]
    return Region(kept, columns, region.header, first, titles, tuple(sample))


def _first(rows: Iterator[tuple[Filled, frozenset[int]]]) -> Iterator[tuple[Filled, frozenset[int]]]:
    for _, row in zip(range(SAMPLE), rows, strict=False):
        yield row


def _titles(rows: Sequence[Filled]) -> int:
    """Return how many rows at the top have one cell, no usual name, above a table whose rows mostly have several."""
    widths = [len(row.filled) for row in rows]
    above = next((at for at, width in enumerate(widths[: TITLES + 1]) if width > 1), 0)
    if any(known_name(cell) for row in rows[:above] for cell in row.cells):
        return 0
    below = widths[above:]
    return above if sum(width > 1 for width in below) > len(below) / 2 else 0


def as_shown(value: object) -> str:
    """Return a cell as text: whole numbers without `.0`, dates and times as ISO writes them, true and false.

    >>> as_shown(3.0), as_shown(0.1), as_shown(True), as_shown(datetime(2026, 11, 30, 12, 5))
    ('3', '0.1', 'true', '2026-11-30 12:05:00')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < WHOLE else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        hours, rest = divmod(abs(seconds), 3600)
        return f"{'-' * (seconds < 0)}{hours}:{rest // 60:02}:{rest % 60:02}"
    return value.isoformat() if isinstance(value, date) else str(value)
