"""Strict records of a CSV or TSV file over the standard library's `csv`, which does not know physical lines.

Why ours: pandas, pyarrow, polars and datasets each merge, shift or drop rows of some broken files silently (FAULTS.md,
D05-D07). Here an unclosed quote is named where it OPENED and swallows nothing, a stray quote that merges rows is an
error, and a row with a field too many or few never shifts a column. No guessing of delimiters here (see sniff.py).
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypedDict

from filbert.errors import Place, Problem, counted, shown
from filbert.readers.ledger import Ledger
from filbert.readers.lines import LIMIT, BadLine

MAX_LINES = 10_000  # of one record; an open quote is given up after them
MANY_LINES = 20  # of one record, before it is worth a warning


@dataclass(frozen=True)
class Shape:
    """What a record looks like: delimiter, quoting, number of fields; the label's place and labels seen, if known."""

    delimiter: str
    quotes: bool
    width: int
    label_at: int | None = None
    labels: frozenset[str] = field(default=frozenset())
    blanks: bool = False  # between a delimiter and a quote, no part of a field


class _Dialect(TypedDict):
    delimiter: str
    quoting: Literal[0, 3]
    skipinitialspace: bool


def dialect(shape: Shape) -> _Dialect:
    """Return the options of csv.reader that read a shape."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if shape.quotes else csv.QUOTE_NONE
    return {"delimiter": shape.delimiter, "quoting": quoting, "skipinitialspace": shape.blanks}


class _Broken(Exception):
    """A record that cannot stand as it is; the lines after the one it is blamed on are to be read again."""


class Records:
    r"""Iterates (line number, fields) of the sound records; the others go to the ledger with their lines.

    >>> ledger = Ledger()
    >>> rows = Records(["good,pos\n", '"bad,neg\n', "fine,pos\n"], Shape(",", True, 2), "a.csv", ledger)
    >>> list(rows), str(ledger.problems[0].place)
    ([(1, ['good', 'pos']), (3, ['fine', 'pos'])], 'a.csv:2')
    """

    def __init__(self, lines: Iterable[str], shape: Shape, name: str, ledger: Ledger, *, before: int = 0) -> None:
        self._lines = iter(lines)
        self._shape, self._name, self._ledger = shape, name, ledger
        self._held: list[str] = []  # physical lines of the record being read
        self._again: deque[str] = deque()  # lines a broken record had swallowed
        self._suspect = False  # the current record begins among those
        self._wary = False  # a quote was given up, its other end is still to come
        self._line = before  # last line done with
        self._first = before + 1
        self._bad: BadLine | None = None
        self._size = 0

    def raw(self) -> str:
        """Return the current record as it stands in the file."""
        return "".join(self._held)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(max(csv.field_size_limit(), LIMIT + 1))
        while True:
            yield from self._until_broken()
            if self._bad is not None:
                self._line += 1
                bad, self._bad = self._bad, None
                self._problem(self._line, "row", bad.wrong, bad.todo, bad, cut=bad.cut)
            elif not self._again and not self._more:
                return

    def _until_broken(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(self._feed(), strict=True, **dialect(self._shape))
        base, held, width = self._line, self._held, self._shape.width
        try:
            for fields in reader:
                if len(fields) == width and len(held) == 1 and not self._suspect:
                    yield base + reader.line_num, fields
                elif self._sound(fields, base + reader.line_num - len(held) + 1):
                    yield base + reader.line_num - len(held) + 1, fields
                held.clear()
                self._size = 0
            self._line = base + reader.line_num
        except (csv.Error, _Broken) as error:
            first = base + reader.line_num - len(held) + 1
            if "new-line character" in str(error) and len(held) == 1:
                yield from self._torn(first)
            else:
                self._blame(first, error)
            held.clear()
            self._size = 0

    def _feed(self) -> Iterator[str]:
        """Give csv its lines one by one, and end early where a record must end: an unreadable line, a limit."""
        held, self._more = self._held, True
        while self._again:
            line = self._again.popleft()
            if line.__class__ is BadLine:
                self._bad = line
                return
            self._suspect = self._suspect if held else True
            held.append(line)
            yield line
        for line in self._lines:
            if line.__class__ is BadLine:
                self._bad, self._wary = line, self._wary or bool(held)
                return
            if held:
                self._size += len(line)
                if len(held) >= MAX_LINES or self._size > LIMIT:
                    self._again.append(line)
                    self._wary = True
                    return
            else:
                self._suspect = self._wary
                self._wary = self._wary and '"' not in line
            held.append(line)
            yield line
        self._more = False

    def _torn(self, line: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows of one line that are whole on each side of a lone CR; else none of it can be told."""
        pieces = [piece for piece in re.split(r"\r+", self._held[0].rstrip("\r\n")) if piece]
        rows = list(csv.reader(pieces, **dialect(self._shape)))
        self._line = line
        if len(rows) == len(pieces) and all(len(row) == self._shape.width for row in rows):
            for row in rows:
                yield line, row
            return
        wrong = f"a carriage return (CR) stands inside of the row: {shown(self.raw())}"
        self._problem(line, "row", wrong, "take it out, or put the text in quotes", self.raw())

    def _sound(self, fields: list[str], line: int) -> bool:
        """Look closer at a record that is not one plain line of the right width."""
        width, held = self._shape.width, self._held
        if not fields or (len(fields) == 1 and width > 1 and not fields[0].strip()):
            if width > 1:
                self._ledger.notes["blank lines skipped"] += 1
                return False
            fields[:] = fields or [""]
        if self._suspect and self._shape.quotes and stray_quote(self.raw(), self._shape.delimiter, self._shape.blanks):
            raise _Broken("a quote stands in the middle of a field")
        if len(held) > 1 and (len(fields) != width or self._looks_merged(fields)):
            raise _Broken("merges")
        if len(fields) != width:
            many = "more" if len(fields) > width else "fewer"
            wrong = (
                f"has {counted(len(fields), 'field')}, {many} than the {counted(width, 'column')}: {shown(self.raw())}"
            )
            todo = _quote_hint(len(fields) > width, self._shape)
            if line == self._first:
                todo += "; lines above the table are left out by --skip-lines"
            self._problem(line, "row", wrong, todo, self.raw())
            return False
        if len(held) > MANY_LINES:
            self._ledger.notes[f"records over {MANY_LINES} lines"] += 1
        return True

    def _looks_merged(self, fields: list[str]) -> bool:
        """Tell whether lines a quote runs over are rows of their own: right width, a known label in its place.

        The first line has its label before an opening quote, the last one after the closing one, in a sound record
        too; so they count only where the label stands on the other side. Without labels, three rows in a row must fit.
        """
        shape, held = self._shape, self._held
        if shape.label_at is None:
            inner = [line.rstrip("\r\n").split(shape.delimiter) for line in held[1:-1]]
            return shape.width > 1 and len(inner) >= 3 and all(len(row) == shape.width for row in inner)
        opened = next(at for at, cell in enumerate(fields) if "\n" in cell or "\r" in cell)
        lines = held[shape.label_at <= opened : len(held) - (shape.label_at >= opened)]
        rows = [line.rstrip("\r\n").split(shape.delimiter) for line in lines]
        return any(
            len(row) == shape.width and row[shape.label_at].strip(' "' if shape.blanks else '"') in shape.labels
            for row in rows
        )

    def _blame(self, line: int, error: Exception) -> None:
        """Reject the record up to the line where its quote opened; what it swallowed after that is read again."""
        at = open_quote(self._held, self._shape.delimiter, self._shape.blanks)
        last = line + len(self._held) - 1
        opened = line + at
        todo = 'close it there; write a quote inside a quoted text twice ("")'
        if isinstance(error, _Broken) and last == line:
            wrong = str(error)
        elif "end of data" in str(error):
            end = f"not closed by line {last:,}" if self._more else "never closed"
            wrong = f"a quote opens here and is {end}"
        elif last == opened:
            wrong = "text follows a closing quote"
        else:
            wrong = f"a quote opens here and merges lines {opened:,} to {last:,}"
        raw = "".join(self._held[: at + 1])
        self._problem(opened, "row", f"{wrong}: {shown(self._held[at])}", todo, raw)
        if self._bad is not None:
            self._again.append(self._bad)
            self._bad = None
        self._again.extendleft(reversed(self._held[at + 1 :]))
        self._line = opened

    def _problem(self, line: int, field: str, wrong: str, todo: str, raw: str, *, cut: bool = False) -> None:
        self._ledger.reject(Problem(Place(self._name, line), field, wrong, todo), raw, cut=cut)


class CutRecords(Records):
    r"""The same where several characters separate fields: cut at each, quotes plain characters, a record a line.

    >>> list(CutRecords(["1_!_fine\n", "2\n"], Shape("_!_", False, 2), "a.txt", Ledger()))
    [(1, ['1', 'fine'])]
    """

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for line in self._lines:
            self._line += 1
            if isinstance(line, BadLine):
                self._problem(self._line, "row", line.wrong, line.todo, line, cut=line.cut)
                continue
            self._held[:] = [line]
            fields = line.rstrip("\r\n").split(self._shape.delimiter)
            if self._sound(fields, self._line):
                yield self._line, fields


def records(lines: Iterable[str], shape: Shape, name: str, ledger: Ledger, *, before: int = 0) -> Records:
    """Return the strict records of a shape, whatever separates its fields; `before` lines stand above the first."""
    kind = CutRecords if len(shape.delimiter) > 1 else Records
    return kind(lines, shape, name, ledger, before=before)


def _quote_hint(too_many: bool, shape: Shape) -> str:
    if too_many and shape.quotes:
        return f'put a text that holds {shown(shape.delimiter)} in quotes ("…")'
    return "add or remove fields, or drop the row"


def open_quote(lines: list[str], delimiter: str, blanks: bool = False) -> int:
    r"""Return the index of the line on which the last quoted field of a broken record opens.

    >>> open_quote(['1,"a\n', 'b","c\n', "d\n"], ",")
    1
    """
    opened, inside = 0, False
    for index, line in enumerate(lines):
        at, start = 0, True  # start: at the beginning of a field
        while at < len(line):
            if inside:
                at = line.find('"', at)
                if at < 0:
                    break
                if line[at + 1 : at + 2] == '"':
                    at += 2
                    continue
                if line[at + 1 : at + 2] not in (delimiter, "\r", "\n", ""):
                    return opened
                inside, at = False, at + 1
            elif start and line[at] == '"':
                inside, opened, at = True, index, at + 1
            elif start and blanks and line[at] == " ":
                at += 1
                continue
            start = not inside and line[at : at + 1] == delimiter
            at = at if inside else at + 1
    return opened


def stray_quote(record: str, delimiter: str, blanks: bool = False) -> bool:
    """Tell whether a record has a quote that neither opens nor closes a field.

    >>> stray_quote('he is 5"6,pos', ","), stray_quote('"a ""b"" c",pos', ",")
    (True, False)
    """
    return '"' in record and _well_quoted(delimiter, blanks).fullmatch(record.rstrip("\r\n")) is None


@lru_cache(maxsize=8)
def _well_quoted(delimiter: str, blanks: bool) -> re.Pattern[str]:
    d = re.escape(delimiter)
    cell = f'(?:{" *" * blanks}"(?:[^"]|"")*"|[^"{d}]*)'
    return re.compile(f"{cell}(?:{d}{cell})*")
