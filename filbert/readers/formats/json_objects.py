"""A .json file by what it holds: an array, lines, objects, or one object with rows inside of it, read whole.

One object may hold questions on texts as SQuAD has them (squad.py), splits with lists of rows (CLINC150), rows under
one key (`{"version": 1, "data": […]}`), or a list a column, as pandas writes a frame in one of its four ways. What is
none of these is refused with its shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from filbert.errors import DataError, Place, Problem, counted, shown
from filbert.readers.blobs import Blob, read_whole
from filbert.readers.columns import Roles
from filbert.readers.encodings import Encoding, decode_text
from filbert.readers.formats.exports import LEFT_OUT, not_accepted
from filbert.readers.formats.jsons import (
    DECODER,
    JsonArray,
    JsonLines,
    JsonObjects,
    Twice,
    as_json,
    check_surrogates,
    to_row,
    too_deep,
)
from filbert.readers.formats.sniff import ROWS, sample_lines
from filbert.readers.formats.squad import Squad, like_squad
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.names import SPLITS, known_name
from filbert.readers.shapes import few
from filbert.records import JsonCell

WHOLE = 1 << 30  # bytes of the largest JSON object read at once
HELD_EACH, HELD_MOST, HELD_TIMES = 64, 256 << 20, 32  # bytes for each value; at most, and times the file's size
LISTED = 8  # keys named in a message
DEEPEST = 4  # objects inside of each other that are looked into
FEWEST = 4  # texts with a label each, of which an object without known names is taken to consist
ADVICE = 'save it as JSON lines: one {"text": "…", "label": "…"} a line'

Tables = list[tuple[str | None, Table]]


class Held(Table):
    """Rows in memory, out of a JSON object; the line of a Place is a row's number."""

    nested = True

    def __init__(self, name: str, values: list[Any]) -> None:
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
        return as_json(self._current)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row an element."""
        for number, value in enumerate(self._values, 1):
            self._current = value
            if self.labelled and not_accepted(value):
                ledger.notes[LEFT_OUT] += 1
                continue
            try:
                row = to_row(value, roles)
                check_surrogates(row)
            except ValueError as error:
                ledger.reject(Problem(Place(self.name, number), "row", str(error), "correct it"), self.raw())
                continue
            yield number, row


def open_json(blob: Blob, encoding: Encoding, found: list[str], *, above: int = 0, labelled: bool = False) -> Tables:
    """Return the tables of a file of JSON: an array, lines, objects over several lines, or what one object holds."""
    lines = sample_lines(blob, encoding)[above:]
    head = "".join(lines).lstrip("\ufeff \t\r\n")
    filled = [line for line in head.splitlines() if line.strip()]
    first = _decoded(filled[0].rstrip().removesuffix(",")) if filled else None
    if above or (isinstance(first, dict) and (len(filled) > 1 or blob.suffix != ".json")):
        return [(None, JsonLines(blob, encoding, above=above))]
    if head.startswith("[") and '"qas"' in head:
        value = _whole(blob, encoding)
        if like_squad(value):
            return [(None, Squad(blob.name, value, labelled=labelled))]
    if head.startswith("[") and (first is None or blob.suffix == ".json"):
        return [(None, JsonArray(blob, encoding))]
    lone = len(filled) == 1 and blob.suffix == ".json"  # longer than what was looked at
    if not head.startswith("{") or (first is None and not lone and not _over_lines(head)):
        return [(None, JsonLines(blob, encoding))]
    if isinstance(first, dict) or _alone(head):
        value = _whole(blob, encoding)
        return _inside(blob, value, found, labelled) if isinstance(value, dict) else [(None, JsonLines(blob, encoding))]
    return [(None, JsonObjects(blob, encoding))]


def _decoded(text: str) -> object:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _over_lines(head: str) -> bool:
    """Tell whether the first line ends inside of an object, where JSON may go on: after a brace, comma or bracket."""
    return head.splitlines()[0].rstrip().endswith(("{", ",", "[", ":"))


def _alone(head: str) -> bool:
    """Tell whether one object fills the first megabyte, or no second one is seen in it."""
    try:
        _, stop = DECODER.raw_decode(head)
    except (ValueError, RecursionError):
        return True
    return not head[stop:].strip(" \t\r\n,")


def _whole(blob: Blob, encoding: Encoding) -> Any:
    data = read_whole(blob, WHOLE, ADVICE)
    held = HELD_EACH * sum(data.count(mark) for mark in b",[{")  # a list, an object or a string for each of them
    if held > HELD_MOST + HELD_TIMES * blob.stored:
        raise fatal(blob.name, "file", f"is a JSON object that takes some {held >> 20:,} MB in memory", ADVICE)
    try:
        return DECODER.decode(decode_text(data, blob.name, encoding.codec))
    except json.JSONDecodeError as error:
        raise fatal(blob.name, "file", f"is not JSON: {error.msg}", "correct it", line=error.lineno) from None
    except (Twice, RecursionError) as error:
        raise fatal(blob.name, "file", too_deep(error), "correct it") from None


def _inside(blob: Blob, value: dict[str, Any], found: list[str], labelled: bool, deeper: int = DEEPEST) -> Tables:
    """Return the tables inside of one object, `deeper` objects inside of it at most."""
    if like_squad(value):
        return [(None, Squad(blob.name, value, labelled=labelled))]
    lists = {key: cell for key, cell in value.items() if isinstance(cell, list)}
    if any(key.lower() in SPLITS for key in lists):
        return _splits(blob.name, value, lists, found)
    if {"columns", "data"} <= set(lists) and all(isinstance(row, list) for row in lists["data"]):
        names = [str(name) for name in lists["columns"]]
        return _held(blob.name, "a frame split into columns and data", _zipped(blob.name, names, lists["data"]), found)
    rows = [key for key, cell in lists.items() if cell and all(isinstance(row, dict) for row in cell)]
    if len(rows) == 1 and not any(map(known_name, value.keys() - rows)):
        return _held(f"{blob.name}[{rows[0]}]", f"JSON, the rows under {shown(rows[0])}", lists[rows[0]], found)
    if value and len(lists) == len(value) and any(map(known_name, value)):
        columns = _same_length(blob.name, lists)
        return _held(blob.name, "JSON, a list a column", columns, found)
    if pairs := _without_names(value, lists):
        return _held(blob.name, *pairs, found)
    frames = [cell for cell in value.values() if isinstance(cell, dict)]
    if value and len(frames) == len(value) and (len(frames) > 1 or _is_frame(value)):
        return _frame(blob.name, value, found)
    if value and not any(isinstance(cell, (list, dict)) for key, cell in value.items() if not known_name(key)):
        return _held(blob.name, "one JSON object", [value], found)
    if deeper and len(frames) == 1 and not any(map(known_name, value)):  # {"version": 1, "result": {"rows": […]}}
        return _inside(blob, frames[0], found, labelled, deeper - 1)
    raise _none_of_these(blob.name, value)


def _without_names(value: Mapping[str, Any], lists: Mapping[str, list[Any]]) -> tuple[str, list[Any]] | None:
    """Return the rows of `{"a text": "its label", …}`, or of `{"a label": ["a text", …], …}`, and how to call it."""
    if len(value) < 2 or any(map(known_name, value)):
        return None
    cells = list(value.values())
    if all(isinstance(cell, str) for cell in cells) and len(cells) >= FEWEST and few(cells):
        return "JSON, a label at each text", [{"text": text, "label": label} for text, label in value.items()]
    texts = [cell for cell in lists.values() if cell and all(isinstance(text, str) for text in cell) and not few(cell)]
    sizes = set(map(len, texts))
    if len(texts) < len(value) or (len(sizes) == 1 and sum(map(len, texts)) < 2 * FEWEST):  # may be a list a column
        return None
    rows = [{"text": text, "label": label} for label, each in value.items() for text in each]
    return "JSON, a list of texts for each label", rows


def _is_frame(value: Mapping[str, dict[str, Any]]) -> bool:
    """Tell whether one object inside of an object may be a column, or a row, of a frame."""
    return any(map(known_name, value)) or any(known_name(key) for cells in value.values() for key in cells)


def _held(name: str, what: str, values: list[Any], found: list[str]) -> Tables:
    table = Held(name, values)
    found.append(f"format: {what}, {counted(len(values), 'row')}")
    return [(None, table)]


def _splits(name: str, value: Mapping[str, Any], lists: Mapping[str, list[Any]], found: list[str]) -> Tables:
    named = {key: SPLITS[key.lower()] for key in lists if key.lower() in SPLITS}
    found.append("format: a JSON object of splits")
    for key in value:
        if key not in named:
            size = counted(len(lists[key]), "row") if key in lists else "not a list"
            found.append(f"not used: {shown(key)} ({size})")
    return [(split, Held(f"{name}[{key}]", lists[key])) for key, split in named.items()]


def _zipped(name: str, columns: list[str], rows: list[list[Any]]) -> list[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise fatal(name, "data", f"row {number:,} has {len(row)} cells, not {len(columns)}", "correct it")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _same_length(name: str, lists: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    sizes = {key: len(cells) for key, cells in lists.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{shown(key, 30)} {size:,}" for key, size in list(sizes.items())[:LISTED])
        raise fatal(name, "file", f"has a list a column, but not of one length: {listed}", "correct it")
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _frame(name: str, value: Mapping[str, dict[str, Any]], found: list[str]) -> Tables:
    """Return the rows of `{"text": {"0": …}, "label": {"0": …}}`, or of `{"0": {"text": …, "label": …}}`."""
    if any(map(known_name, value)):
        keys = list(next(iter(value.values())))
        if any(list(cells) != keys for cells in value.values()):
            listed = ", ".join(f"{shown(key, 30)} {len(cells):,}" for key, cells in list(value.items())[:LISTED])
            raise fatal(name, "file", f"has columns with different row numbers: {listed}", "correct it")
        rows = [{column: cells[key] for column, cells in value.items()} for key in keys]
        return _held(name, "JSON, a column an object, as pandas writes a frame", rows, found)
    if any(known_name(key) for cells in list(value.values())[:ROWS] for key in cells):
        return _held(name, "JSON, a row an object under its key", list(value.values()), found)
    raise _none_of_these(name, value)


def _none_of_these(name: str, value: Mapping[str, Any]) -> DataError:
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        JsonCell: "a number",
        type(None): "null",
        bool: "true or false",
    }
    listed = ", ".join(
        f"{shown(key, 30)} ({kinds[type(cell)]}{f' of {len(cell):,}' if isinstance(cell, (list, dict)) else ''})"
        for key, cell in list(value.items())[:LISTED]
    )
    more = f" and {len(value) - LISTED} more" if len(value) > LISTED else ""
    wrong = f"is one JSON object in which no rows can be told: {listed or 'it is empty'}{more}"
    return fatal(name, "file", wrong, ADVICE)
