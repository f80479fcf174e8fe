"""Files that are scored as one: several paths, or a folder of tables, opened one after the other.

    logs/part-000.csv, logs/part-001.csv, … → the rows of the first, then those of the second, …

Only the file that is read is open, so that there may be any number of them. Columns are found in the first and looked
for by name in the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from filbert.errors import ConfigError, shown
from filbert.readers.folders import folder_tree, tables_of
from filbert.readers.ledger import Ledger, fatal, refuse_input
from filbert.readers.options import ReadOptions
from filbert.readers.sources import Source, open_source
from filbert.records import Example

BY_LINE = (".jsonl", ".ndjson", ".json")  # each row has its own keys


class Shards:
    """Unlabelled texts of one or more files; `parts` streams them, and after a pass `counts` says what became of them.

    >>> shards = Shards(["monday.csv", "tuesday.csv"])  # doctest: +SKIP
    >>> [example.text for part in shards.parts() for example in part]  # doctest: +SKIP
    ['good film', 'bad film']
    """

    def __init__(
        self, paths: Sequence[str | Path], options: ReadOptions | None = None, *, rejects: Path | None = None
    ) -> None:
        self.options, self._rejects = options or ReadOptions(), rejects
        self.files = tuple(file for path in paths for file in _tables(path))
        if len(set(self.files)) < len(self.files):
            twice = next(file for file in self.files if self.files.count(file) > 1)
            raise ConfigError(f"{twice} is given twice — give each file once")
        if rejects is not None:
            refuse_input(rejects, self.files)
        self._first = open_source(self.files[0], self.options, labelled=False)
        self._ledger = Ledger()

    @property
    def columns(self) -> tuple[str, ...]:
        """The original column names, those of the first file."""
        return self._first.columns

    @property
    def found(self) -> list[str]:
        """What was found in the first file, to be said, and how many files there are."""
        more = [f"files: {len(self.files):,}, from {self.files[0]} to {self.files[-1]}"] if len(self.files) > 1 else []
        return [*more, *self._first.found]

    @property
    def counts(self) -> dict[str, int]:
        """Rows read, accepted and quarantined in the last pass; the first is the sum of the others."""
        return self._ledger.counts()

    def check(self) -> list[str]:
        """Read all files to their end before anything is scored, and return what is to be said of their rows.

        Raises DataError for bad rows, unless they are kept apart: three minutes of scoring are not for the last line.
        """
        self._ledger = ledger = Ledger(rejects=None if self._quarantine else self._rejects)
        for source in self._sources():
            for _ in source.tagged(ledger):
                pass
        if not self._quarantine:
            ledger.finish()
        return [f"{what}: {count:,}" for what, count in sorted(self._ledger.notes.items())]

    def parts(self) -> Iterator[Iterator[Example]]:
        """Yield the texts of each file, in order; at the end a DataError names every bad row of all of them."""
        self._ledger = Ledger(quarantine=self._quarantine, rejects=self._rejects)
        for source in self._sources():
            yield (example for _, example in source.tagged(self._ledger))
        self._ledger.finish()

    @property
    def _quarantine(self) -> bool:
        return self.options.on_bad_rows == "quarantine"

    def _sources(self) -> Iterator[Source]:
        for file in self.files:
            yield self._first if file == self.files[0] else self._next(file)

    def _next(self, file: str) -> Source:
        roles = self._first.roles
        options = self.options
        if roles is not None:
            options = replace(options, columns={"inputs": [list(names) for names in roles.inputs]})
        source = open_source(file, options, labelled=False)
        if not file.lower().endswith(BY_LINE) and set(source.columns) != set(self.columns):
            others = f"{shown(', '.join(source.columns))}, those of {self.files[0]} {shown(', '.join(self.columns))}"
            raise fatal(file, "columns", f"are {others}", "score files with other columns by themselves")
        return source


def _tables(path: str | Path) -> list[str]:
    """Return the tables of a folder in the order of their names; any other path is itself."""
    if not Path(path).is_dir():
        return [str(path)]
    names = tables_of(folder_tree(Path(path)))
    return [str(Path(path) / name) for name in names] if len(names) > 1 else [str(path)]
