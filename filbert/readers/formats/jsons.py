"""JSON lines, a JSON array of objects, and objects one after the other, all streamed; the rest is in json_objects.py.

Numbers keep their source text: 1 is "1" and 1.0 "1.0"; what they mean is the task's to say. What is no string stays
what it was where it is written to JSON lines again.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import closing

from filbert.errors import Place, Problem, shown
from filbert.readers.blobs import Blob, guarded, read_fully
from filbert.readers.columns import Roles
from filbert.readers.encodings import BLOCK, Encoding
from filbert.readers.formats.exports import LEFT_OUT, not_accepted, plain_object
from filbert.readers.formats.sniff import ROWS
from filbert.readers.formats.tables import LineTable, Row, Table
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import LIMIT
from filbert.records import JsonCell

HALF = 0.5  # from this number on a label of an object holds
SAMPLED = 4 << 20  # characters of the rows looked at


class Twice(ValueError):
    """A key that stands twice in one object."""


def too_deep(error: Exception) -> str:
    """Return what is wrong with JSON that holds a key twice, or is nested deeper than Python reads.

    >>> too_deep(RecursionError("maximum recursion depth exceeded")), too_deep(Twice("a key stands twice"))
    ('is nested too deeply', 'a key stands twice')
    """
    return str(error) if isinstance(error, Twice) else "is nested too deeply"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise Twice("a key stands twice in one object")
    return made


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=JsonCell, parse_float=JsonCell, parse_constant=JsonCell)


def as_text(value: object) -> str:
    """Return a JSON value as a cell: strings and numbers as they stood, null as nothing, the rest as JSON.

    >>> as_text(True), as_text(None), as_text(DECODER.decode('[1.0, "a"]'))
    ('true', '', '[1.0, "a"]')
    """
    if isinstance(value, str):
        return value
    try:
        made = as_json(value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return JsonCell("" if value is None else made, made)


def as_json(value: object) -> str:
    """Return a decoded value as JSON, its numbers as they stood: unlike `json.dumps`, which knows no text of them.

    >>> as_json(DECODER.decode('{"n": [1.0, 1e400, null]}'))
    '{"n": [1.0, 1e400, null]}'
    """
    if isinstance(value, JsonCell):
        return value.json
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {as_json(value[key])}" for key in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def to_row(value: object, roles: Roles | None) -> Row:
    """Return an object's cells; raises ValueError with what is wrong where a text cannot be that."""
    value = plain_object(value)
    if not isinstance(value, dict):
        raise ValueError(f"is not an object: {shown(value)}")
    if roles is not None:
        _check_inputs(value, roles)
    return {key: cell if cell.__class__ is str else as_text(cell) for key, cell in value.items()}


def _check_inputs(value: dict[str, object], roles: Roles) -> None:
    """Raise where a text is missing, or is a list or object."""
    for columns in roles.inputs:
        lacking = True
        for column in columns:
            if column in value:
                lacking = False
                if value[column].__class__ in (list, dict):
                    raise ValueError(f"its {shown(column)} is not a string: {shown(value[column])}")
        if lacking:
            raise ValueError(f"has no {shown(columns[0])}")


def parse_row(text: str, roles: Roles | None) -> Row:
    """Return the row of one JSON text; raises ValueError with what is wrong."""
    return _row_of(_decoded(text), text, roles)


def _row_of(value: object, text: str, roles: Roles | None) -> Row:
    row = to_row(value, roles)
    if "\\u" in text:
        check_surrogates(row)
    return row


def _decoded(text: str) -> object:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.rstrip().endswith(","):
            return _decoded(text.rstrip()[:-1])
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def held_keys(cell: str) -> str:
    """Return the keys of an object of numbers that are at least one half, as a JSON array; other cells unchanged.

    >>> held_keys('{"pos": "1", "neg": 0.2}')
    '["pos"]'
    """
    if '"answer_start"' in cell:
        return cell  # an answer and its place, not labels
    try:
        value = json.loads(cell)
        numbers = {key: float(number or 0) for key, number in value.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return cell
    return json.dumps([key for key, number in numbers.items() if number >= HALF], ensure_ascii=False)


def check_surrogates(row: Row) -> None:
    """Raise ValueError where a cell or key holds half a character."""
    for key, value in row.items():
        if re.search("[\ud800-\udfff]", key + value):
            raise ValueError(f"its {shown(key)} holds half a character (a lone surrogate): {shown(value)}")


class JsonLines(LineTable):
    """One object a line."""

    nested = True

    def __init__(self, blob: Blob, encoding: Encoding, *, above: int = 0) -> None:
        super().__init__(blob, encoding, above=above)
        self.sample: list[Row] = []
        for line in self.sample_lines()[:ROWS]:
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
                value = _decoded(line)
                if self.labelled and not_accepted(value):
                    ledger.notes[LEFT_OUT] += 1
                    continue
                row = _row_of(value, line, roles)
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
        room = SAMPLED
        for _, value in self._values():
            if len(self.sample) >= ROWS or room < 0:
                break
            try:
                row = to_row(value, None)
            except ValueError:
                continue
            self.sample.append(row)
            room -= sum(map(len, row.values()))
        self.columns = tuple(dict.fromkeys(key for row in self.sample for key in row))
        self.found = [self._found()]

    def _found(self) -> str:
        return f"format: a JSON array, {len(self.columns)} keys"

    def raw(self) -> str:
        """Return the current element as JSON."""
        return as_json(self._current)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row an element, with the line it begins on."""
        for line, value in self._values():
            self._current = value
            if self.labelled and not_accepted(value):
                ledger.notes[LEFT_OUT] += 1
                continue
            try:
                row = to_row(value, roles)
                check_surrogates(row)
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
            except (Twice, RecursionError) as error:
                raise fatal(self.name, "row", too_deep(error), "correct it", line) from None
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
_GAP = re.compile(r"\s*,?\s*")


def _element(buffer: str, at: int, before: re.Pattern[str]) -> tuple[int, object, int] | None:
    """Return (start, element, stop) of the next one, None at the array's end; raises where the buffer ends first."""
    if before is _COMMA and _CLOSE.match(buffer, at):
        return None
    gap = before.match(buffer, at)
    if gap is None or gap.end() == len(buffer):
        raise json.JSONDecodeError("an element or ] was expected", buffer, at)
    if before is _OPEN and buffer[gap.end()] == "]":
        return None
    value, stop = DECODER.raw_decode(buffer, gap.end())
    return gap.end(), value, stop


class JsonObjects(JsonArray):
    """JSON objects one after the other, each over several lines, streamed; a comma may stand between them."""

    def _found(self) -> str:
        return f"format: JSON objects over several lines, {len(self.columns)} keys"

    def _values(self) -> Iterator[tuple[int, object]]:
        chunks, buffer, at, line = self._chunks(), "", 0, 1
        while True:
            start = _GAP.match(buffer, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            try:
                value, stop = DECODER.raw_decode(buffer, start)
            except (Twice, RecursionError) as error:
                raise fatal(self.name, "row", too_deep(error), "correct it", line) from None
            except json.JSONDecodeError as error:
                more = next(chunks, None) if len(buffer) - at <= LIMIT else None
                if more is None and start == len(buffer):
                    return
                if more is None:
                    bad_line = line + buffer.count("\n", at, error.pos)
                    wrong = f"is not JSON: {error.msg}: {shown(buffer[error.pos : error.pos + 40])}"
                    raise fatal(self.name, "row", wrong, "correct it", bad_line) from None
                buffer, at = buffer[at:] + more, 0
                continue
            line += buffer.count("\n", at, start)
            yield line, value
            line += buffer.count("\n", start, stop)
            at = stop
