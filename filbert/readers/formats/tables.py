"""A table of rows from one stream: delimited text, one text a line, fastText lines. JSON and Parquet stand beside it.

Every table has the same face: `columns`, a `sample` of rows to choose the columns by, `rows` that streams
(line, {column: value}) and hands what is wrong to the ledger, `raw` for the current row as it stands in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from filbert.errors import Place, Problem, counted, shown
from filbert.readers.blobs import Blob
from filbert.readers.columns import Roles
from filbert.readers.encodings import Encoding
from filbert.readers.formats.delimited import Records, Shape, records
from filbert.readers.formats.sniff import WORDS, look, sample_lines
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import BadLine, read_lines
from filbert.readers.names import known_name
from filbert.readers.options import ReadOptions

Row = dict[str, str]


class Table:
    """Rows of one file with named columns."""

    name: str
    columns: tuple[str, ...]
    sample: Sequence[Mapping[str, str]]
    found: list[str]
    roles: Roles | None = None  # where the format itself says what is text and what is label
    nested = False  # whether a cell may be a list or object as JSON text
    labelled = False  # whether rows are read for their labels
    hint = ""  # what may help where the columns cannot be told

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield (line from 1, the whole row as strings); problems go to the ledger."""
        raise NotImplementedError

    def raw(self) -> str:
        """Return the row last yielded as it stands in the file."""
        raise NotImplementedError


class Delimited(Table):
    """A CSV or TSV file, or one whose fields other characters separate."""

    def __init__(self, blob: Blob, encoding: Encoding, options: ReadOptions) -> None:
        self.name, self._blob, self._encoding = blob.name, blob, encoding
        self._look = seen = look(blob, encoding, options)
        self.columns, self.hint = seen.columns, seen.hint
        self.sample = [dict(zip(seen.columns, row, strict=True)) for row in seen.rows if len(row) == len(seen.columns)]
        word = WORDS.get(seen.delimiter, seen.delimiter if seen.delimiter.isprintable() else shown(seen.delimiter))
        header = "header" if seen.header else "no header (the first row is data; if not, add --header)"
        plain = "" if seen.quotes or seen.delimiter != "\t" else ', " is a plain character'
        above = f", {seen.above} line{'s' * (seen.above > 1)} above not read" if seen.above else ""
        self.found = [f"format: {word}-separated{plain}, {header}, {counted(len(self.columns), 'column')}{above}"]
        self._records: Records | None = None

    def raw(self) -> str:
        """Return the current record's physical lines."""
        return self._records.raw() if self._records else ""

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield the sound records."""
        columns, seen = self.columns, self._look
        target = roles.target or (roles.indicators[0] if roles.indicators else "")
        label_at = columns.index(target) if target in columns else None
        labels = frozenset(row.get(target, "") for row in self.sample) - {""}
        shape = Shape(seen.delimiter, seen.quotes, len(columns), label_at, labels, seen.blanks)
        lines = islice(read_lines(self._blob, self._encoding), seen.above, None)
        self._records = made = records(lines, shape, self.name, ledger, before=seen.above)
        iterator = iter(made)
        if seen.header:
            first = next(iterator, (1, []))
            if tuple(first[1]) != columns and not _generated(first[1], columns):
                problem = ledger.problems[0].wrong if ledger.problems else "is not the header seen before"
                raise fatal(self.name, "header", problem, "correct the first row", line=1 + seen.above)
        for line, fields in iterator:
            yield line, dict(zip(columns, fields, strict=True))


def _generated(names: list[str], columns: tuple[str, ...]) -> bool:
    """Tell whether the columns are these names with the empty ones filled in."""
    return len(names) == len(columns) and all(a in (b, "") for a, b in zip(names, columns, strict=True))


class LineTable(Table):
    """What the formats of one row a line have in common."""

    def __init__(self, blob: Blob, encoding: Encoding, *, above: int = 0) -> None:
        self.name, self._blob, self._encoding, self._above = blob.name, blob, encoding, above
        self.line = ""

    def raw(self) -> str:
        """Return the current line."""
        return self.line

    def sample_lines(self) -> list[str]:
        """Return the first lines with their ends, without those that stand above the first row."""
        return sample_lines(self._blob, self._encoding)[self._above :]

    def numbered(self, ledger: Ledger) -> Iterator[tuple[int, str]]:
        """Yield (number, line without its end), unreadable lines left to the ledger."""
        lines = islice(read_lines(self._blob, self._encoding), self._above, None)
        for number, line in enumerate(lines, self._above + 1):
            if isinstance(line, BadLine):
                ledger.reject(Problem(Place(self.name, number), "row", line.wrong, line.todo), line, cut=line.cut)
                continue
            self.line = line
            yield number, line.rstrip("\r\n")


class Words(LineTable):
    """`label text`: the first word is the label, the rest of the line the text (TREC)."""

    columns = ("column 1", "column 2")

    def __init__(self, blob: Blob, encoding: Encoding, *, above: int = 0) -> None:
        super().__init__(blob, encoding, above=above)
        lines = [line.rstrip("\r\n").split(" ", 1) for line in self.sample_lines()]
        self.sample = [dict(zip(self.columns, row, strict=True)) for row in lines if len(row) == 2]
        self.found = ["format: first word is the label, the rest of the line the text"]
        self.roles = Roles((("column 2",),), "column 1", how="columns — text: 2, label: 1")

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row for each line that is not blank."""
        for number, line in self.numbered(ledger):
            fields = line.split(" ", 1)
            if len(fields) == 2:
                yield number, {"column 1": fields[0], "column 2": fields[1]}
            elif line:
                problem = Problem(Place(self.name, number), "row", "has one word only", "write: label, space, text")
                ledger.reject(problem, self.line)
            else:
                ledger.notes["blank lines skipped"] += 1


class FastText(LineTable):
    """`__label__x text`; several labels become a JSON array, and all of them where one line of the sample has several.

    A comma ends a label where another one follows, or where each line of the sample has one there.
    """

    columns = ("label", "text")

    def __init__(self, blob: Blob, encoding: Encoding, *, above: int = 0) -> None:
        super().__init__(blob, encoding, above=above)
        lines = [line.rstrip("\r\n") for line in self.sample_lines() if line.strip()]
        words = [line.split(None, 1)[0] for line in map(_unquoted, lines) if line.startswith(MARK)]
        self._commas = bool(words) and all("," in word for word in words)
        self._several = False
        cut = [self._cut(line) for line in lines]
        self._several = any(len(labels) > 1 for labels, _ in cut)
        self.sample = [self._row(labels, text) for labels, text in cut]
        commas = (
            ", a comma ends a label" if any("," in word for word in words) and (self._commas or self._several) else ""
        )
        self.found = [f"format: fastText lines{', several labels a line' * self._several}{commas}"]
        self.roles = Roles((("text",),), "label", how="columns — text and __label__ as fastText has them")

    def _cut(self, line: str) -> tuple[list[str], str]:
        """Return the labels and the text of a line."""
        line = _unquoted(line)
        labels: list[str] = []
        while line.startswith(MARK):
            match = LABEL_COMMA.match(line) if self._commas else LABEL.match(line)
            assert match is not None
            labels.append(match[1])
            line = line[match.end() :].lstrip(" \t")
        return labels, _unquoted(line) if self._commas else line

    def _row(self, labels: list[str], text: str) -> Row:
        several = labels and (self._several or len(labels) > 1)
        return {"label": json.dumps(labels, ensure_ascii=False) if several else "".join(labels), "text": text}

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row a line."""
        quick = not self._several and not self._commas
        for number, line in self.numbered(ledger):
            if quick and (plain := PLAIN.match(line)):
                yield number, {"label": plain[1], "text": plain[2]}
            elif line:
                yield number, self._row(*self._cut(line))
            else:
                ledger.notes["blank lines skipped"] += 1


MARK = "__label__"
PLAIN = re.compile(r"__label__([^\s,]+)[ \t]+((?!__label__).*)", re.DOTALL)  # the usual line, by one match
LABEL = re.compile(r"__label__(\S*?)(?:,(?=__label__)|(?=\s)|$)")
LABEL_COMMA = re.compile(r"__label__([^\s,]*)(?:,|(?=\s)|$)")


def _unquoted(line: str) -> str:
    """Return a line without the quotes that a CSV writer put around it."""
    if len(line) > 1 and line[0] == line[-1] == '"':
        return line[1:-1].replace('""', '"')
    return line


def like_fasttext(lines: Sequence[str]) -> bool:
    """Tell whether most lines begin with a label of fastText's, and the first is no header of a table.

    >>> like_fasttext(["__label__a one", "__label__b two"]), like_fasttext(["label,text", '__label__a,"one"'])
    (True, False)
    """
    first = [cell.strip() for cell in re.split(r"[,;\t|]", lines[0])] if lines else []
    marked = sum(line.removeprefix('"').startswith(MARK) for line in lines)
    return marked > len(lines) / 2 and not (len(first) > 1 and all(first) and any(map(known_name, first)))


class PlainText(LineTable):
    """One text a line, to be scored."""

    columns = ("text",)

    def __init__(self, blob: Blob, encoding: Encoding, *, above: int = 0) -> None:
        super().__init__(blob, encoding, above=above)
        self.sample: list[Row] = []
        self.found = ["format: one text a line"]
        self.roles = Roles((("text",),))

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield every line, blank ones too: a row must come out for each that went in."""
        for number, line in self.numbered(ledger):
            yield number, {"text": line}
