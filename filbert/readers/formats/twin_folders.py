"""Texts in one folder, their summaries in another one beside it under the same names, in a folder or an archive.

    News Articles/business/001.txt
    Summaries/business/001.txt

A row for each pair, in one pass: an archive has all of one folder before the other, so those of the first are in memory
until their partner comes. The line of a Place is a pair's number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import PurePosixPath

from filbert.errors import DataError, Problem
from filbert.readers.blobs import guarded, read_fully
from filbert.readers.columns import Roles
from filbert.readers.encodings import decode_text
from filbert.readers.folders import Opener, Tree
from filbert.readers.formats.sniff import ROWS
from filbert.readers.formats.tables import Row, Table
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import LIMIT

SUMMARIES = re.compile(r"summar|highlight|摘要|概要|总结", re.IGNORECASE)
LEAST = 0.5  # of the summaries must have a text of their name


def twin_folders(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the folder of the texts and that of their summaries; None where there are no such two.

    >>> twin_folders(["a/News/1.txt", "a/News/2.txt", "a/Summaries/1.txt"])
    ('a/News', 'a/Summaries')
    """
    inside: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for name in names:
        parts = PurePosixPath(name).parts
        for at in range(1, len(parts)):
            inside[parts[:at]].add(parts[at:])
    for folder, files in inside.items():
        if not SUMMARIES.search(folder[-1]):
            continue
        beside = [each for each in inside if each[:-1] == folder[:-1] and not SUMMARIES.search(each[-1])]
        texts = max(beside, key=lambda each: len(inside[each] & files), default=None)
        if texts is not None and len(inside[texts] & files) >= max(1, LEAST * len(files)):
            return "/".join(texts), "/".join(folder)
    return None


class TwinFolders(Table):
    """A row for each text that has a summary."""

    columns = ("file", "text", "summary")
    roles = Roles((("text",),), "summary", how="columns — text: the texts' folder, summary: the summaries'")

    def __init__(self, tree: Tree, folders: tuple[str, str], encoding: str | None) -> None:
        self.name = f"{tree.name}[pairs]"
        self._tree, self._folders, self._encoding = tree, folders, encoding
        self._current = ""
        self.sample = [row for _, row in islice(self._pairs(Ledger()), ROWS)]
        self.found = [f"format: texts in {folders[0]}, their summaries in {folders[1]}"]

    def raw(self) -> str:
        """Return the name of the current pair."""
        return self._current

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield the pairs; a file without a partner is counted."""
        yield from self._pairs(ledger)

    def _pairs(self, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        waiting: dict[str, tuple[int, str]] = {}
        count = 0
        for name, opener in self._tree.walk():
            side = next((i for i, folder in enumerate(self._folders) if name.startswith(f"{folder}/")), None)
            if side is None:
                ledger.notes["other files, not used"] += 1
                continue
            key = name[len(self._folders[side]) + 1 :]
            text = self._read(name, opener, ledger)
            if text is None:
                continue
            other = waiting.pop(key, None)
            if other is None or other[0] == side:
                waiting[key] = side, text
                continue
            count += 1
            self._current = key
            first, second = (text, other[1]) if side == 0 else (other[1], text)
            yield count, {"file": key, "text": first, "summary": second}
        if waiting:
            ledger.notes["files without a partner in the other folder, not used"] += len(waiting)

    def _read(self, name: str, opener: Opener, ledger: Ledger) -> str | None:
        place = f"{self._tree.name}{self._tree.joint}{name if name.isprintable() else ascii(name)[1:-1]}"
        with guarded(place), closing(opener()) as stream:
            data = read_fully(stream, LIMIT + 1)
        try:
            if len(data) > LIMIT:
                raise fatal(place, "text", f"is longer than {LIMIT // 2**20} MB", "split it, or take it away")
            return decode_text(data, place, self._encoding)
        except DataError as error:
            for problem in error.problems:
                ledger.reject(Problem(problem.place, problem.field, problem.wrong, problem.todo), name)
            return None
