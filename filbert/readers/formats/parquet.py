"""Parquet, streamed batch by batch; integer labels get their names where the file says them (Hugging Face ClassLabel).

The line of a Place is the row's number from 1. Cells become strings; lists and structs JSON, null nothing; dates and
times as Arrow writes them, since Python has neither nanoseconds nor years before 1; durations are numbers. Texts that
a file holds once for many rows are one string here, too.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filbert.errors import DataError, Place, Problem, counted, shown
from filbert.readers.blobs import Blob, guarded
from filbert.readers.columns import Roles
from filbert.readers.formats.parquet_pages import Broken, unpacked_sizes
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal

BATCH = 2_048  # rows, fewer where they are so long that they would take more bytes than this
BATCH_BYTES = 32 << 20
SAMPLE = 500
_FRACTION = re.compile(r"(?:\.(\d+))?(Z|[+-]\d{4})?$")  # at the end of a time as Arrow writes it


class Parquet(Table):
    """A Parquet file; one inside an archive is copied into a temporary file, since Parquet must be seekable."""

    nested = True

    def __init__(self, blob: Blob) -> None:
        self.name, self._blob = blob.name, blob
        self._current: Row = {}
        self._copy: IO[bytes] | None = None
        with guarded(self.name), closing(self._open()) as file:
            schema = file.schema_arrow
            self._schema = schema
            self.columns: tuple[str, ...] = tuple(schema.names)
            if len(set(self.columns)) < len(self.columns):
                raise fatal(self.name, "schema", "two columns have one name", "rename one")
            self._names = _class_names(schema)
            rows = file.metadata.num_rows
            self._batch = self._rows_at_once(file.metadata)
            first = next(file.iter_batches(batch_size=min(SAMPLE, self._batch)), None)
            self.sample = [row for row, wrong in self._sound(first) if not wrong] if first is not None else []
        if not rows:
            raise fatal(self.name, "file", "has no rows", "give a file with texts")
        self.found = [f"format: Parquet, {counted(rows, 'row')}, {counted(len(self.columns), 'column')}"]
        if self._names:
            self.found.append(f"label names: from the file's metadata ({', '.join(self._names)})")

    def _open(self) -> pq.ParquetFile:
        source = self._blob.path or self._seekable()
        with pq.ParquetFile(source) as file:
            columns = _dictionaries(file.metadata)
        return pq.ParquetFile(source, read_dictionary=columns)

    def _seekable(self) -> IO[bytes]:
        if self._copy is None:
            copy = tempfile.TemporaryFile(prefix="filbert-")  # noqa: SIM115  # it goes with this table
            with closing(self._blob.open()) as stream:
                shutil.copyfileobj(_Bounded(stream, self._blob), copy)
            self._copy = copy
        self._copy.seek(0)
        return self._copy

    def _rows_at_once(self, told: pq.FileMetaData) -> int:
        """Return how many rows to read at once; DataError where a file says that it unpacks to far too much."""
        longest = 1
        for group, pages in zip(map(told.row_group, range(told.num_row_groups)), self._pages(told), strict=True):
            size = max(pages, sum(group.column(at).total_uncompressed_size for at in range(group.num_columns)))
            if size > self._blob.room:
                raise too_much(self._blob)
            longest = max(longest, size // max(1, group.num_rows))
        return max(1, min(BATCH, BATCH_BYTES // longest))

    def _pages(self, told: pq.FileMetaData) -> list[int]:
        """Return the unpacked bytes of each row group as its pages tell them, not as the metadata does."""
        try:
            if self._copy is not None:
                return unpacked_sizes(self._copy, told)
            with open(self._blob.path or "", "rb") as file:
                return unpacked_sizes(file, told)
        except Broken as error:
            raise fatal(self.name, "file", str(error), "it is damaged: fetch it again") from None

    def raw(self) -> str:
        """Return the current row as JSON."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield the rows with their numbers."""
        self._check(roles)
        number = 0
        with guarded(self.name), closing(self._open()) as file:
            for batch in file.iter_batches(batch_size=self._batch):
                for row, wrong in self._sound(batch):
                    number += 1
                    self._current = row
                    if wrong:
                        said = f"holds bytes that are not UTF-8: {shown(row[wrong], 60)}"
                        problem = Problem(
                            Place(self.name, number), wrong, said, "write the file again, with its texts decoded"
                        )
                        ledger.reject(problem, self.raw())
                        continue
                    yield number, row

    def _check(self, roles: Roles) -> None:
        """Refuse columns that cannot be a text by their type."""
        for column in (name for names in roles.inputs for name in names):
            text = _value_type(self._schema.field(column).type)
            if not (pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_integer(text)):
                raise fatal(self.name, shown(column), f"is of type {text}, not string", "choose another --text")

    def _sound(self, batch: pa.RecordBatch) -> Iterator[tuple[Row, str]]:
        """Yield the rows; with one whose text is not UTF-8 the name of its column, the bytes escaped in its cell."""
        try:
            yield from ((row, "") for row in self._rows(batch))
        except UnicodeDecodeError:  # from the first batch of them on: a row after the other
            yield from (self._row(batch.slice(at, 1)) for at in range(batch.num_rows))

    def _row(self, batch: pa.RecordBatch) -> tuple[Row, str]:
        row, wrong = dict[str, str](), ""
        for at, name in enumerate(self.columns):
            try:
                (row[name],) = self._column(batch, at)
            except UnicodeDecodeError as error:
                row[name], wrong = error.object.decode("utf-8", "backslashreplace"), wrong or name
        return row, wrong

    def _rows(self, batch: pa.RecordBatch) -> list[Row]:
        cells = [self._column(batch, at) for at in range(len(self.columns))]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*cells, strict=True)]

    def _column(self, batch: pa.RecordBatch, at: int) -> list[str]:
        column = batch.column(at)
        shown = _readable(column.type)
        values = _values(column if shown == column.type else column.cast(shown))
        names = self._names.get(self.columns[at])
        if names is not None:
            return [_class_name(value, names) for value in values]
        if _is_time(column.type):
            return [_time(value) for value in values]
        return [value if value.__class__ is str else as_cell(value) for value in values]


class _Bounded:
    """Reads a stream, and stops where it unpacks to far too much."""

    def __init__(self, stream: IO[bytes], blob: Blob) -> None:
        self._stream, self._blob, self._left = stream, blob, blob.room

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes; DataError where there are too many."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise too_much(self._blob)
        return data


def too_much(blob: Blob) -> DataError:
    """Return the error of a file that unpacks to many times its size."""
    wrong = f"unpacks to more than {blob.room >> 20:,} MB, many times its size"
    return fatal(blob.name, "file", wrong, "write the texts as CSV or JSON lines")


def _dictionaries(told: pq.FileMetaData) -> list[str]:
    """Return the columns of texts that are held once for many rows."""
    groups = [told.row_group(at) for at in range(told.num_row_groups)]
    found = {
        column.path_in_schema
        for group in groups
        for column in map(group.column, range(group.num_columns))
        if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page
    }
    return sorted(found)


def _values(column: pa.Array) -> list[Any]:
    """Return Python values; those of a dictionary that are met, once each."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    numbers = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    met, places = np.unique(numbers, return_inverse=True)
    held = column.dictionary.take(pa.array(met, mask=met < 0)).to_pylist()
    return [held[place] for place in places.tolist()]


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind))


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return a type with text where there are dates and times, and numbers where there are durations."""
    if _is_time(kind):
        return pa.string()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_readable(kind.key_type), _readable(kind.item_type))
    if pa.types.is_dictionary(kind):
        value = _readable(kind.value_type)
        return kind if value == kind.value_type else value
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_readable(kind.value_type), kind.list_size)
    for lists, made in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
        if lists(kind):
            return made(kind.value_field.with_type(_readable(kind.value_type)))
    return kind


def _time(value: str | None) -> str:
    """Return a date or time without a fraction of zeros, its zone as Python writes it.

    >>> _time("2024-11-30 02:42:47.120000000Z"), _time("2024-11-30 02:42:47.000000")
    ('2024-11-30 02:42:47.120000+00:00', '2024-11-30 02:42:47')
    """
    if value is None:
        return ""
    match = _FRACTION.search(value)
    assert match is not None
    fraction, zone = (match[1] or "").rstrip("0"), match[2] or ""
    zone = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[3:]}" if zone else ""
    return value[: match.start()] + (f".{fraction.ljust(6, '0')}" if fraction else "") + zone


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _class_name(value: object, names: list[str]) -> str:
    if isinstance(value, list):
        return json.dumps([_class_name(item, names) for item in value], ensure_ascii=False)
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return "" if value is None or value == -1 else as_cell(value)  # -1 is how hub test sets hide their labels


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names of each column of ClassLabels, or lists of them, as `datasets` writes them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"].items()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    found = {}
    for column, feature in features:
        inner = feature[0] if isinstance(feature, list) and feature else feature
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        names = inner.get("names") if isinstance(inner, dict) else None
        if isinstance(names, list):
            found[column] = [str(name).encode("utf-8", "replace").decode() for name in names]  # half a character
    return found


def as_cell(value: object) -> str:
    """Return any Parquet value as a string.

    >>> as_cell(None), as_cell(True), as_cell([1, 2])
    ('', 'true', '[1, 2]')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else str(value)
