"""The books of one pass: rows read = accepted + quarantined, every problem, every bad row verbatim.

Bounded memory: the first problems are held, all are counted, and all are in the rejects file when there is one. That
file is one for all sources of a pass; it replaces an earlier one of its kind, never an input or another file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from filbert.errors import ConfigError, DataError, Place, Problem

HELD = 1_000  # problems kept in memory
BEGINNING = b'{"file": "'  # of each rejects file
ROW_CHARS = 16 * 1024 * 1024  # longest row kept verbatim in the rejects file


class Ledger:
    """Counts and problems of one pass; in `error` mode `finish` raises if there was any problem.

    >>> ledger = Ledger()
    >>> ledger.reject(Problem(Place("a.csv", 3), "label", "is empty", "give it a label"), "good film,")
    >>> ledger.counts()
    {'read': 1, 'accepted': 0, 'quarantined': 1}
    """

    def __init__(
        self, *, quarantine: bool = False, rejects: Path | None = None, inputs: Iterable[str | Path | None] = ()
    ) -> None:
        if quarantine and rejects is None:
            raise ConfigError("on_bad_rows is 'quarantine' but there is no rejects file — say where bad rows are kept")
        if rejects is not None:
            refuse_input(rejects, inputs)
        self.quarantine = quarantine
        self.rejects = rejects
        self.accepted = 0
        self.quarantined = 0
        self.problems: list[Problem] = []
        self.notes: Counter[str] = Counter()  # things to be said once, with how often they were met
        self._file: TextIO | None = None
        self._made = False  # the rejects file is of this pass

    @property
    def read(self) -> int:
        """Rows seen so far."""
        return self.accepted + self.quarantined

    def counts(self) -> dict[str, int]:
        """Return rows read, accepted and quarantined; the first is the sum of the others."""
        return {"read": self.read, "accepted": self.accepted, "quarantined": self.quarantined}

    def reject(self, problem: Problem, row: str, *, cut: bool = False) -> None:
        """Record one bad row with what is wrong with it; `cut` says that `row` is only its beginning."""
        self.quarantined += 1
        if len(self.problems) < HELD:
            self.problems.append(problem)
        if self.rejects is not None:
            self._write(problem, row, cut)

    def _write(self, problem: Problem, row: str, cut: bool) -> None:
        if self._file is None:
            assert self.rejects is not None
            if not self._made:
                _clear(self.rejects)
            try:
                self._file = self.rejects.open("a" if self._made else "x", encoding="utf-8", newline="\n")
            except FileExistsError:  # made since by another run, or a link to nowhere
                raise ConfigError(f"bad rows would be kept in {self.rejects}, which another run has made") from None
            self._made = True
        place = problem.place
        entry: dict[str, object] = {"file": place.file, "line": place.line, "field": problem.field}
        entry |= {"wrong": problem.wrong, "todo": problem.todo, "row": row[:ROW_CHARS]}
        if cut or len(row) > ROW_CHARS:
            entry["cut"] = True
        # ASCII escapes: a row with undecodable bytes or bidi marks must survive any editor
        self._file.write(json.dumps(entry, ensure_ascii=True) + "\n")

    def close(self) -> None:
        """Close the rejects file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """End the pass: raise a DataError for all problems, unless bad rows are quarantined."""
        self.close()
        if self.quarantined and not self.quarantine:
            raise DataError(self.problems, self.quarantined)


def refuse_input(rejects: Path, inputs: Iterable[str | Path | None]) -> None:
    """Raise ConfigError where the file for bad rows is one that is read."""
    for path in inputs:
        if path is not None and rejects.exists() and Path(path).exists() and rejects.samefile(path):
            raise ConfigError(
                f"bad rows would be kept in {rejects}, which is read here — rename that file, or choose another output"
            )


def _clear(rejects: Path) -> None:
    """Take away the rejects file of an earlier pass; raises ConfigError where it is another file."""
    if not rejects.exists():
        return
    with rejects.open("rb") as file:
        head = file.read(len(BEGINNING))
    if head not in (b"", BEGINNING):
        raise ConfigError(f"bad rows would be kept in {rejects}, where another file is — move it away")
    rejects.unlink()


def fatal(file: str, field: str, wrong: str, todo: str, line: int | None = None) -> DataError:
    """Return the DataError of one problem after which reading cannot go on."""
    return DataError([Problem(Place(file, line), field, wrong, todo)])
