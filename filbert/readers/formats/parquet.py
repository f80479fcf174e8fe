"""Parquet, streamed batch by batch; integer labels get their names where the file says them (Hugging Face ClassLabel).

The line of a Place is the row's number from 1. Cells become strings; lists and structs JSON, null nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.parquet as pq

from filbert.errors import shown
from filbert.readers.blobs import Blob, guarded
from filbert.readers.columns import Roles
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal

BATCH = 2_048  # rows; long texts of 50 kB make 100 MB of it
SAMPLE = 500


class Parquet(Table):
    """A Parquet file; one inside an archive is read into memory, since Parquet must be seekable."""

    nested = True

    def __init__(self, blob: Blob) -> None:
        self.name, self._blob = blob.name, blob
        self._current: Row = {}
        with guarded(self.name), closing(self._open()) as file:
            schema = file.schema_arrow
            self._schema = schema
            self.columns: tuple[str, ...] = tuple(schema.names)
            if len(set(self.columns)) < len(self.columns):
                raise fatal(self.name, "schema", "two columns have one name", "rename one")
            self._names = _class_names(schema)
            first = next(file.iter_batches(batch_size=SAMPLE), None)
            self.sample = self._rows(first) if first is not None else []
            rows = file.metadata.num_rows
        if not rows:
            raise fatal(self.name, "file", "has no rows", "give a file with texts")
        self.found = [f"format: Parquet, {rows:,} rows, {len(self.columns)} columns"]
        if self._names:
            self.found.append(f"label names: from the file's metadata ({', '.join(self._names)})")

    def _open(self) -> pq.ParquetFile:
        if self._blob.path is not None:
            return pq.ParquetFile(self._blob.path)
        with closing(self._blob.open()) as stream:
            return pq.ParquetFile(pa.BufferReader(stream.read()))

    def raw(self) -> str:
        """Return the current row as JSON."""
        return json.dumps(self._current, ensure_ascii=False)

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield the rows with their numbers."""
        self._check(roles)
        number = 0
        with guarded(self.name), closing(self._open()) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in self._rows(batch):
                    number += 1
                    self._current = row
                    yield number, row

    def _check(self, roles: Roles) -> None:
        """Refuse columns that cannot be a text by their type."""
        for column in (name for names in roles.inputs for name in names):
            text = _value_type(self._schema.field(column).type)
            if not (pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_integer(text)):
                raise fatal(self.name, shown(column), f"is of type {text}, not string", "choose another --text")

    def _rows(self, batch: pa.RecordBatch) -> list[Row]:
        cells = [self._column(batch, at) for at in range(len(self.columns))]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*cells, strict=True)]

    def _column(self, batch: pa.RecordBatch, at: int) -> list[str]:
        values = batch.column(at).to_pylist()
        names = self._names.get(self.columns[at])
        if names is not None:
            return [_class_name(value, names) for value in values]
        return [value if value.__class__ is str else as_cell(value) for value in values]


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
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    found = {}
    for column, feature in features:
        inner = feature[0] if isinstance(feature, list) and feature else feature
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        names = inner.get("names") if isinstance(inner, dict) else None
        if isinstance(names, list):
            found[column] = [str(name) for name in names]
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
