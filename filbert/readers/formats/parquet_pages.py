"""The pages of a Parquet file: how large each says it is when unpacked, which the file's metadata need not agree with.

    column chunk:  header · packed page · header · packed page …

A header is a Thrift struct in the compact protocol, of which three numbers are read: 1 kind, 2 bytes unpacked, 3 bytes
packed. Everything else in it is skipped. No library reads the headers alone.
"""

from __future__ import annotations

from typing import IO

import pyarrow.parquet as pq

UNPACKED, PACKED = 2, 3  # fields of a header
HEADER = 1 << 20  # bytes of the longest one: it may hold the least and the greatest value of its page
FIRST = 512  # bytes read at first
DEPTH = 16  # structs in structs
STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
NUMBERS = (4, 5, 6)


class Broken(ValueError):
    """A header that is none, or ends outside of its column."""


class _Short(Exception):
    """The bytes end before the header does."""


def unpacked_sizes(file: IO[bytes], told: pq.FileMetaData) -> list[int]:
    """Return for each row group the bytes that its pages say they have unpacked, headers included; raises Broken.

    >>> unpacked_sizes(open("reviews.parquet", "rb"), pq.read_metadata("reviews.parquet"))  # doctest: +SKIP
    [81234]
    """
    sizes = []
    for group in map(told.row_group, range(told.num_row_groups)):
        sizes.append(sum(_chunk(file, group.column(at)) for at in range(group.num_columns)))
    return sizes


def _chunk(file: IO[bytes], column: pq.ColumnChunkMetaData) -> int:
    """Return the unpacked bytes of one column of one row group."""
    first = column.dictionary_page_offset if column.has_dictionary_page else None
    at = min(column.data_page_offset, first) if first else column.data_page_offset
    end, size = at + column.total_compressed_size, 0
    while at < end:
        header, fields = _header(file, at, end)
        if min(fields.get(UNPACKED, -1), fields.get(PACKED, -1)) < 0:
            raise Broken(f"the page header at byte {at:,} has no sizes")
        size += header + fields[UNPACKED]
        at += header + fields[PACKED]
    return size


def _header(file: IO[bytes], at: int, end: int) -> tuple[int, dict[int, int]]:
    """Return the length of the header at a byte, and its numbers by field."""
    most = FIRST
    while True:
        file.seek(at)
        data = file.read(min(most, end - at))
        try:
            reader = _Reader(data)
            return reader.struct(), reader.numbers
        except _Short:
            if len(data) < most or most >= HEADER:
                raise Broken(f"the page header at byte {at:,} has no end") from None
            most *= 8


class _Reader:
    """Reads one struct of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self.numbers: dict[int, int] = {}
        """The whole numbers of the outermost struct."""

    def struct(self, depth: int = 0) -> int:
        """Read a struct and return where it ends."""
        if depth > DEPTH:
            raise Broken("a page header is nested too deeply")
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._whole()
            kind = head & 15
            if kind in NUMBERS and not depth:
                self.numbers[field] = self._whole()
            elif kind not in (TRUE, FALSE):
                self._skip(kind, depth)
        return self._at

    def _skip(self, kind: int, depth: int) -> None:
        if kind in NUMBERS:
            self._varint()
        elif kind in (TRUE, FALSE, BYTE):
            self._move(1)
        elif kind == DOUBLE:
            self._move(8)
        elif kind == BINARY:
            self._move(self._varint())
        elif kind in (LIST, SET):
            head = self._byte()
            for _ in range(self._count(head >> 4 if head >> 4 < 15 else self._varint())):
                self._skip(head & 15, depth + 1)
        elif kind == MAP:
            count = self._count(self._varint())
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._skip(kinds >> 4, depth + 1)
                self._skip(kinds & 15, depth + 1)
        elif kind == STRUCT:
            self.struct(depth + 1)
        else:
            raise Broken("a page header holds what is no Thrift")

    def _count(self, count: int) -> int:
        if count > len(self._data):
            raise Broken("a page header holds a list that is longer than it")
        return count

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise _Short
        self._at += 1
        return self._data[self._at - 1]

    def _move(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise _Short

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
            if shift > 63:
                raise Broken("a page header holds a number without an end")

    def _whole(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)
