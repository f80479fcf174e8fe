"""From any labelled file to Examples: streamed, strict, nothing lost.

CSV, TSV, JSON lines, JSON, Parquet, fastText, a folder per class, files named train/dev/test, archives of these, a hub
data set. What was found (format, encoding, columns, splits) is kept to be printed; what cannot be found is asked, never
guessed. Local paths never touch the network. Dividing into train and validation is in splits.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filbert.errors import DataError, LeftOut, Place, Problem, Refusal, shown
from filbert.readers.blobs import Blob, arrow, file_blob, guarded, kind_of
from filbert.readers.cells import target_cell
from filbert.readers.columns import Roles, choose, joined
from filbert.readers.encodings import Encoding, decide
from filbert.readers.folders import ClassFolders, Tree, archive_tree, folder_tree, layout_of
from filbert.readers.formats.json_objects import open_json
from filbert.readers.formats.jsons import JsonLines, held_keys
from filbert.readers.formats.sniff import look, sample_lines
from filbert.readers.formats.spreadsheet import Spreadsheet
from filbert.readers.formats.tables import Delimited, FastText, PlainText, Table, Words, like_fasttext
from filbert.readers.formats.twin_folders import TwinFolders, twin_folders
from filbert.readers.formats.workbook import spreadsheet_kind
from filbert.readers.hub import download, is_hub_id
from filbert.readers.ledger import Ledger, fatal, refuse_input
from filbert.readers.names import SPLITS, plain
from filbert.readers.options import ReadOptions
from filbert.records import Example
from filbert.text.visible import visible

__all__ = ["ReadOptions", "Source", "open_source"]

ORDER = ("train", "validation", "test")
EMPTY = ("is empty or cannot be seen", "fill it in, or drop the row")
SAMPLED = 1_000  # targets returned as a sample
Part = tuple[str | None, Table, Roles]
Parse = Callable[[str], Any]
Locate = Callable[[Any, tuple[str, ...]], Any]


class Source:
    """An opened source of texts; `examples` streams them, and after a pass `counts` says what became of the rows.

    >>> source = open_source("reviews.csv")  # doctest: +SKIP
    >>> source.columns, source.splits, next(source.examples()).target  # doctest: +SKIP
    (('text', 'label'), ('all',), 'pos')
    """

    def __init__(
        self, path: Path, body: list[Part] | ClassFolders, options: ReadOptions, found: list[str], *, labelled: bool
    ) -> None:
        self.path, self.name, self.found = path, path.name, found
        self.roles = None if isinstance(body, ClassFolders) else body[0][2]
        self._body, self._options, self._labelled = body, options, labelled
        self._ledger = Ledger()
        self.rejects: Path | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The original column names, `column 1` … where there are none."""
        return self._body.columns if isinstance(self._body, ClassFolders) else self._body[0][1].columns

    @property
    def input_names(self) -> tuple[str, ...]:
        """Where each text is read from, to be shown: `title,body` where columns are joined."""
        return ("text",) if self.roles is None else tuple(",".join(names) for names in self.roles.inputs)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Where the target is read from: a column, or those that hold 0 and 1; nothing where there is none."""
        if self.roles is None:
            return ("label",)
        return self.roles.indicators or (() if self.roles.target is None else (self.roles.target,))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, of train, validation and test, or ("all",)."""
        if isinstance(self._body, ClassFolders):
            return self._body.splits
        if any(roles.split for _, _, roles in self._body):
            return ORDER  # which of them the column holds is known only at its end
        named = {split for split, _, _ in self._body if split}
        return tuple(split for split in ORDER if split in named) or ("all",)

    @property
    def counts(self) -> dict[str, int]:
        """Rows read, accepted and quarantined in the last pass; the first is the sum of the others."""
        return self._ledger.counts()

    @property
    def problems(self) -> list[Problem]:
        """What was wrong in the last pass, the first thousand."""
        return self._ledger.problems

    def sample_targets(self) -> list[str]:
        """Return the target's cells of the first rows that are not for testing; of class folders, each class once."""
        if isinstance(self._body, ClassFolders):
            return self._body.classes
        cells: list[str] = []
        for split, table, roles in self._body:
            for row in table.sample if split != "test" else ():
                if roles.split is None or _row_split(row, roles.split) != "test":
                    with suppress(Refusal):
                        cells.append(target_cell(row, roles, table.nested))
        return cells[:SAMPLED]

    def examples(
        self, split: str | None = None, *, parse: Parse | None = None, locate: Locate | None = None
    ) -> Iterator[Example]:
        """Stream the texts in the order of the source; with `split`, those of train, validation or test only.

        `parse` makes the target of its cell, and raises Refusal where it is none; without it the cell is the target.
        `locate` completes it by the texts of its row, and may refuse it, too.
        At the end a DataError names every bad row, unless they are quarantined (`rejects` is then the file).
        """
        ledger = Ledger(quarantine=self._options.on_bad_rows == "quarantine", rejects=self.rejects)
        for _, example in self.tagged(ledger, split, parse, locate):
            yield example
        ledger.finish()

    def tagged(
        self, ledger: Ledger, only: str | None = None, parse: Parse | None = None, locate: Locate | None = None
    ) -> Iterator[tuple[str, Example]]:
        """Stream (split, example) in one pass, the books kept in `ledger`; the caller finishes it."""
        self._ledger = ledger
        if only not in (None, "all", "unlabelled", *ORDER):
            raise fatal(str(self.path), "split", f"there is no split {shown(only)}", f"choose {', '.join(self.splits)}")
        parse = parse or as_it_stands
        try:
            if isinstance(self._body, ClassFolders):
                yield from self._folder_examples(self._body, ledger, only, parse)
                return
            for split, table, roles in self._body:
                if only in (None, split or "all") or roles.split:
                    yield from self._table_examples((split or "all", table, roles), ledger, only, parse, locate)
        finally:
            ledger.close()

    def _folder_examples(
        self, body: ClassFolders, ledger: Ledger, only: str | None, parse: Parse
    ) -> Iterator[tuple[str, Example]]:
        for split, place, text, label in body.texts(ledger, only):
            if not visible(text):
                if self._labelled:
                    ledger.reject(_empty(place, "text"), text)
                    continue
                text = ""
            try:
                target = parse(label or "") if self._labelled else label
            except LeftOut as left_out:
                ledger.notes[str(left_out)] += 1
                continue
            except Refusal as refusal:
                ledger.reject(Problem(place, "label", refusal.wrong, refusal.todo), text)
                continue
            ledger.accepted += 1
            row = {"file": place.file, "text": text, "label": label or ""}
            yield split, Example((text,), target, place, row)

    def _table_examples(
        self,
        part: tuple[str, Table, Roles],
        ledger: Ledger,
        only: str | None,
        parse: Parse,
        locate: Locate | None,
    ) -> Iterator[tuple[str, Example]]:
        """The one loop over rows; kept flat, since it decides how fast a million of them are read."""
        split, table, roles = part
        name, labelled, by_row, nested = table.name, self._labelled, roles.split, table.nested
        text_column = _lone(roles)
        target_column = None if roles.start else roles.target
        field = roles.target or ("labels" if roles.indicators else "label")
        for line, row in table.rows(roles, ledger):
            if by_row and (split := _row_split(row, by_row)) == "":
                ledger.reject(_bad_split(Place(name, line), by_row, row), table.raw())
                continue
            if only is not None and split != only:
                continue
            inputs = (row[text_column],) if text_column else tuple(joined(row, names) for names in roles.inputs)
            if not (visible(inputs[0]) if text_column else all(map(visible, inputs))):
                if labelled:
                    at = next(at for at, text in enumerate(inputs) if not visible(text))
                    ledger.reject(_empty(Place(name, line), " + ".join(roles.inputs[at])), table.raw())
                    continue
                inputs = tuple(text if visible(text) else "" for text in inputs)
            try:
                cell = row.get(target_column, "") if target_column else target_cell(row, roles, nested)
                if nested and cell.startswith("{"):
                    cell = held_keys(cell)
                target = parse(cell) if labelled else cell if visible(cell) else None
                if locate is not None and labelled:
                    target = locate(target, inputs)
            except LeftOut as left_out:
                ledger.notes[str(left_out)] += 1
                continue
            except Refusal as refusal:
                if labelled:
                    ledger.reject(Problem(Place(name, line), field, refusal.wrong, refusal.todo), table.raw())
                    continue
                target = None
            ledger.accepted += 1
            yield split, Example(inputs, target, Place(name, line), row)


def as_it_stands(cell: str) -> str:
    """Return a target's cell as it stands; raises Refusal where nothing can be seen of it.

    >>> as_it_stands("pos")
    'pos'
    """
    if not visible(cell):
        raise Refusal(*EMPTY)
    return cell


def _lone(roles: Roles) -> str | None:
    """Return the one column of the texts; None where columns are joined, or texts stand in pairs."""
    return roles.inputs[0][0] if len(roles.inputs) == len(roles.inputs[0]) == 1 else None


def _empty(place: Place, column: str) -> Problem:
    return Problem(place, column, *EMPTY)


def _bad_split(place: Place, column: str, row: Mapping[str, str]) -> Problem:
    return Problem(place, column, f"is {shown(row.get(column, ''))}, no split", "write train, dev or test")


def _row_split(row: Mapping[str, str], column: str) -> str:
    return SPLITS.get(plain(row.get(column, "")), "")


def open_source(
    path: str | Path, options: ReadOptions | None = None, *, labelled: bool = True, rejects: Path | None = None
) -> Source:
    """Open a file, folder, archive or hub data set (`owner/name`) and find out what it is.

    With `labelled=False` no label is needed, and a text that is empty comes out as "" instead of being an error.
    Raises DataError where the source cannot be read, or its columns cannot be told.
    """
    options = options or ReadOptions()
    found: list[str] = []
    local = Path(path)
    with guarded(str(path)):
        there = local.exists()
    if there and not (local.is_file() or local.is_dir()):
        raise fatal(str(path), "file", "is a pipe or device, which cannot be read twice", "save it to a file first")
    if not there:
        if not is_hub_id(str(path)):
            raise fatal(str(path), "file", "does not exist", "check the path")
        local, lines = download(str(path))
        found += lines
    body = _open(local, options, found, labelled)
    tables = [] if isinstance(body, ClassFolders) else [table for _, table, _ in body]
    if options.sheet is not None and not any(isinstance(table, Spreadsheet) for table in tables):
        wrong = f"{shown(options.sheet)} is asked for, but this is no spreadsheet"
        raise fatal(str(path), "sheet", wrong, "leave --sheet out")
    if rejects is not None:
        refuse_input(rejects, [local])
    source = Source(local, body, options, found, labelled=labelled)
    source.rejects = rejects
    if not isinstance(body, ClassFolders) and source.splits != ("all",):
        column = body[0][2].split
        found.append(f"splits: by column {shown(column)}" if column else f"splits: {', '.join(source.splits)}")
    return source


def _open(path: Path, options: ReadOptions, found: list[str], labelled: bool) -> list[Part] | ClassFolders:
    if path.is_dir():
        return _open_tree(folder_tree(path), options, found, labelled, "folder")
    blob = file_blob(path)
    kind = kind_of(blob.head(512))
    if kind in ("tar", "zip") and spreadsheet_kind(blob) is None:
        return _open_tree(archive_tree(blob, kind), options, found, labelled, f"{kind} archive")
    return _with_roles(_open_file(blob, options, found, labelled), options, found, labelled)


def _open_tree(
    tree: Tree, options: ReadOptions, found: list[str], labelled: bool, what: str
) -> list[Part] | ClassFolders:
    layout = layout_of(tree)
    if labelled and layout.depth and (twins := twin_folders(name for name, _ in tree.walk())):
        return _with_roles(_said([(None, TwinFolders(tree, twins, options.encoding))], found), options, found, labelled)
    if not layout.tables:
        found.append(f"format: {what} of texts in a folder per class")
        return ClassFolders(tree, layout, options.encoding, labelled=labelled)
    tables: list[tuple[str | None, Table]] = []
    said: dict[str, list[str]] = {}  # what was found → in which files, so that it is said once
    for split, name in layout.tables:
        lines: list[str] = []
        opened = _open_file(tree.blob(name), options, lines, labelled)
        for line in lines:
            said.setdefault(line, []).append(name)
        tables += [(split or inner, table) for inner, table in opened]
    for line, names in said.items():
        found.append(line if len(names) == len(layout.tables) else f"{', '.join(names)} — {line}")
    if layout.unused:
        more = f" and {len(layout.unused) - 8} more" if len(layout.unused) > 8 else ""
        found.append(f"not used: {', '.join(layout.unused[:8])}{more}")
    return _with_roles(tables, options, found, labelled)


def _open_file(blob: Blob, options: ReadOptions, found: list[str], labelled: bool) -> list[tuple[str | None, Table]]:
    """Return the tables of one file by what it holds, its name only where that leaves a choice; options win."""
    if kind_of(blob.head(16)) == "parquet":
        arrow(blob.name, "Parquet")
        from filbert.readers.formats.parquet import Parquet

        return _said([(None, Parquet(blob))], found)
    if spreadsheet_kind(blob) is not None:
        return _said([(None, Spreadsheet(blob, options, labelled=labelled))], found)
    encoding, lines = decide(blob, options.encoding)
    found += lines
    above, told = options.skip_lines, options.separator is not None
    start = [line for line in sample_lines(blob, encoding)[above : above + 200] if line.strip()][:50]
    if blob.suffix in (".json", ".jsonl", ".ndjson"):
        return _said(open_json(blob, encoding, found, above=above, labelled=labelled), found)
    if not told and blob.suffix not in (".csv", ".tsv") and _like_json(start):
        return _said([(None, JsonLines(blob, encoding, above=above))], found)
    if like_fasttext(start) and not _as_table(options):
        return _said([(None, FastText(blob, encoding, above=above))], found)
    if options.separator == " ":
        return _said([(None, Words(blob, encoding, above=above))], found)
    loose = not labelled and blob.suffix in (".txt", "") and not _as_table(options)
    if loose and not _as_trained(blob, encoding, options):
        return _said([(None, PlainText(blob, encoding, above=above))], found)
    return _said([(None, Delimited(blob, encoding, options))], found)


def _as_table(options: ReadOptions) -> bool:
    """Tell whether the options speak of a table."""
    told = (options.separator, options.text, options.text_pair, options.label, options.header, options.quotes)
    return any(option is not None for option in told)


def _as_trained(blob: Blob, encoding: Encoding, options: ReadOptions) -> bool:
    """Tell whether a plain file is a table with the columns that the model was trained on, rather than a text a line.

    Columns without names are looked for between tabs only: texts hold commas.
    """
    wanted = {name for names in options.trained_inputs for name in names}
    if not wanted:
        return False
    seen = look(blob, encoding, options)
    if len(options.trained_inputs) > 1 or (seen.header and wanted <= set(seen.columns)):
        return True
    return (
        seen.delimiter == "\t"
        and wanted <= set(seen.columns)
        and {len(row) for row in seen.rows} == {len(seen.columns)}
    )


def _like_json(lines: Iterable[str]) -> bool:
    return all(re.match(r'\s*\{\s*"', line) for line in lines)


def _said(tables: list[tuple[str | None, Table]], found: list[str]) -> list[tuple[str | None, Table]]:
    for _, table in tables:
        found += table.found
    return tables


def _with_roles(
    tables: list[tuple[str | None, Table]], options: ReadOptions, found: list[str], labelled: bool
) -> list[Part]:
    """Choose each table's columns; the later ones as the first, where they have the same names."""
    parts: list[Part] = []
    for split, table in tables:
        roles, table.labelled = table.roles, labelled
        if roles is None and parts and parts[0][2].columns <= set(table.columns):
            roles = parts[0][2]
        if roles is None:
            try:
                roles = choose(
                    table.columns, table.sample, options, file=table.name, labelled=labelled, hint=table.hint
                )
            except DataError:
                if split != "test" or not parts:
                    raise
                found.append(f"not used: {table.name} (no text and label columns as in {parts[0][1].name})")
                continue
        found += [line for line in roles.how.split("\n") if line and line not in found]
        parts.append((split, table, roles))
    return parts
