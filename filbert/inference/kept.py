"""What a stopped run had scored already, kept beside its output until that is complete.

    .filbert-scored-1f3a….jsonl      one line about the run, then one for each chunk of rows, each with its SHA-256

Kept are the results, not the file: the next run reads its input from the start again and writes all of it anew, only
without scoring what is here. So the output is the same to the last byte in every format, a chunk counts only where its
texts are the same, and a line that was cut short counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from filbert.errors import ConfigError
from filbert.inference.rows import Pairs, Scored
from filbert.records import Example

BEGINNING = b'{"filbert-scored": '  # of each file of ours
PATIENCE = 2.0  # seconds of work that are worth a file
DIGEST = 16  # hex digits of the SHA-256 of a line and of a chunk's texts
LONGEST = 1 << 28  # bytes of a line: 512 rows of long answers are far below

Score = Callable[[Iterator[list[Example]], int], Pairs]


class Kept:
    """The results of a run so far; `scored` gives those that are kept first, then new ones, which it keeps.

    `identity` is what the results depend on beside the texts: the model's SHA-256, precision, versions. A file that was
    begun with another one raises ConfigError, which lists what differs, unless `anew`: then it is begun again.
    """

    def __init__(
        self, out: Path, identity: Callable[[], Mapping[str, Any]], keys: Sequence[str], *, anew: bool = False
    ) -> None:
        self.path, self._identity, self._keys = path_for(out), identity, keys
        self._began = time.monotonic()
        self._file: Any = None
        self._held: list[bytes] = []  # lines before the file is made
        self._over = os.path.lexists(out)  # the output replaces something
        self.rows = 0
        """How many rows came from the file."""
        self.counted = 0
        """How many rows it holds."""
        self.changed: str | None = None
        """Where a text is another one than when it was scored; from there on all are scored again."""
        self._open(anew)

    def _open(self, anew: bool) -> None:
        _refuse_foreign(self.path)
        if not self.path.exists():
            return
        told = about(self.path)
        if told is None:  # it was stopped in the first line
            self.delete()
            return
        self._over = bool(told["over"])
        differences = _differences(told["identity"], self._identity())
        if differences and not anew:
            raise ConfigError(
                f"{self.path} — keeps what a stopped run has scored, and that was begun with {differences} — "
                "repeat that command to go on, or allow --overwrite to score everything again"
            )
        if differences:
            self.delete()

    def scored(self, chunks: Iterator[list[Example]], score: Score) -> Pairs:
        """Yield each chunk with its results: from the file, then from `score`, which gets the number of the first."""
        count, end = 0, 0
        for line, end_of in self._lines():
            if end == 0:
                end = end_of
                continue
            chunk = next(chunks, None)
            if chunk is None or line.get("texts") != digest(chunk):
                self.changed = None if chunk is None else str(chunk[0].place)
                chunks = chunks if chunk is None else chain([chunk], chunks)
                break
            count, end = count + 1, end_of
            self.rows = self.counted = self.rows + len(chunk)
            yield chunk, [Scored(dict(zip(self._keys, row[0], strict=True)), *row[1:]) for row in line["rows"]]
        if end:
            self._file = open(self.path, "r+b", buffering=0)  # noqa: SIM115
            self._file.truncate(end)
            self._file.seek(end)
        for chunk, found in score(chunks, count):
            rows = [[[one.cells[key] for key in self._keys], *one.told()[1:]] for one in found]
            self._keep(_line({"texts": digest(chunk), "rows": rows}))
            self.counted += len(chunk)
            yield chunk, found

    def whole(self) -> None:
        """Note that all is scored, so that the output may be put in its place."""
        self._keep(_line({"whole": True}))

    def delete(self) -> None:
        """Delete the file, when the output is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, which stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        return _lines(self.path) if self.path.exists() else iter(())

    def _keep(self, line: bytes) -> None:
        self._held.append(line)
        if self._file is None:
            if time.monotonic() - self._began < PATIENCE:
                return
            self._held.insert(0, _line({"over": self._over, "identity": dict(self._identity())}))
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115
        for held in self._held:
            _write(self._file, held)
        self._held.clear()


def path_for(out: Path) -> Path:
    """Return where results for an output are kept: hidden beside it."""
    return out.with_name(f".filbert-scored-{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:8]}.jsonl")


def left_whole(out: Path) -> bool:
    """Say whether `out` is the output of a run that was stopped when all was done, and that was to replace nothing."""
    if not out.name:  # a folder, which is refused later
        return False
    path = path_for(out)
    told = about(path) if path.is_file() and not path.is_symlink() else None
    if told is None or told.get("over"):
        return False
    return any("whole" in line for line, _ in _lines(path))


def about(path: Path) -> dict[str, Any] | None:
    """Return the first line of a file of ours; None where there is none, or it is cut."""
    first = next(_lines(path), None)
    return first[0] if first is not None and "identity" in first[0] else None


def digest(chunk: Sequence[Example]) -> str:
    """Return the SHA-256 of the texts of a chunk, as far as it is kept.

    >>> digest([Example(("ab",)), Example(("c",))]) == digest([Example(("a",)), Example(("bc",))])
    False
    """
    return _hex(json.dumps([example.inputs for example in chunk]).encode())


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST]


def _line(value: Mapping[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return b'{"filbert-scored": "' + _hex(body).encode() + b'", "line": ' + body + b"}\n"


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the sound lines of a file with where each ends; the first that is none ends them."""
    end = 0
    before, between, after = len(BEGINNING) + 1, len(b'", "line": '), len(b"}\n")
    with path.open("rb") as file:
        while (line := file.readline(LONGEST)).endswith(b"}\n"):
            told, body = line[before : before + DIGEST], line[before + DIGEST + between : -after]
            if told != _hex(body).encode():
                return
            end += len(line)
            yield json.loads(body), end


def _write(file: Any, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _refuse_foreign(path: Path) -> None:
    if not os.path.lexists(path):
        return
    regular = path.is_file() and not path.is_symlink()
    head = b""
    if regular:
        with path.open("rb") as file:
            head = file.read(len(BEGINNING))
    if not regular or head != BEGINNING[: len(head)]:
        raise ConfigError(f"{path} is in the way, no file of ours — move it away")


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs: names and both values.

    >>> _differences({"precision": "int8", "model": "ab"}, {"precision": "fp32", "model": "ab"})
    'precision int8, not fp32'
    """
    return ", ".join(
        f"{name} {was.get(name)}, not {now.get(name)}"
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    )
