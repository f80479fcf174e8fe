"""What is fuzzed, by hypothesis: of each reader how its files are made up, and what reads them.

Whatever the bytes, reading ends with a result or with an error of Filbert's that names the file or the field: never
with another exception, never after more than 20 seconds, never with more memory than the file explains. The targets
stand in fuzzing_texts.py, fuzzing_models.py and fuzzing_server.py, a long run in run_fuzz.py.
"""

from __future__ import annotations

import json
import resource
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from filbert.errors import DataError, FilbertError

SECONDS = 20  # of one reading
MEGABYTES = 400  # that the process may grow by, in all, while small files are read

Files = dict[str, bytes]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Target:
    """A reader: `files` makes files up, `read` reads them in their folder."""

    files: st.SearchStrategy[Files]
    read: Callable[[Path], object]


class Hangs(BaseException):
    """Reading took too long."""


def held(target: Target, files: Files) -> None:
    """Read files; whatever is no result and no error of Filbert's is raised as it came."""

    def stop(number: int, frame: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with tempfile.TemporaryDirectory() as name:
            for file, data in files.items():
                Path(name, file).write_bytes(data)
            said, of_data = "", False
            try:
                target.read(Path(name))
            except FilbertError as error:
                said, of_data = str(error), isinstance(error, DataError)
            named = any(file in said for file in files)
            assert not said or named or (" — " in said and not of_data), said
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- bytes and JSON, made up and changed ------------------------------------------------------------------------------

ODD = (b"", b"\0", b"\xff\xff\xff\xff", b"\x7f", b'"', b",", b"\n", b"\r", b"{", b"]", b"\xef\xbb\xbf", b"\xed\xa0\x80")
numbers = st.integers(-(2**65), 2**65) | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 10**18])
words = st.text(max_size=20) | st.sampled_from(
    ["text", "label", "nan", "", "[SEP]", "../x", "__class__", "\ud800", "0"]
)
jsons = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=5),
    max_leaves=12,
)


@st.composite
def changed(draw: Draw, data: bytes, most: int = 4) -> bytes:
    """Return bytes with a few pieces replaced, taken out, doubled, or cut off."""
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64, len(data)]))
        piece = draw(st.binary(max_size=8) | st.sampled_from(ODD) | st.just(data[at : at + 40] * 2))
        data = data[:at] + piece + data[at + length :]
    return data


def paths(value: Any, limit: int = 400) -> list[list[Any]]:
    """Return the ways to the parts of a JSON value, those of long lists and tables not all."""
    found: list[list[Any]] = [[]]
    for way in found:
        inner = value
        for key in way:
            inner = inner[key]
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner))) if isinstance(inner, list) else []
        found += [[*way, key] for key in keys[:40]]
        if len(found) > limit:
            break
    return found


@st.composite
def json_changed(draw: Draw, value: Any) -> Any:
    """Return a JSON value with one to three of its parts replaced, renamed or taken out."""
    made = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(paths(made)))
        if not way:
            continue
        inner = made
        for key in way[:-1]:
            inner = inner[key]
        how = draw(st.sampled_from(["replace", "replace", "drop", "rename"]))
        old = inner[way[-1]]
        if how != "replace":
            inner.pop(way[-1])
        if how == "rename" and isinstance(inner, dict):
            inner[draw(words)] = old
        elif how == "replace":
            near = [old * 2, -old, old + 1] if isinstance(old, int | float) and not isinstance(old, bool) else [[old]]
            inner[way[-1]] = draw(st.sampled_from(near) | jsons)
    return made


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
