"""The books of one pass: rows read = accepted + quarantined, every problem, every bad row verbatim.

Bounded memory: the first problems are held, all are counted, and all are in the rejects file when there is one.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TextIO

from filbert.errors import ConfigError, DataError, Place, Problem

HELD = 1_000  # problems kept in memory
ROW_CHARS = 16 * 1024 * 1024  # longest row kept verbatim in the rejects file


class Ledger:
    """Counts and problems of one pass; in `error` mode `finish` raises if there was any problem.

    >>> ledger = Ledger()
    >>> ledger.reject(Problem(Place("a.csv", 3), "label", "is empty", "give it a label"), "good film,")
    >>> ledger.counts()
    {'read': 1, 'accepted': 0, 'quarantined': 1}
    """

    def __init__(self, *, quarantine: bool = False, rejects: Path | None = None) -> None:
        if quarantine and rejects is None:
            raise ConfigError("on_bad_rows is 'quarantine' but there is no rejects file — say where bad rows are kept")
        self.quarantine = quarantine
        self.rejects = rejects
        self.accepted = 0
        self.quarantined = 0
        self.problems: list[Problem] = []
        self.notes: Counter[str] = Counter()  # things to be said once, with how often they were met
        self._file: TextIO | None = None

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
            self._file = self.rejects.open("w", encoding="utf-8", newline="\n")
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


def fatal(file: str, field: str, wrong: str, todo: str, line: int | None = None) -> DataError:
    """Return the DataError of one problem after which reading cannot go on."""
    return DataError([Problem(Place(file, line), field, wrong, todo)])
