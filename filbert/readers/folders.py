"""What a folder or an archive holds: tables named train, dev, test; or a folder per class with a file per text.

Both are looked at as a list of relative names, so a folder and an archive of it read alike. Class folders of an archive
are read in one pass in the archive's own order: a solid .tar.xz cannot be read in another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from filbert.errors import DataError, Place, Problem
from filbert.owned import finished, is_output, unfinished
from filbert.readers.blobs import SUFFIXES, Blob, file_blob, guarded, member_blob, members, read_fully
from filbert.readers.encodings import decode_text
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import LIMIT
from filbert.readers.names import split_of

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
NO_TABLES = (".md", ".rst", ".py", ".sh", ".yaml", ".yml", ".html", ".pdf")
UNLABELLED = ("unsup", "unlabeled", "unlabelled", "unsupervised")

Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Tree:
    """The files of a folder or archive: `walk` yields (relative name, opener), `blob` opens a named one at any time."""

    name: str
    walk: Callable[[], Iterator[tuple[str, Opener]]]
    blob: Callable[[str], Blob]
    joint: str  # between the tree's name and a file's


@dataclass
class Layout:
    """What was decided about a tree: its tables by split, or that it has class folders at `depth`."""

    tables: list[tuple[str | None, str]] = field(default_factory=list)
    depth: int | None = None  # folders above a text where no folder is named train, dev or test
    unused: list[str] = field(default_factory=list)


def folder_tree(root: Path) -> Tree:
    """Return a folder's files, sorted, without hidden ones and the folders that are Filbert's own: runs, vocabularies.

    Raises DataError where the folder itself is one.
    """
    if finished(root) or unfinished(root):
        raise fatal(str(root), "folder", "is a run or model of Filbert's, no texts", "give a folder of texts")

    def walk() -> Iterator[tuple[str, Opener]]:
        for path in _files(root):
            yield path.relative_to(root).as_posix(), lambda path=path: path.open("rb")  # type: ignore[misc]

    return Tree(str(root), walk, lambda name: file_blob(root / name), "/")


def _files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        raise fatal(str(folder), "folder", "is a link to a folder that holds it", "take the link away")
    with guarded(str(folder)):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not (finished(Path(entry.path)) or unfinished(Path(entry.path))):
            yield from _files(Path(entry.path), above | {real})
        elif entry.is_file():
            yield Path(entry.path)


def archive_tree(blob: Blob, kind: str) -> Tree:
    """Return an archive's regular members in its own order, hidden ones left out."""

    def walk() -> Iterator[tuple[str, Opener]]:
        for name, opener in members(blob, kind):
            parts = PurePosixPath(name).parts
            if "__MACOSX" not in parts and not any(part.startswith(".") and part != "." for part in parts):
                yield name.removeprefix("./"), opener

    def open_member(name: str) -> Blob:
        stored = next((n for n, _ in members(blob, kind) if n.removeprefix("./") == name), name)
        return member_blob(blob, kind, stored)

    return Tree(blob.name, walk, open_member, "!")


def tables_of(tree: Tree) -> list[str]:
    """Return the tables of a tree that are scored one after the other; none where it holds class folders.

    They are those named train, dev, test where there are such, in this order, else all, by their names.
    """
    return [name for _, name in layout_of(tree, several=True).tables]


def layout_of(tree: Tree, *, several: bool = False) -> Layout:
    """Decide what a tree holds; for class folders from the first names, so that a large archive is not read twice.

    Tables of which none is named train are refused, unless there may be `several`.
    """
    names: list[str] = []
    for name, _ in tree.walk():
        parts = PurePosixPath(name).parts
        names.append(name)
        if is_output(name):
            continue
        suffix = Blob(name, lambda: None).suffix  # type: ignore[arg-type, return-value]
        if suffix in TABLES or (len(parts) == 1 and _table_split(name)):
            return _table_layout(tree, several)
        if class_of(name, None) is not None and split_of_parts(parts):
            return Layout()
        if len(parts) >= 3 and suffix in ("", ".txt") and not split_of_parts(parts):
            return Layout(depth=len(parts) - 1)
    deep = [len(PurePosixPath(name).parts) - 1 for name in names]
    if deep and max(deep) >= 1:
        inner = [name for name, depth in zip(names, deep, strict=True) if depth and _table_split(name)]
        same = len({PurePosixPath(name).parts[0] for name in names}) == 1
        return _table_layout(tree, several) if inner and same else Layout(depth=max(deep))
    listed = ", ".join(names[:5]) or "nothing"
    todo = "give a file, a folder per class, or files named train, dev, test"
    raise fatal(tree.name, "folder", f"holds no labelled texts that can be told ({listed})", todo)


def _table_split(name: str) -> str | None:
    path = PurePosixPath(name)
    if path.suffix.lower() in NO_TABLES or is_output(name):
        return None
    return split_of(path.name)


def _table_layout(tree: Tree, several: bool) -> Layout:
    """Group the tables by split; refuse two that might hold the same rows."""
    names = [name for name, _ in tree.walk() if not is_output(name)]
    tables = [name for name in names if _is_table(name) or _table_split(name)]
    named = [(split, name) for name in tables if (split := _table_split(name))]
    if not named and len(tables) > 1 and several:
        return Layout([(None, name) for name in tables])
    if not named and len(tables) > 1:
        listed = ", ".join(tables[:8])
        raise fatal(tree.name, "folder", f"holds several tables, none named train: {listed}", "give one of them")
    top = min(len(PurePosixPath(name).parts) for _, name in named) if named else 0
    named = [(split, name) for split, name in named if len(PurePosixPath(name).parts) == top]
    groups = {str(PurePosixPath(name).parent) for _, name in named}
    if len(groups) > 1:
        listed = ", ".join(sorted(groups)[:8])
        raise fatal(tree.name, "folder", f"holds several data sets: {listed}", "give the path of one")
    _refuse_twins(tree, named)
    order = {"train": 0, "validation": 1, "test": 2}
    chosen: list[tuple[str | None, str]] = [*sorted(named, key=lambda item: (order[item[0]], item[1]))]
    chosen = chosen or [(None, tables[0])]
    used = {name for _, name in chosen}
    return Layout(chosen, unused=[name for name in names if name not in used])


def _is_table(name: str) -> bool:
    suffixes = [s.lower() for s in PurePosixPath(name).suffixes if s.lower() not in SUFFIXES]
    return bool(suffixes) and suffixes[-1] in TABLES


def _refuse_twins(tree: Tree, named: Iterable[tuple[str, str]]) -> None:
    """Two files of one split are shards of it only where their names differ in digits alone."""
    stems: dict[str, tuple[str, str]] = {}
    for split, name in named:
        stem = re.sub(r"\d+", "0", name)
        other = stems.setdefault(split, (stem, name))
        if other[0] != stem:
            raise fatal(tree.name, "folder", f"has two files for {split}: {other[1]}, {name}", "give one by its path")


def split_of_parts(parts: tuple[str, ...]) -> int:
    """Return how many folders stand up to and with the one named train, dev or test; 0 where none is."""
    return next((at for at, part in enumerate(parts[:-1], 1) if split_of(part)), 0)


def class_of(name: str, depth: int | None) -> tuple[str | None, str] | None:
    """Return (split, class) of a text file by its folders; None where it is none, such as a README.

    >>> class_of("aclImdb/train/pos/0_9.txt", None), class_of("aclImdb/imdb.vocab", None)
    (('train', 'pos'), None)
    """
    parts = PurePosixPath(name).parts
    at = split_of_parts(parts) if depth is None else 0
    if at:
        inner = parts[at:-1]
        return (split_of(parts[at - 1]), "/".join(inner)) if inner else None
    return (None, parts[-2]) if depth is not None and len(parts) == depth + 1 else None


class ClassFolders:
    """Texts in a folder per class, of a folder or an archive, streamed in the tree's order."""

    columns = ("file", "text", "label")

    def __init__(self, tree: Tree, layout: Layout, encoding: str | None, *, labelled: bool) -> None:
        self._tree, self._depth, self._encoding, self._labelled = tree, layout.depth, encoding, labelled
        self._splits: tuple[str, ...] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits, in the usual order; the first asking reads an archive's list of members."""
        if self._splits is None:
            seen = {place[0] for name, _ in self._tree.walk() if (place := class_of(name, self._depth))}
            self._splits = tuple(s for s in ("train", "validation", "test") if s in seen) or ("all",)
        return self._splits

    @property
    def classes(self) -> list[str]:
        """The classes, in the tree's order; reads an archive's list of members."""
        places = [place for name, _ in self._tree.walk() if (place := class_of(name, self._depth))]
        return list(dict.fromkeys(label for _, label in places if label.lower() not in UNLABELLED))

    def texts(self, ledger: Ledger, only: str | None) -> Iterator[tuple[str, Place, str, str | None]]:
        """Yield (split, place, text, label); label None for folders of unlabelled texts."""
        parents: set[str] = set()
        for name, opener in self._tree.walk():
            where = None if is_output(name) else class_of(name, self._depth)
            if where is None:
                ledger.notes["other files, not used"] += 1
                continue
            split, label = where
            if self._depth is not None:
                self._one_parent(parents, name)
            unlabelled = label.lower() in UNLABELLED
            if unlabelled and self._labelled:
                ledger.notes[f"texts without a label in {label}, not used"] += 1
                continue
            part = "unlabelled" if unlabelled else split or "all"
            if only is not None and part != only:
                continue
            safe = name if name.isprintable() else ascii(name)[1:-1]  # a member's name may hold terminal codes
            place = Place(f"{self._tree.name}{self._tree.joint}{safe}")
            text = self._read(place, opener, ledger)
            if text is not None:
                yield part, place, text, None if unlabelled else label

    def _one_parent(self, parents: set[str], name: str) -> None:
        parents.add(str(PurePosixPath(name).parent.parent))
        if len(parents) > 1:
            listed = ", ".join(sorted(parents))
            raise fatal(self._tree.name, "folder", f"class folders stand in several folders: {listed}", "give one")

    def _read(self, place: Place, opener: Opener, ledger: Ledger) -> str | None:
        with guarded(place.file), closing(opener()) as stream:
            data = read_fully(stream, LIMIT + 1)
        try:
            if len(data) > LIMIT:
                raise fatal(place.file, "text", f"is longer than {LIMIT // 2**20} MB", "split it, or take it away")
            return decode_text(data, place.file, self._encoding)
        except DataError as error:
            for problem in error.problems:
                row = data[:LIMIT].decode("utf-8", errors="backslashreplace")
                ledger.reject(Problem(problem.place, problem.field, problem.wrong, problem.todo), row)
            return None
