"""Physical lines of a file, in bounded memory, each decoded strictly: LF, CRLF and CR end a line, and stay on it.

A CR alone ends a line only where most lines end so, or where it stands between a header and a row; elsewhere it is a
slip inside of a row.
A line that cannot be read (bytes not in the encoding, over 16 MB) comes out as a BadLine in its place, so that line
numbers stay true and reading goes on.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing
from typing import IO

from filbert.readers.blobs import Blob, guarded
from filbert.readers.encodings import BLOCK, Encoding, Transcoded, refuse_if_gb18030, wrong_byte

LIMIT = 16 * 1024 * 1024  # bytes of the longest line
SHOWN_OF_LONG = 1_000  # bytes kept of a line over the limit


class BadLine(str):
    """A line that could not be read: its undecodable bytes escaped, what is wrong, and what to do."""

    wrong = ""
    todo = ""
    cut = False

    @classmethod
    def of(cls, data: bytes, codec: str, wrong: str, todo: str, *, cut: bool = False) -> BadLine:
        """Make a BadLine from the bytes as they stood."""
        line = cls(data.decode(codec, errors="backslashreplace"))
        line.wrong, line.todo, line.cut = wrong, todo, cut
        return line


def line_end(text: str) -> str:
    r"""Return which `newline` of io.StringIO cuts a text into its lines: LF alone, or any end.

    >>> line_end("text,label\r\na \rb,x\r\n"), line_end("text,label\rgood,x\r")
    ('\n', '')
    """
    first, lone = text.find("\n"), text.find("\r")
    if first < 0:
        return ""
    if 0 <= lone < first - 1:
        before, after = text[:lone], re.split("[\r\n]", text[lone + 1 :], maxsplit=1)[0]
        counts = {(before.count(mark), after.count(mark)) for mark in ",\t;|"} - {(0, 0)}
        if counts and all(one == other for one, other in counts):
            return ""
    return "\n" if text.count("\r") - text.count("\r\n") < text.count("\n") else ""


def cut(text: str) -> list[str]:
    r"""Return the lines of a text with their ends.

    >>> cut("a,x\nb \rb,y\n")
    ['a,x\n', 'b \rb,y\n']
    """
    return list(io.StringIO(text, newline=line_end(text)))


def read_lines(blob: Blob, encoding: Encoding) -> Iterator[str]:
    r"""Yield the lines with their ends; a line that cannot be read as a BadLine.

    >>> list(read_lines(Blob("a", lambda: io.BytesIO(b"one\r\ntwo\rthree")), Encoding("utf-8")))
    ['one\r\n', 'two\r', 'three']
    """
    with guarded(blob.name), closing(blob.open()) as raw:
        raw.read(encoding.bom)
        stream: IO[bytes] = raw
        codec = encoding.codec
        if not encoding.by_lines:
            stream, codec = Transcoded(raw, encoding, blob.name), "utf-8"  # type: ignore[assignment]
        first = stream.read(BLOCK)
        newline = line_end(first.decode("latin-1"))
        for offset, block, whole in _blocks(stream, encoding.bom, first, newline):
            if not whole:
                wrong = f"the line is longer than {LIMIT // 2**20} MB"
                yield BadLine.of(block, codec, wrong, "split it, or drop the row", cut=True)
                continue
            try:
                text = block.decode(codec)
            except UnicodeDecodeError:
                if not encoding.sure:
                    refuse_if_gb18030(blob)
                yield from _one_by_one(block, codec, offset, newline)
            else:
                yield from io.StringIO(text, newline=newline)


def _one_by_one(block: bytes, codec: str, offset: int, newline: str) -> Iterator[str]:
    for data in io.BytesIO(block) if newline else block.splitlines(keepends=True):
        try:
            yield data.decode(codec)
        except UnicodeDecodeError as error:
            yield BadLine.of(data, codec, *wrong_byte(data, error, offset))
        offset += len(data)


def _blocks(stream: IO[bytes], offset: int, block: bytes, newline: str) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (offset, bytes, whole): bytes that end with a line, or with whole=False the start of a line over LIMIT.

    `block` is what was read of the stream already.
    """
    rest = b""
    while block:
        rest += block
        end = _last_end(rest, newline)
        if end:
            yield offset, rest[:end], True
            offset, rest = offset + end, rest[end:]
        elif len(rest) > LIMIT:
            yield offset, rest[:SHOWN_OF_LONG], False
            offset, rest = _skip_line(stream, offset, rest, newline)
        block = stream.read(BLOCK)
    if rest:
        yield offset, rest, True


def _last_end(data: bytes, newline: str) -> int:
    """Return where the last complete line ends; a CR at the very end may be half of a CRLF."""
    found = data.rfind(b"\n") + 1
    return found if newline else found or data.rfind(b"\r", 0, len(data) - 1) + 1


def _skip_line(stream: IO[bytes], offset: int, rest: bytes, newline: str) -> tuple[int, bytes]:
    """Read on to the end of a line over LIMIT; return where the next one begins, and its first bytes."""
    offset += len(rest)
    after_cr = not newline and rest.endswith(b"\r")
    while block := stream.read(BLOCK):
        if after_cr:
            skipped = 1 if block.startswith(b"\n") else 0
            return offset + skipped, block[skipped:]
        ends = [at for at in (block.find(b"\n"), -1 if newline else block.find(b"\r")) if at >= 0]
        if ends and min(ends) < len(block) - 1:
            end = min(ends) + (2 if block[min(ends) :].startswith(b"\r\n") else 1)
            return offset + end, block[end:]
        if ends and block[min(ends)] == 10:
            return offset + len(block), b""
        offset += len(block)
        after_cr = bool(ends)
    return offset, b""
