"""One text a line from a stream that is read once: the same line ends, encodings and limits as a file has."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from filbert.errors import DataError, Place, Problem, shown
from filbert.readers.blobs import Blob, read_fully
from filbert.readers.encodings import BLOCK, BOMS, Encoding
from filbert.readers.lines import BadLine, read_lines
from filbert.records import Example


def stream_examples(stream: BinaryIO, name: str, wanted: str | None) -> Iterator[Example]:
    r"""Yield a text for each line, blank ones too; DataError, with the line, where one cannot be read.

    `wanted` is a codec; without one a byte order mark decides, else the stream is UTF-8.

    >>> [one.text for one in stream_examples(io.BytesIO(b"one\r\ntwo"), "stdin", None)]
    ['one', 'two']
    """
    head = read_fully(stream, BLOCK)
    blob = Blob(name, lambda: _Rest(head, stream))  # type: ignore[arg-type, return-value]
    for number, line in enumerate(read_lines(blob, _encoding(head, wanted)), 1):
        if isinstance(line, BadLine):
            raise DataError([Problem(Place(name, number), "text", f"{line.wrong}: {shown(line, 60)}", line.todo)])
        text = line.rstrip("\r\n")
        yield Example((text,), None, Place(name, number), {"text": text})


def _encoding(head: bytes, wanted: str | None) -> Encoding:
    told = "utf-8" if wanted in (None, "auto") else codecs.lookup(str(wanted)).name.removesuffix("-sig")
    for mark, codec in BOMS:
        if head.startswith(mark) and (wanted in (None, "auto") or codec.startswith(told)):
            return Encoding(codec, len(mark))
    return Encoding(told + "-le" * (told in ("utf-16", "utf-32")))


class _Rest(io.RawIOBase):
    """What was read of a stream already, then the rest of it."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = io.BytesIO(head), stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._head.read(size) or self._stream.read(size)
