"""Passages out of a text, a file or a folder of texts: paragraphs, each with its file and its line.

A passage is a piece of its file as it stands: paragraphs (parted by blank lines) together up to a thousand characters;
a longer one is cut at its lines, a longer line at its sentences, a longer sentence at a blank or anywhere. Files that
are no text, tables and archives among them, are counted and left out of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filbert.errors import Place, counted
from filbert.readers.blobs import Blob, file_blob, read_whole
from filbert.readers.encodings import decode_text
from filbert.readers.folders import folder_tree
from filbert.readers.ledger import fatal
from filbert.text.sentences import spans
from filbert.text.visible import visible

TOGETHER = 1_000  # characters of a passage, at most
FILE, ALL = 64 << 20, 64 << 20  # bytes of one file, and characters of all: to search Chinese takes 0.1 kB for each
NO_TEXT = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods", ".pdf", ".docx", ".zip")
LINE = re.compile(r"[^\n]+")
BLANK = re.compile(r"\n[ \t\r\f\v]*\n\s*")


@dataclass(frozen=True)
class Passage:
    """A piece of a file: its text and the line of its first character."""

    text: str
    place: Place

    def line_of(self, offset: int) -> Place:
        """Return the place of a character of the passage."""
        return Place(self.place.file, (self.place.line or 1) + self.text.count("\n", 0, offset))


def passages_of(text: str, name: str) -> list[Passage]:
    r"""Return the passages of a text.

    >>> [(p.text, p.place.line) for p in passages_of("One.\n\n" + "Two. " * 200 + "\n\nThree.", "a.txt")][2]
    ('Three.', 5)
    """
    found = []
    begin = end = 0
    for start, stop in _paragraphs(text):
        if end > begin and stop - begin > TOGETHER:
            found.append((begin, end))
            begin = start
        elif end == begin:
            begin = start
        end = stop
    if end > begin:
        found.append((begin, end))
    passages, line, at = [], 1, 0
    for begin, end in found:
        line, at = line + text.count("\n", at, begin), begin
        passages.append(Passage(text[begin:end], Place(name, line)))
    return passages


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for gap in BLANK.finditer(text):
        yield from _pieces(text, begin, gap.start())
        begin = gap.end()
    yield from _pieces(text, begin, len(text))


def _pieces(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a paragraph: whole, or its lines where it is too long, their sentences, or pieces of those."""
    if _short(text, begin, end):
        yield from _seen(text, begin, end)
        return
    for line in LINE.finditer(text, begin, end):
        if _short(text, *line.span()):
            yield from _seen(text, *line.span())
            continue
        for first, last in spans(line[0]):
            start, stop = line.start() + first, line.start() + last
            while stop - start > TOGETHER:
                blank = text.rfind(" ", start + TOGETHER // 2, start + TOGETHER)
                cut = start + TOGETHER if blank < 0 else blank
                yield from _seen(text, start, cut)
                start = cut
            yield from _seen(text, start, stop)


def _short(text: str, begin: int, end: int) -> bool:
    return end - begin <= TOGETHER or len(text[begin:end].strip()) <= TOGETHER


def _seen(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the span without the white space around it, where there is something to see in it."""
    piece = text[begin:end]
    if visible(piece):
        start = begin + len(piece) - len(piece.lstrip())
        yield start, begin + len(piece.rstrip())


def read_passages(path: Path, encoding: str | None = None) -> tuple[list[Passage], list[str]]:
    """Return the passages of a file, or of all texts of a folder, and lines on what was read.

    Raises DataError where a file cannot be read as text, and where nothing can be seen in any.
    """
    if path.is_dir():
        tree = folder_tree(path)
        names = [name for name, _ in tree.walk()]
        blobs = [tree.blob(name) for name in names if Path(name).suffix.lower() not in NO_TEXT]
    else:
        names, blobs = [str(path)], [file_blob(path)]
    passages, left_out, held = list[Passage](), len(names) - len(blobs), 0
    for blob in blobs:
        if path.is_dir() and b"\0" in blob.head(1024) and blob.head(2) not in (b"\xff\xfe", b"\xfe\xff"):
            left_out += 1
            continue
        text = _text(blob, encoding)
        held += len(text)
        if held > ALL:
            raise fatal(str(path), "folder", f"holds more than {ALL >> 20} million characters", "ask parts of it")
        passages += passages_of(text, blob.name)
    if not passages:
        raise fatal(str(path), "file", "holds no text that can be seen", "give a text file, or a folder of them")
    read = len(names) - left_out
    lines = [f"{counted(read, 'file')} read, {counted(len(passages), 'passage')}"]
    if left_out:
        lines.append(f"not read, as they are no plain text: {counted(left_out, 'file')}")
    return passages, lines


def _text(blob: Blob, encoding: str | None) -> str:
    data = read_whole(blob, FILE, "ask parts of it")
    text = decode_text(data, blob.name, encoding)
    if "\0" in text:
        raise fatal(blob.name, "file", "is no text: it holds NUL characters", "give a text file, saved as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
