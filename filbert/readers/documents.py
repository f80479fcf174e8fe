"""Documents for pre-training, out of plain text, tables and WikiExtractor files, packed or not, alone or many together.

What a file is, its content says. All is streamed, and archives are read member by member, never extracted. This only
reads: sentences, tokens and duplicates are the business of shards.py. The rules of plain text, where no format helps:

- A blank line ends a document. So does its millionth character: memory stays bounded whatever comes.
- Without any blank line in the first 256 kB, each line is a document if most lines hold two sentences or more (a review
  a line). Otherwise they are running text or unrelated lines, which cannot be told apart: every 100 lines are one.
- A text of at most 1 MB beside others in a folder or archive is one document (a note, a review, a book a file), blank
  lines or not.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import html
import io
import lzma
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from filbert.errors import DataError, Place, Problem
from filbert.owned import is_output
from filbert.readers.blobs import Blob, arrow, file_blob, guarded, kind_of, read_fully, zstd
from filbert.readers.columns import Roles, choose, joined
from filbert.readers.encodings import Encoding, decide, decode_text
from filbert.readers.folders import NO_TABLES, Tree, archive_tree, class_of, folder_tree
from filbert.readers.formats.json_objects import open_json
from filbert.readers.formats.jsons import JsonLines
from filbert.readers.formats.sniff import sample_lines
from filbert.readers.formats.tables import Delimited, LineTable, Table
from filbert.readers.hub import download, is_hub_id
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.options import ReadOptions
from filbert.text.visible import visible

LONGEST = 1_000_000  # characters of a document, not counting the line that exceeds them
RUN = 100  # lines of a document where nothing says where one ends
SMALL = 1 << 20  # bytes of a text beside others in a folder that is one document
HELD = 1 << 26  # bytes of a member held in memory; a longer one is streamed, which scans the archive anew
SAMPLE = 1 << 18  # bytes looked at
UNWANTED = "documents with texts to leave out"

PACKED: dict[str, Callable[[BinaryIO], object]] = {
    "gzip": gzip.open,
    "xz": lzma.open,
    "bzip2": bz2.open,
    "zstd": zstd,
}
ABOUT = {"README", "LICENSE", "LICENCE", "COPYING", "NOTICE"}  # files about the texts
DOC = re.compile(r'<doc id=.*?(?: title="(.*?)")?\s*>$')
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)|[。！？]+")
REFERENCE = re.compile(r"<ref\b[^<>]*(?<!/)>.*?</ref\s*>", re.I)
TAG = re.compile(  # the names that HTML and wikis have; <T> and <stdio.h> are text
    r"</?(?:[bipsu]|(?i:(br|li|dd|dt|dl|ol|ul|div|center|t[dhr]|table|gallery|poem|blockquote)|span|sub|sup|em|strong"
    r"|small|big|font|code|pre|dfn|ref|references|cite|math|chem|score|nowiki|noinclude|onlyinclude|includeonly|ruby"
    r"|r[tpb]|abbr|del|ins|var|kbd|tt))\b[^<>]*>"
)


@dataclass(frozen=True)
class Document:
    """One document: its visible paragraphs in order, and where it begins."""

    paragraphs: tuple[str, ...]
    place: Place

    @property
    def key(self) -> bytes:
        """Return the 8 bytes that tell documents apart, however they are cut into lines."""
        return text_key(" ".join(self.paragraphs))


def text_key(text: str) -> bytes:
    r"""Return a hash of a text of 8 bytes, in which all white space is alike.

    >>> text_key("a  film\n") == text_key("a film")
    True
    """
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=8).digest()


Reader = Callable[[Ledger], Iterator[Document]]


class Corpus:
    """An opened source of documents; `documents` streams them, as often as wanted.

    >>> corpus = open_corpus("wiki.tar.xz")  # doctest: +SKIP
    >>> next(corpus.documents()).paragraphs[0]  # doctest: +SKIP
    'Gunpowder, also known as black powder, is a chemical explosive.'
    """

    def __init__(self, path: Path, name: str, encoding: str | None, leave_out: Iterable[str]) -> None:
        self.path, self.name, self._encoding = path, name, encoding
        self._unwanted = frozenset(map(text_key, leave_out))
        self.read = 0  # documents of the last pass
        self.notes: Counter[str] = Counter()  # files and texts left out in it, by reason
        self.found: list[str] = []  # what the first file that holds text is
        self._tree = _tree(path)
        self._several = self._tree is not None and len([*islice(_blobs(self._tree, Counter()), 2)]) > 1
        reader = next((reader for blob in self._blobs() if (reader := self._reader(blob, self.found))), None)
        if reader is None:
            raise fatal(str(path), "corpus", "holds no text", "give a file, folder or archive of texts")

    def documents(self) -> Iterator[Document]:
        """Stream the documents in the order of the source; those without visible text are left out.

        A damaged file raises DataError. Lines that cannot be read do so at the end, which names them all; from the
        first one on nothing more is yielded, since what would be made of the rest could not be used.
        """
        self.read, self.notes = 0, Counter()
        ledger = Ledger()
        for blob in self._blobs():
            reader = self._reader(blob, [])
            if reader is None:
                self.notes["empty files"] += 1
                continue
            for document in reader(ledger):
                wanted = self._wanted(document) if self._unwanted else document
                if not document.paragraphs:
                    self.notes["documents without text"] += 1
                elif wanted.paragraphs and not ledger.quarantined:
                    self.read += 1
                    yield wanted
        ledger.finish()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the names and contents of the files that are read: the same wherever they lie."""
        digest = hashlib.sha256(repr(self._encoding).encode() + b"".join(sorted(self._unwanted)))
        files: Iterable[tuple[str, Callable[[], BinaryIO]]] = [("", lambda: self.path.open("rb"))]
        for name, opener in folder_tree(self.path).walk() if self.path.is_dir() else files:
            if is_output(name):
                continue
            with guarded(str(self.path / name)), opener() as stream:
                digest.update(f"\n{name}\n{stream.seek(0, os.SEEK_END)}\n".encode("utf-8", "surrogateescape"))
                stream.seek(0)
                while piece := stream.read(SAMPLE):
                    digest.update(piece)
        return digest.hexdigest()

    def _wanted(self, document: Document) -> Document:
        """Leave out the unwanted texts: the whole document, or those of its paragraphs."""
        kept = tuple(text for text in document.paragraphs if text_key(text) not in self._unwanted)
        kept = () if document.key in self._unwanted else kept
        self.notes[UNWANTED] += kept != document.paragraphs
        return replace(document, paragraphs=kept)

    def _blobs(self) -> Iterator[Blob]:
        return _blobs(self._tree, self.notes) if self._tree else iter([file_blob(self.path)])

    def _reader(self, blob: Blob, found: list[str]) -> Reader | None:
        """Find out what a file is; None where there is no text in it."""
        if kind_of(blob.head(16)) == "parquet":
            arrow(blob.name, "Parquet")
            from filbert.readers.formats.parquet import Parquet

            return _table_reader([Parquet(blob)], found)
        if not blob.head(SAMPLE).strip():
            return None
        encoding, said = decide(blob, self._encoding)
        found += said
        lines = [line.strip() for line in sample_lines(blob, encoding, SAMPLE)]
        while lines and not visible(lines[0]):
            lines.pop(0)
        if tables := _tables(blob, encoding, lines, found):
            return _table_reader(tables, found)
        if lines and DOC.match(lines[0]):
            found.append("format: WikiExtractor documents, <doc …> to </doc>")
            return partial(_wiki, LineTable(blob, encoding))
        if self._several and len(blob.head(SMALL + 1)) <= SMALL:
            found.append("format: plain text, a document a file")
            return partial(_whole, blob, self._encoding)
        longest, how = _longest(lines)
        found.append(f"format: plain text, {how}")
        return partial(_plain, LineTable(blob, encoding), longest)


def open_corpus(path: str | Path, encoding: str | None = None, *, leave_out: Iterable[str] = ()) -> Corpus:
    """Open a file, folder, archive or hub data set (`owner/name`) of texts and find out what it is.

    `leave_out` are texts that are not to be read, as documents or paragraphs: those that a model will be tested on.
    Raises DataError where it cannot be read or holds no text, ConfigError where there is no such encoding.
    """
    ReadOptions(encoding=encoding)
    local = Path(path)
    with guarded(str(path)):
        there = local.exists()
    if not there and is_hub_id(str(path)):
        local, _ = download(str(path))
    elif not there:
        raise fatal(str(path), "file", "does not exist", "check the path")
    return Corpus(local, str(path) if not there else local.resolve().name, encoding, leave_out)


def _tree(path: Path) -> Tree | None:
    if path.is_dir():
        return folder_tree(path)
    if not path.is_file():
        raise fatal(str(path), "file", "is a pipe or device, which cannot be read twice", "save it to a file first")
    return _archive(file_blob(path))


def _archive(blob: Blob) -> Tree | None:
    kind = kind_of(blob.head(512))
    if kind == "zip" and blob.suffix not in (".zip", ""):
        raise fatal(blob.name, "file", "is an office document or package", "save it as text (UTF-8)")
    return archive_tree(blob, kind) if kind in ("tar", "zip") else None


def _blobs(tree: Tree, notes: Counter[str]) -> Iterator[Blob]:
    """Yield the files that hold texts: of `aclImdb` only those in class folders, not the lists that lie above them."""
    above: set[str] = set()
    for name, _ in islice(tree.walk(), 20):
        above |= _above(name)
    for name, opener in tree.walk():
        path = PurePosixPath(name)
        above |= _above(name)
        about = path.suffix.lower() in NO_TABLES or path.stem.upper() in ABOUT or is_output(name)
        if about or str(path.parent) in above:
            notes["files not used"] += 1
        elif tree.joint == "!":
            yield _member(tree, name, opener)
        elif inner := _archive(blob := tree.blob(name)):
            yield from _blobs(inner, notes)
        else:
            yield blob


def _above(name: str) -> set[str]:
    """Return the folders above a class folder, itself below one named train or test; nothing where there is none."""
    return set(map(str, PurePosixPath(name).parent.parents)) if class_of(name, None) else set()


def _member(tree: Tree, name: str, opener: Callable[[], BinaryIO]) -> Blob:
    shown = f"{tree.name}!{name if name.isprintable() else ascii(name)[1:-1]}"  # a name may hold terminal codes
    with guarded(shown), opener() as stream:
        data = read_fully(stream, HELD + 1)
    blob = Blob(shown, lambda: io.BytesIO(data), stored=len(data)) if len(data) <= HELD else tree.blob(name)
    kind = kind_of(data[:512])
    if unpack := PACKED.get(kind):
        packed = blob
        blob = Blob(shown, lambda: cast(BinaryIO, unpack(packed.open())), stored=packed.stored)
    if kind_of(blob.head(512)) in ("tar", "zip"):
        raise fatal(shown, "file", "is an archive inside an archive", "unpack the outer one into a folder")
    return blob


def _tables(blob: Blob, encoding: Encoding, lines: list[str], found: list[str]) -> list[Table]:
    """Return the tables of a file that is one: by its name, and JSON lines by what they are too."""
    if blob.suffix in (".json", ".jsonl", ".ndjson"):
        return [table for _, table in open_json(blob, encoding, found)]
    filled = [line for line in lines if line][:50]
    if filled and all(re.match(r'\{\s*"', line) for line in filled):
        return [JsonLines(blob, encoding)]
    return [Delimited(blob, encoding, ReadOptions())] if blob.suffix in (".csv", ".tsv") else []


def _table_reader(tables: list[Table], found: list[str]) -> Reader:
    pairs = []
    for table in tables:
        roles = table.roles or choose(table.columns, table.sample, ReadOptions(), file=table.name, labelled=False)
        names = [name for names in roles.inputs for name in names]
        found += [*table.found, f"each row a document — text: {', '.join(map(repr, names))}"]
        pairs.append((table, names, Roles(roles.inputs)))  # what may be wrong with a target is of no concern

    def documents(ledger: Ledger) -> Iterator[Document]:
        for table, names, roles in pairs:
            for line, row in table.rows(roles, ledger):
                yield Document(_paragraphs(joined(row, names)), Place(table.name, line))

    return documents


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if visible(line))


def _whole(blob: Blob, encoding: str | None, ledger: Ledger) -> Iterator[Document]:
    try:
        yield Document(_paragraphs(decode_text(blob.head(SMALL), blob.name, encoding)), Place(blob.name))
    except DataError as error:
        for problem in error.problems:
            ledger.reject(problem, "")


def _longest(lines: list[str]) -> tuple[int | None, str]:
    """Return how many lines a document of plain text has at most, and the rule in words."""
    filled = [line for line in lines if visible(line)]
    if not all(map(visible, "\n".join(lines).strip().split("\n"))):
        return None, "a blank line between documents"
    if sum(len(SENTENCE_END.findall(line)) >= 2 for line in filled) * 2 > len(filled):
        return 1, "no blank lines, several sentences a line: each line a document"
    return RUN, f"no blank line says where a document ends: every {RUN} lines are one"


def _plain(table: LineTable, longest: int | None, ledger: Ledger) -> Iterator[Document]:
    lines: list[str] = []
    start = size = 0
    for number, line in table.numbered(ledger):
        if visible(line):
            start = start if lines else number
            lines.append(line.strip())
            size += len(line)
        if lines and (not visible(line) or len(lines) == longest or size >= LONGEST):
            yield Document(tuple(lines), Place(table.name, start))
            lines, size = [], 0
    if lines:
        yield Document(tuple(lines), Place(table.name, start))


def _wiki(table: LineTable, ledger: Ledger) -> Iterator[Document]:
    """Yield the articles; the title, which their first line repeats, is left out."""
    todo = "the file is cut or mixed: extract it again"
    title, start = "", 0
    lines: list[str] = []
    for number, line in table.numbered(ledger):
        text = line.strip()
        if opened := DOC.match(text):
            if start:
                ledger.reject(Problem(Place(table.name, start), "<doc>", "is not closed by </doc>", todo), "")
            title, start, lines = tidied(opened[1] or ""), number, []
        elif text == "</doc>" and start:
            yield Document(tuple(lines), Place(table.name, start))
            start = 0
        elif start:
            text = tidied(text)
            if visible(text) and (lines or text != title):
                lines.append(text)
        elif text:
            ledger.reject(Problem(Place(table.name, number), "<doc>", "a line stands outside of it", todo), line)
    if start:
        ledger.reject(Problem(Place(table.name, start), "<doc>", "is not closed by </doc>", todo), "")


def tidied(line: str) -> str:
    """Return a line of WikiExtractor's without stray tags, references and entities.

    >>> tidied("R&amp;B, &lt;br&gt;1986<ref name=a>p. 3</ref>; vector<T>")
    'R&B, 1986; vector<T>'
    """
    if "<" not in line and "&" not in line:
        return line
    line = TAG.sub(lambda tag: " " if tag[1] else "", REFERENCE.sub("", html.unescape(line)))
    return " ".join(line.split())
