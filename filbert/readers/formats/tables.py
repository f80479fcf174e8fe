"""A table of rows from one stream: delimited text, one text a line, fastText lines. JSON and Parquet stand beside it.

Every table has the same face: `columns`, a `sample` of rows to choose the columns by, `rows` that streams
(line, {column: value}) and hands what is wrong to the ledger, `raw` for the current row as it stands in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from filbert.errors import Place, Problem, shown
from filbert.readers.blobs import Blob
from filbert.readers.columns import Roles
from filbert.readers.encodings import Encoding
from filbert.readers.formats.delimited import Records, Shape
from filbert.readers.formats.sniff import WORDS, look, sample_lines
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import BadLine, read_lines
from filbert.readers.options import ReadOptions

Row = dict[str, str]
FASTTEXT = re.compile(r"((?:__label__\S+[ \t]+)*__label__\S+)(?:[ \t]+|$)(.*)", re.DOTALL)


class Table:
    """Rows of one file with named columns."""

    name: str
    columns: tuple[str, ...]
    sample: Sequence[Mapping[str, str]]
    found: list[str]
    roles: Roles | None = None  # where the format itself says what is text and what is label
    nested = False  # whether a cell may be a list or object as JSON text
    hint = ""  # what may help where the columns cannot be told

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield (line from 1, the whole row as strings); problems go to the ledger."""
        raise NotImplementedError

    def raw(self) -> str:
        """Return the row last yielded as it stands in the file."""
        raise NotImplementedError


class Delimited(Table):
    """A CSV or TSV file."""

    def __init__(self, blob: Blob, encoding: Encoding, options: ReadOptions) -> None:
        self.name, self._blob, self._encoding = blob.name, blob, encoding
        self._look = seen = look(blob, encoding, options)
        self.columns = seen.columns
        self.sample = [dict(zip(seen.columns, row, strict=True)) for row in seen.rows if len(row) == len(seen.columns)]
        word = WORDS.get(seen.delimiter, seen.delimiter)
        header = "header" if seen.header else "no header (the first row is data; if not, add --header)"
        plain = "" if seen.quotes or seen.delimiter != "\t" else ', " is a plain character'
        self.found = [f"format: {word}-separated{plain}, {header}, {len(self.columns)} columns"]
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
        shape = Shape(seen.delimiter, seen.quotes, len(columns), label_at, labels)
        self._records = records = Records(read_lines(self._blob, self._encoding), shape, self.name, ledger)
        iterator = iter(records)
        if seen.header:
            first = next(iterator, (1, []))
            if tuple(first[1]) != columns and not _generated(first[1], columns):
                problem = ledger.problems[0].wrong if ledger.problems else "is not the header seen before"
                raise fatal(self.name, "header", problem, "correct the first row", line=1)
        for line, fields in iterator:
            yield line, dict(zip(columns, fields, strict=True))


def _generated(names: list[str], columns: tuple[str, ...]) -> bool:
    """Tell whether the columns are these names with the empty ones filled in."""
    return len(names) == len(columns) and all(a in (b, "") for a, b in zip(names, columns, strict=True))


class LineTable(Table):
    """What the formats of one row a line have in common."""

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        self.name, self._blob, self._encoding = blob.name, blob, encoding
        self.line = ""

    def raw(self) -> str:
        """Return the current line."""
        return self.line

    def numbered(self, ledger: Ledger) -> Iterator[tuple[int, str]]:
        """Yield (number, line without its end), unreadable lines left to the ledger."""
        for number, line in enumerate(read_lines(self._blob, self._encoding), 1):
            if isinstance(line, BadLine):
                ledger.reject(Problem(Place(self.name, number), "row", line.wrong, line.todo), line, cut=line.cut)
                continue
            self.line = line
            yield number, line.rstrip("\r\n")


class Words(LineTable):
    """`label text`: the first word is the label, the rest of the line the text (TREC)."""

    columns = ("column 1", "column 2")

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        super().__init__(blob, encoding)
        lines = [line.rstrip("\r\n").split(" ", 1) for line in sample_lines(blob, encoding)]
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
    """`__label__x text`, one label a line."""

    columns = ("label", "text")

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        super().__init__(blob, encoding)
        self.sample: list[Row] = []
        self.found = ["format: fastText lines"]
        self.roles = Roles((("text",),), "label", how="columns — text and __label__ as fastText has them")

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield one row a line; a line with several labels is a problem."""
        for number, line in self.numbered(ledger):
            if not line:
                ledger.notes["blank lines skipped"] += 1
                continue
            match = FASTTEXT.match(line)
            names = [word.removeprefix("__label__") for word in match[1].split()] if match else [""]
            if match and len(names) > 1:
                wrong = f"has {len(names)} labels: {shown(match[1])}"
                todo = "multi-label is not supported here: keep one label a line"
                ledger.reject(Problem(Place(self.name, number), "label", wrong, todo), self.line)
                continue
            yield number, {"label": names[0], "text": match[2] if match else line}


class PlainText(LineTable):
    """One text a line, to be scored."""

    columns = ("text",)

    def __init__(self, blob: Blob, encoding: Encoding) -> None:
        super().__init__(blob, encoding)
        self.sample: list[Row] = []
        self.found = ["format: one text a line"]
        self.roles = Roles((("text",),))

    def rows(self, roles: Roles, ledger: Ledger) -> Iterator[tuple[int, Row]]:
        """Yield every line, blank ones too: a row must come out for each that went in."""
        for number, line in self.numbered(ledger):
            yield number, {"text": line}
