"""JSON lines, a JSON array of objects, and an object of split → list of [text, label] pairs (CLINC150).

Numbers keep their source text: label 01 cannot be JSON, 1 is "1", and 1.0 is an error, since two spellings of one
float would be two classes. The array is streamed; only the object of splits is read whole.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import closing

from filbert.errors import DataError, Place, Problem, shown
from filbert.readers.blobs import Blob, guarded, read_fully
from filbert.readers.columns import Roles
from filbert.readers.encodings import BLOCK, Encoding, decode_text
from filbert.readers.formats.sniff import ROWS, sample_lines
from filbert.readers.formats.tables import LineTable, Row, Table
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import LIMIT
from filbert.readers.names import SPLITS

WHOLE = 1 << 30  # bytes of the largest JSON object read at once


class _Float(str):
    """A JSON float or NaN, as it stood."""


class _Twice(ValueError):
    """A key that stands twice in one object."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Twice("a key stands twice in one object")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=str, parse_float=_Float, parse_constant=_Float)


def as_text(value: object) -> str:
    """Return a JSON value as a cell: strings and numbers as they stood, null as nothing, the rest as JSON.

    >>> as_text(True), as_text(None), as_text([1, "a"])
    ('true', '', '[1, "a"]')
    """
    if isinstance(value, str):
        return str(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def to_row(value: object, roles: Roles | None) -> Row:
    """Return an object's cells; raises ValueError with what is wrong where a text cannot be that."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(cell, str) for cell in value):
        value = {"text": value[0], "label": value[1]}
    if not isinstance(value, dict):
        raise ValueError(f"is not an object: {shown(value)}")
    if roles is not None:
        _check_inputs(value, roles)
    return {key: cell if cell.__class__ is str else as_text(cell) for key, cell in value.items()}


def _check_inputs(value: dict[str, object], roles: Roles) -> None:
    """Raise where a text is missing, or is a list or object."""
    for columns in roles.inputs:
        there = [column for column in columns if column in value]
        if not there:
            raise ValueError(f"has no {shown(columns[0])}")
        for column in there:
            if isinstance(value[column], (list, dict)):
                raise ValueError(f"its {shown(column)} is not a string: {shown(value[column])}")


def parse_row(text: str, roles: Roles | None) -> Row:
    """Return the row of one JSON text; raises ValueError with what is wrong."""
    try:
        row = to_row(_DECODER.decode(text), roles)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if "\\u" in text:
        _check_surrogates(row)
    return row


def _check_surrogates(row: Row) -> None:
    for key, value in row.items():
        if re.search("[\ud800-\udfff]", key + value):
            raise ValueError(f"its {shown(key)} holds half a character (a lone surrogate): {shown(value)}")


class JsonLines(LineTable):
    """One object a line."""

    nested = True

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        super().__init__(blob, encoding)
        self.sample: list[Row] = []
        for line in sample_lines(blob, encoding)[:ROWS]:
            try:
                self.sample.append(parse_row(line, None))
            except ValueError:
                continue
        self.columns = tuple(dict.fromkeys(key for row in self.sample for key in row))
        self.found = [f"format: JSON lines, {len(self.columns)} keys"]

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row a line, blank lines left out."""
        for number, line in self.numbered(ledger):
            if not line.strip():
                ledger.notes["blank lines skipped"] += 1
                continue
            try:
                row = parse_row(line, roles)
            except ValueError as error:
                ledger.reject(Problem(Place(self.name, number), "row", str(error), "correct the line"), self.line)
                continue
            yield number, row


class JsonArray(Table):
    """A JSON array of objects, streamed."""

    nested = True

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        self.name, self._blob, self._encoding = blob.name, blob, encoding
        self.sample: list[Row] = []
        self._current: object = None
        for _, value in self._values():
            if len(self.sample) >= ROWS:
                break
            try:
                self.sample.append(to_row(value, None))
            except ValueError:
                continue
        self.columns = tuple(dict.fromkeys(key for row in self.sample for key in row))
        self.found = [f"format: a JSON array, {len(self.columns)} keys"]

    def raw(self) -> str:
        """Return the current element as JSON."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row an element, with the line it begins on."""
        for line, value in self._values():
            self._current = value
            try:
                row = to_row(value, roles)
                _check_surrogates(row)
            except ValueError as error:
                ledger.reject(Problem(Place(self.name, line), "row", str(error), "correct the object"), self.raw())
                continue
            yield line, row

    def _chunks(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._encoding.codec)()
        with guarded(self.name), closing(self._blob.open()) as stream:
            read_fully(stream, self._encoding.bom)
            try:
                while block := read_fully(stream, BLOCK):
                    yield decoder.decode(block)
                yield decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise fatal(self.name, "encoding", str(error), "correct the byte, or give --encoding") from None

    def _values(self) -> Iterator[tuple[int, object]]:
        """Yield (line, element); only a chunk and the element that runs over its end are in memory."""
        chunks, buffer, at, line, before = self._chunks(), "", 0, 1, _OPEN
        while True:
            try:
                found = _element(buffer, at, before)
            except (_Twice, RecursionError) as error:
                raise fatal(self.name, "row", f"{error or 'is nested too deeply'}", "correct it", line) from None
            except json.JSONDecodeError as error:
                more = next(chunks, None) if len(buffer) - at <= LIMIT else None
                if more is None:
                    wrong = f"is not JSON: {error.msg}: {shown(buffer[error.pos : error.pos + 40])}"
                    bad_line = line + buffer.count("\n", at, error.pos)
                    raise fatal(self.name, "row", wrong, "correct it", bad_line) from None
                buffer, at = buffer[at:] + more, 0
                continue
            if found is None:
                break
            start, value, stop = found
            line += buffer.count("\n", at, start)
            yield line, value
            line += buffer.count("\n", start, stop)
            at, before = stop, _COMMA
        rest = buffer[at:].lstrip().lstrip("[").lstrip().removeprefix("]")
        if rest.strip() or any(more.strip() for more in chunks):
            raise fatal(self.name, "row", f"more follows the end of the array: {shown(rest)}", "correct it", line)


_OPEN, _COMMA, _CLOSE = re.compile(r"\s*\[\s*"), re.compile(r"\s*,\s*"), re.compile(r"\s*\]")


def _element(buffer: str, at: int, before: re.Pattern[str]) -> tuple[int, object, int] | None:
    """Return (start, element, stop) of the next one, None at the array's end; raises where the buffer ends first."""
    if before is _COMMA and _CLOSE.match(buffer, at):
        return None
    gap = before.match(buffer, at)
    if gap is None or gap.end() == len(buffer):
        raise json.JSONDecodeError("an element or ] was expected", buffer, at)
    if before is _OPEN and buffer[gap.end()] == "]":
        return None
    value, stop = _DECODER.raw_decode(buffer, gap.end())
    return gap.end(), value, stop


class Pairs(Table):
    """One split of a JSON object of splits, already in memory."""

    nested = True

    def __init__(self, name: str, values: list[object]) -> None:
        self.name, self._values = name, values
        self._current: object = None
        self.sample: list[Row] = []
        for value in values[:ROWS]:
            try:
                self.sample.append(to_row(value, None))
            except ValueError:
                continue
        self.columns = tuple(dict.fromkeys(key for row in self.sample for key in row))
        self.found: list[str] = []
        pairs = bool(values) and isinstance(values[0], list)
        self.roles = Roles((("text",),), "label", how="columns — [text, label] pairs") if pairs else None

    def raw(self) -> str:
        """Return the current element as JSON."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row an element; the line is its number in the split."""
        for number, value in enumerate(self._values, 1):
            self._current = value
            try:
                row = to_row(value, roles)
                _check_surrogates(row)
            except ValueError as error:
                ledger.reject(Problem(Place(self.name, number), "row", str(error), "correct it"), self.raw())
                continue
            yield number, row


def open_json(blob: Blob, encoding: Encoding, found: list[str]) -> list[tuple[str | None, Table]]:
    """Return the tables of a .json file: an array, lines after all, or one for each split of an object."""
    head = "".join(sample_lines(blob, encoding)).lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return [(None, JsonArray(blob, encoding))]
    lines = [line for line in head.splitlines() if line.strip()]
    try:
        first = _DECODER.decode(lines[0] if lines else "")
    except (ValueError, RecursionError):
        first = None
    splits = isinstance(first, dict) and first and all(isinstance(value, list) for value in first.values())
    if isinstance(first, dict) and not splits:
        return [(None, JsonLines(blob, encoding))]
    return _splits(blob, encoding, found)


def _splits(blob: Blob, encoding: Encoding, found: list[str]) -> list[tuple[str | None, Table]]:
    with guarded(blob.name), closing(blob.open()) as stream:
        data = read_fully(stream, WHOLE + 1)
    if len(data) > WHOLE:
        raise fatal(blob.name, "file", "is a JSON object of over 1 GB", "save it as JSON lines")
    try:
        value = _DECODER.decode(decode_text(data, blob.name, encoding.codec))
    except json.JSONDecodeError as error:
        raise fatal(blob.name, "file", f"is not JSON: {error.msg}", "correct it", line=error.lineno) from None
    except (_Twice, RecursionError) as error:
        raise fatal(blob.name, "file", f"{error or 'is nested too deeply'}", "correct it") from None
    lists = {key: cell for key, cell in value.items() if isinstance(cell, list)} if isinstance(value, dict) else {}
    named = {key: SPLITS[key.lower()] for key in lists if key.lower() in SPLITS}
    if not named:
        raise _not_splits(blob.name, value)
    found.append("format: a JSON object of splits")
    for key in value:
        if key not in named:
            size = f"{len(lists[key]):,} rows" if key in lists else "not a list"
            found.append(f"not used: {shown(key)} ({size})")
    return [(split, Pairs(f"{blob.name}[{key}]", lists[key])) for key, split in named.items()]


def _not_splits(name: str, value: object) -> DataError:
    if isinstance(value, dict) and "data" in value and "paragraphs" in str(value["data"])[:2000]:
        return fatal(
            name, "file", "is question answering in the SQuAD layout, not labelled texts", "see `filbert answer`"
        )
    return fatal(name, "file", "is a JSON object without lists named train, dev or test", "save it as JSON lines")
