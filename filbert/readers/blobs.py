"""A named stream of bytes that can be opened again: a file, a compressed file, a member of an archive.

What a file is, its first bytes say, not its name. Archives are read member by member and never extracted; only regular
members are looked at. Damage (a cut download, a flipped bit) becomes a DataError with the file's name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from typing_extensions import Buffer, Self

from filbert.readers.ledger import fatal

MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PAR1", "parquet"),
)
SUFFIXES = (".gz", ".xz", ".bz2", ".zst", ".tgz", ".txz")
ROOM, UNPACKED = 64 << 20, 64  # bytes, and how many times the file's size, that it may unpack to where it is held
HEADER = 1 << 20  # bytes of the longest header of a tar member
DICTIONARY = 256 << 20  # bytes that an .xz file may need to be unpacked; xz -9 needs 65 MB
XZ_READ = 1 << 16
EXTENDED = (b"x", b"g", b"X", b"L", b"K")  # of pax and GNU: long names and more
DAMAGE = (
    EOFError,
    NotImplementedError,
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    OSError,
)


@dataclass(frozen=True)
class Blob:
    """Bytes with a name for messages; `path` only where they stand uncompressed in a file of their own.

    `stored` is the size of the file they come from: what may be held in memory of them is measured by it.
    """

    name: str
    open: Callable[[], BinaryIO]
    path: Path | None = None
    stored: int = 0

    @property
    def room(self) -> int:
        """How many bytes may be read at once, or kept: texts are packed to a third or a tenth of their size."""
        return ROOM + UNPACKED * self.stored

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, that of a compression left out: `.csv` for `reviews.csv.gz`."""
        suffixes = [s.lower() for s in Path(self.name).suffixes if s.lower() not in SUFFIXES]
        return suffixes[-1] if suffixes else ""

    def head(self, size: int) -> bytes:
        """Return the first `size` bytes."""
        with guarded(self.name), closing(self.open()) as stream:
            return read_fully(stream, size)


def read_whole(blob: Blob, most: int, todo: str) -> bytes:
    """Return all bytes; DataError where they are more than `most`, or many times what the file itself has."""
    most = min(most, blob.room)
    with guarded(blob.name), closing(blob.open()) as stream:
        data = read_fully(stream, most + 1)
    if len(data) > most:
        wrong = f"is larger than {most >> 20:,} MB" + f", unpacked from {blob.stored / 2**20:,.1f} MB" * (not blob.path)
        raise fatal(blob.name, "file", wrong, todo)
    return data


def read_fully(stream: IO[bytes], size: int) -> bytes:
    """Return `size` bytes, fewer only at the end: decompressors may return short reads."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn what a damaged or unreadable file raises into a DataError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise fatal(name, "file", "does not exist", "check the path") from None
    except PermissionError:
        raise fatal(name, "file", "may not be read", "check its permissions") from None
    except UnicodeError as error:
        raise fatal(name, "encoding", f"cannot be decoded: {error}", "give the right --encoding") from None
    except Exception as error:
        if not isinstance(error, (*DAMAGE, *_arrow_errors())):
            raise
        what = f"cannot be read to its end: {error}" if str(error) else "ends too early"
        raise fatal(name, "file", what, "it is damaged or cut short: fetch it again") from error


def _arrow_errors() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises for damage, where it is loaded."""
    found = sys.modules.get("pyarrow")
    return () if found is None else (found.ArrowException,)


def kind_of(head: bytes) -> str:
    """Return what the first bytes say: gzip, xz, bzip2, zstd, zip, parquet, tar or plain."""
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else "plain"


def file_blob(path: Path) -> Blob:
    """Return the file's bytes, decompressed where the file is compressed."""
    kind = kind_of(Blob(str(path), lambda: path.open("rb")).head(512))
    if kind not in ("gzip", "xz", "bzip2", "zstd"):
        return Blob(str(path), lambda: path.open("rb"), path, path.stat().st_size)
    return Blob(str(path), lambda: _decompressed(path, kind), stored=path.stat().st_size)


def _decompressed(path: Path, kind: str) -> BinaryIO:
    if kind == "gzip":
        return cast(BinaryIO, gzip.open(path))
    if kind == "xz":
        return cast(BinaryIO, io.BufferedReader(_Xz(path)))
    if kind == "bzip2":
        return cast(BinaryIO, bz2.open(path))
    return zstd(str(path))


def zstd(stream: str | BinaryIO) -> BinaryIO:
    """Return what a path or a stream of Zstandard holds; DataError where the library for it is not installed."""
    name = stream if isinstance(stream, str) else "the archive's member"
    return cast(BinaryIO, io.BufferedReader(arrow(name, "Zstandard").input_stream(stream, compression="zstd")))


def arrow(file: str, kind: str) -> Any:
    """Return pyarrow; DataError, which names the file and its kind, where it is not installed."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        wrong = f"is {kind}, for which pyarrow is not installed"
        raise fatal(file, "format", wrong, "pip install 'filbert[parquet]'") from None
    return pyarrow


class _Xz(io.RawIOBase):
    """An .xz file unpacked; `lzma.open` has no bound on the dictionary, which a header may state to be of 4 GB."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self._stream: lzma.LZMADecompressor | None = None
        self._packed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Buffer, /) -> int:
        """Unpack some bytes; 0 at the end of the last stream."""
        view = memoryview(into)
        while self._stream_to_read():
            assert self._stream is not None
            if self._stream.needs_input and not self._packed:
                self._packed = self._file.read(XZ_READ)
                if not self._packed:
                    raise EOFError("a stream has no end")
            try:
                data = self._stream.decompress(self._packed, len(view))
            except lzma.LZMAError as error:
                if "emory usage limit" not in str(error):
                    raise
                wrong = f"needs more than {DICTIONARY >> 20} MB of memory to be unpacked"
                raise fatal(str(self._path), "file", wrong, "unpack it first, or pack it anew with xz -9") from None
            self._packed = b""
            if data:
                view[: len(data)] = data
                return len(data)
        return 0

    def _stream_to_read(self) -> bool:
        """Begin the next stream where one has ended, behind its padding; False at the end of the file."""
        if self._stream is not None and not self._stream.eof:
            return True
        self._packed = b"" if self._stream is None else self._stream.unused_data.lstrip(b"\0")
        while not self._packed:
            block = self._file.read(XZ_READ)
            if not block:
                return False
            self._packed = block.lstrip(b"\0")
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY)
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def members(blob: Blob, kind: str) -> Generator[tuple[str, Callable[[], BinaryIO]], None, None]:
    """Yield (name, opener) of every regular member in the archive's own order; open it before asking for the next."""
    with guarded(blob.name), closing(blob.open()) as stream:
        if kind == "tar":
            yield from _tar_members(stream)
        else:
            yield from _zip_members(stream)


def _tar_members(stream: BinaryIO) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 18, tarinfo=_Header) as archive:
        while (member := archive.next()) is not None:
            if member.issparse():  # holes are no text, and may be stated to be of any size
                raise tarfile.ReadError(f"member {member.name!r} is a sparse file")
            if member.isreg():
                found = archive.extractfile(member)
                assert found is not None
                yield member.name, _opener(cast(BinaryIO, found))
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header: 50,000 of them in aclImdb


class _Header(tarfile.TarInfo):
    """A member's header; tarfile reads extended ones whole, of whatever size they state."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return a header of its block."""
        found = super().frombuf(buf, encoding, errors)
        if found.size > HEADER and found.type in EXTENDED:
            raise tarfile.ReadError(f"a header states {found.size:,} bytes")
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError("a member is a sparse file")


def _zip_members(stream: BinaryIO) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if not info.is_dir() and (info.external_attr >> 28) in (0, 8):  # 8: a regular file in Unix mode bits
                if info.flag_bits & 1:
                    raise zipfile.BadZipFile(f"member {info.filename!r} is encrypted")
                yield info.filename, lambda info=info: cast(BinaryIO, archive.open(info))  # type: ignore[misc]


def _opener(stream: BinaryIO) -> Callable[[], BinaryIO]:
    return lambda: stream


def member_blob(archive: Blob, kind: str, wanted: str) -> Blob:
    """Return one member as a blob; each opening scans the archive up to it, so this is for few, large members."""
    stream = lambda: cast(BinaryIO, _MemberStream(archive, kind, wanted))  # noqa: E731
    return Blob(f"{archive.name}!{wanted}", stream, stored=archive.stored)


class _MemberStream(io.RawIOBase):
    """One member of an archive, keeping the archive open until it is closed itself."""

    def __init__(self, archive: Blob, kind: str, wanted: str) -> None:
        self._scan: Generator[tuple[str, Callable[[], BinaryIO]], None, None] = members(archive, kind)
        for name, opener in self._scan:
            if name == wanted:
                self._member = opener()
                return
        self._member = io.BytesIO()
        raise fatal(f"{archive.name}!{wanted}", "file", "is no longer in the archive", "check the archive")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._member.read(size)

    def close(self) -> None:
        if not self.closed:
            self._member.close()
            self._scan.close()
        super().close()
