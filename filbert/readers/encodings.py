"""Bytes to text, strictly: a BOM decides, else UTF-8; GB18030 is proposed only after the whole file failed as UTF-8.

Never the reverse: short Chinese UTF-8 often decodes as GB18030 too. Nothing is replaced or dropped; what cannot be
decoded is named by line and byte.
"""

from __future__ import annotations

import codecs
import io
import re
from contextlib import closing
from dataclasses import dataclass
from typing import IO, BinaryIO

from filbert.errors import DataError, shown
from filbert.readers.blobs import Blob, guarded
from filbert.readers.foreign import refuse_foreign
from filbert.readers.ledger import fatal

BOMS = (  # UTF-32 first: its little-endian BOM begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
BLOCK = 1 << 20
_HIGH = re.compile(rb"[\x80-\xff](?:[\x30-\xff])?(?:[\x80-\xff][\x30-\xff])*")


@dataclass(frozen=True)
class Encoding:
    """A codec, how many bytes of BOM to skip, and how it was decided."""

    codec: str
    bom: int = 0
    how: str = ""
    sure: bool = True  # False: UTF-8 is assumed, and GB18030 proposed should it fail

    @property
    def by_lines(self) -> bool:
        """Whether line ends can be found in the bytes, as in UTF-8, GB18030 and latin-1 but not in UTF-16."""
        try:
            return bytes(range(128)).decode(self.codec) == bytes(range(128)).decode("ascii")
        except UnicodeDecodeError:
            return False


def decide(blob: Blob, wanted: str | None) -> tuple[Encoding, list[str]]:
    """Return the encoding of a file and the lines to be said about it.

    Raises DataError where the file is plainly not UTF-8 and no encoding was given.
    """
    head = blob.head(BLOCK)
    refuse_foreign(blob, head)
    for mark, codec in BOMS:
        if head.startswith(mark) and wanted in (None, "auto", *_family(codec)):
            marks = leading(head, mark)
            often = f", which stands {marks} times" * (marks > 1)
            found = [f"encoding: {codec.upper()} (by its BOM{often})"]
            return Encoding(codec, marks * len(mark), "by its BOM"), found
    if wanted not in (None, "auto"):
        codec = codecs.lookup(str(wanted)).name.removesuffix("-sig")
        codec += "-le" if codec in ("utf-16", "utf-32") else ""  # no BOM, or it would have decided
        return Encoding(codec, how="as told"), [f"encoding: {wanted} (as told)"]
    if wide := _wide(head):
        raise fatal(blob.name, "encoding", "looks like UTF-16 without a BOM", f"add --encoding {wide}")
    if wanted == "auto" and not decodes(blob, "utf-8"):
        return _accept_gb18030(blob)
    if wanted is None and not _valid_start(head, "utf-8"):
        refuse_if_gb18030(blob)
    return Encoding("utf-8", sure=False), ["encoding: UTF-8"]


def leading(data: bytes, mark: bytes) -> int:
    """Return how many times a byte order mark stands at the beginning: twice, where two programs each wrote one.

    >>> leading(codecs.BOM_UTF8 * 2 + b"text", codecs.BOM_UTF8)
    2
    """
    count = 0
    while data.startswith(mark, count * len(mark)):
        count += 1
    return count


def _family(codec: str) -> tuple[str, ...]:
    whole = codec.removesuffix("-le").removesuffix("-be")
    return (codec, whole, whole.replace("-", ""), whole + "-sig", whole.upper())


def _wide(head: bytes) -> str | None:
    """Latin text in UTF-16 has a NUL in every other byte, and is valid UTF-8 that way."""
    sample = head[:4096]
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = sample[start::2]
        if len(half) >= 4 and half.count(0) > 0.7 * len(half):
            return name
    return None


def _valid_start(head: bytes, codec: str) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def decodes(blob: Blob, codec: str) -> bool:
    """Tell whether the whole file decodes strictly; reads it once, in bounded memory."""
    decoder = codecs.getincrementaldecoder(codec)()
    with guarded(blob.name), closing(blob.open()) as stream:
        try:
            while block := stream.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def plausible_gb18030(data: bytes) -> bool:
    """Tell whether the bytes read like Chinese: mostly runs of two and more characters, nearly all common Han.

    >>> plausible_gb18030("房间很大".encode("gb18030")), plausible_gb18030("café au lait".encode("latin-1"))
    (True, False)
    """
    runs = _HIGH.findall(data)
    if not runs or sum(len(run) for run in runs if len(run) >= 4) < 0.6 * sum(map(len, runs)):
        return False  # accents of Latin text stand alone
    text = codecs.getincrementaldecoder("gb18030")(errors="replace").decode(b"".join(runs))
    usual = sum("\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef" for c in text)
    return usual >= 0.85 * sum(c > "\x7f" for c in text)


def _two_lines(blob: Blob) -> list[str]:
    text = codecs.getincrementaldecoder("gb18030")(errors="replace").decode(blob.head(1 << 16))
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if not line.isascii()]
    return [shown(line) for line in (lines[1:] if len(lines) > 2 else lines)[:2]]  # not the header


def is_gb18030(blob: Blob) -> bool:
    """Tell whether a file that is not UTF-8 is GB18030 from end to end and reads like Chinese."""
    head = blob.head(BLOCK)
    lines = [line for line in head.splitlines() if not line.isascii()]
    as_utf8 = sum(_valid_start(line, "utf-8") for line in lines)
    return as_utf8 <= 0.5 * len(lines) and plausible_gb18030(head) and decodes(blob, "gb18030")


def refuse_if_gb18030(blob: Blob) -> None:
    """Raise the DataError that proposes GB18030 where the file is that; return where it is not."""
    if is_gb18030(blob):
        lines = " and ".join(_two_lines(blob))
        todo = f"if these lines read well, {lines}, add --encoding gb18030"
        raise fatal(blob.name, "encoding", "is not UTF-8, but GB18030 (GBK) from end to end", todo)


def _accept_gb18030(blob: Blob) -> tuple[Encoding, list[str]]:
    if not is_gb18030(blob):
        return Encoding("utf-8"), ["encoding: UTF-8, with bytes that are not"]
    found = ["encoding: GB18030 (not UTF-8; check that these lines read well)"]
    return Encoding("gb18030", how="found"), found + [f"  {line}" for line in _two_lines(blob)]


def decode_text(data: bytes, name: str, wanted: str | None) -> str:
    """Decode a whole small file, such as one text of a folder: BOM, else UTF-8, else what was told."""
    for mark, codec in BOMS:
        if data.startswith(mark) and wanted in (None, "auto", *_family(codec)):
            return _strict(data[leading(data, mark) * len(mark) :], codec, name)
    if wanted == "auto" and not _valid_all(data, "utf-8") and plausible_gb18030(data) and _valid_all(data, "gb18030"):
        return data.decode("gb18030")
    return _strict(data, "utf-8" if wanted in (None, "auto") else str(wanted), name)


def _valid_all(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _strict(data: bytes, codec: str, name: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise undecodable(name, data.count(b"\n", 0, error.start) + 1, data, error, 0) from None


def undecodable(name: str, line: int, data: bytes, error: UnicodeDecodeError, offset: int) -> DataError:
    """Return the error for a byte that is not in the encoding; `offset` is where `data` begins in the file."""
    return fatal(name, "encoding", *wrong_byte(data, error, offset), line=line)


def wrong_byte(data: bytes, error: UnicodeDecodeError, offset: int) -> tuple[str, str]:
    """Return what is wrong with a byte, and what to do, for a Problem."""
    at = error.start
    around = shown(data[max(0, at - 12) : at + 12])
    wrong = f"byte 0x{data[at]:02x} at offset {offset + at:,} is not {error.encoding.upper()}: {around}"
    if not error.encoding.startswith("utf"):
        return wrong, "give the right --encoding"
    other = "gb18030" if plausible_gb18030(data) else "latin-1"
    return wrong, f"correct it, or add --encoding {other} if the whole file is that"


class Transcoded(io.RawIOBase):
    """Reads a stream in a codec whose bytes do not show line ends (UTF-16 …) as UTF-8."""

    def __init__(self, stream: BinaryIO | IO[bytes], encoding: Encoding, name: str) -> None:
        self._stream, self._name = stream, name
        self._decoder = codecs.getincrementaldecoder(encoding.codec)()
        self._line, self._offset = 1, encoding.bom

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some text as UTF-8, nothing only at the end."""
        while True:
            block = self._stream.read(BLOCK if size < 0 else size)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line = self._line + error.object[: error.start].count(b"\n")
                start = self._offset - (len(error.object) - len(block))
                raise undecodable(self._name, line, error.object, error, start) from None
            self._offset += len(block)
            self._line += text.count("\n")
            if text or not block:
                return text.encode()

    def close(self) -> None:
        """Close the stream below."""
        self._stream.close()
        super().close()
