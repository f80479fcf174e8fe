"""What a delimited file looks like, from its first megabyte: delimiter, quoting, header, columns, sample rows.

Only looks; the strict reading is delimited.py. A sample may be broken, so nothing here raises for a bad row.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from filbert.errors import counted, shown
from filbert.readers.blobs import Blob
from filbert.readers.encodings import BLOCK, Encoding
from filbert.readers.formats.delimited import Shape, dialect, records
from filbert.readers.formats.header import TITLES, has_header, title_lines
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.lines import LIMIT, cut
from filbert.readers.names import known_name
from filbert.readers.options import ReadOptions

CANDIDATES = (",", "\t", ";", "|")
WORDS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe", " ": "space"}
ROWS = 1_000  # rows looked at
FEW = 3  # lines that tell too little of a file that has more


SEP = re.compile(r'"?sep=([^"\r\n]{1,3})"?[\r\n]*', re.I)  # what Excel writes above a table, and obeys


@dataclass(frozen=True)
class Look:
    """What was seen: how to read the file, its column names, and sample rows without the header.

    `above` lines stand before the first row; `hint` says what else they may be.
    """

    delimiter: str
    quotes: bool
    header: bool
    columns: tuple[str, ...]
    rows: list[list[str]]
    blanks: bool = False
    above: int = 0
    hint: str = ""


def sample_lines(blob: Blob, encoding: Encoding, size: int = BLOCK) -> list[str]:
    """Return the whole lines among the first `size` bytes, undecodable bytes replaced: for looking only.

    Where these hold a few lines at most, long ones, more is read.
    """
    while True:
        head = blob.head(size + encoding.bom)
        full = len(head) >= size + encoding.bom
        lines = cut(head[encoding.bom :].decode(encoding.codec, errors="replace"))
        if not full or len(lines) > FEW or size > LIMIT:
            break
        size = min(4 * size, LIMIT + 1)
    if full and len(lines) > 1:
        lines.pop()
    elif full and len(blob.head(LIMIT + 1)) > LIMIT:
        wrong = f"the line is longer than {LIMIT // 2**20} MB"
        raise fatal(blob.name, "row", wrong, "is this a text file? split the line", line=1)
    if not any(line.strip("\r\n\ufeff") for line in lines):
        raise fatal(blob.name, "file", "is empty", "give a file with texts")
    return lines


def look(blob: Blob, encoding: Encoding, options: ReadOptions) -> Look:
    """Return what a delimited file looks like."""
    lines = sample_lines(blob, encoding)
    above = _above(lines, options, blob.name)
    sep = SEP.fullmatch(lines[above])
    above += bool(sep)
    lines = lines[above:]
    if not any(line.strip() for line in lines):
        raise fatal(blob.name, "file", "has no rows", "add texts below the first lines", line=1)
    delimiter = options.separator or (sep[1] if sep else find_delimiter(lines, blob.suffix))
    if delimiter == " ":
        rows = [line.rstrip("\r\n").split(" ", 1) for line in lines[:ROWS]]
        return _named(blob, rows, Look(delimiter, False, bool(options.header), (), [], above=above))
    quotes = len(delimiter) == 1 and (find_quotes(lines, delimiter) if options.quotes is None else options.quotes)
    blanks = quotes and _blanks(lines, delimiter)
    shape = Shape(delimiter, quotes, 0, blanks=blanks)
    title = _title(lines, shape) if options.header is not False and not options.skip_lines else 0
    header = has_header(parse(lines[title:], shape)[: ROWS + 1], options)
    hint = ""
    if title and not header:
        hint = f"; where {counted(title, 'line')} at the top should be no row, add --skip-lines {title}"
        title = 0
    rows = parse(lines[title:], shape)[: ROWS + 1]
    if header and len(rows) == 1:
        raise fatal(blob.name, "file", "has a header but no rows", "add texts below it", line=1)
    shape = replace(shape, width=len(rows[0]) if header else _usual_width(rows))
    # a broken record swallows lines in `parse`; Records gives them back, so the sample stays a good one
    sound = [fields for _, fields in records(lines[title : title + 2 * ROWS], shape, blob.name, Ledger())][: ROWS + 1]
    kept = [rows[0], *sound[1:]] if header else sound or rows
    return _named(blob, kept, Look(delimiter, quotes, header, (), [], blanks, above + title, hint))


def _above(lines: Sequence[str], options: ReadOptions, name: str) -> int:
    """Return how many lines are not to be read, as the options say."""
    if options.skip_lines >= len(lines):
        wrong = f"has {counted(len(lines), 'line')} in its first megabyte, and {options.skip_lines:,} are to be skipped"
        raise fatal(name, "file", wrong, "give a smaller --skip-lines")
    return options.skip_lines


def _title(lines: Sequence[str], shape: Shape) -> int:
    """Return how many lines stand above what may be the header; 0 where the first line may."""
    rows = [(parse([line], shape) or [[]])[0] for line in lines[: TITLES + 1]]
    return title_lines(rows)


def _blanks(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether blanks stand between delimiters and quotes: `"a", "b"`; a quoted blank is part of its field."""
    if not re.search(re.escape(delimiter) + ' +"', "".join(lines)):
        return False
    without, with_blanks = (parse(lines, Shape(delimiter, True, 0, blanks=blanks)) for blanks in (False, True))
    opened = [sum(bool(re.match(' +"', cell)) for row in rows for cell in row) for rows in (without, with_blanks)]
    return opened[1] < opened[0] and len(set(map(len, with_blanks))) <= len(set(map(len, without)))


def _named(blob: Blob, rows: list[list[str]], seen: Look) -> Look:
    """Return what was seen with the columns and the rows below the header."""
    if not seen.header:
        columns = tuple(f"column {at + 1}" for at in range(_usual_width(rows)))
        return replace(seen, columns=columns, rows=rows)
    names = [name.removeprefix("\ufeff") or f"column {at + 1}" for at, name in enumerate(rows[0])]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        wrong = f"the column {shown(twice[0])} stands {names.count(twice[0])} times"
        raise fatal(blob.name, "header", wrong, "rename one of them", line=1 + seen.above)
    return replace(seen, columns=tuple(names), rows=rows[1:])


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    return Counter(len(row) for row in rows).most_common(1)[0][0]


def parse(lines: Sequence[str], shape: Shape, *, strict: bool = False) -> list[list[str]]:
    """Return the sample's records, blank ones left out; raises csv.Error only when strict."""
    if len(shape.delimiter) > 1:
        return [line.rstrip("\r\n").split(shape.delimiter) for line in lines if line.strip()]
    csv.field_size_limit(max(csv.field_size_limit(), LIMIT + 1))
    reader = csv.reader(lines, strict=strict, **dialect(shape))
    rows: list[list[str]] = []
    while True:
        try:
            rows.extend(row for row in reader if row)
            return rows
        except csv.Error:  # a lone CR; the reader goes on with the next line
            if strict:
                raise


def find_delimiter(lines: Sequence[str], suffix: str) -> str:
    r"""Return the delimiter that cuts most lines into the same number of fields; a file's name only breaks ties.

    >>> find_delimiter(["a , b\t1\n", "c\t0\n"], ".csv")
    '\t'
    """
    usual = "\t" if suffix == ".tsv" else ","
    scores = {delimiter: _evenness(lines[:ROWS], delimiter) for delimiter in CANDIDATES}
    best = max(CANDIDATES, key=lambda d: (scores[d], d == usual))
    return best if scores[best] > 0 else usual


def _evenness(lines: Sequence[str], delimiter: str) -> float:
    rows = parse(lines, Shape(delimiter, delimiter != "\t", 0))
    if not rows or len(rows[0]) < 2:
        return 0.0
    width, count = Counter(len(row) for row in rows).most_common(1)[0]
    named = any(known_name(cell) for cell in rows[0]) and len(rows[0]) == width
    return 0.0 if width < 2 else count / len(rows) + named


def find_quotes(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether `"` quotes fields. Always so but in TSV, where most files use it as a plain character.

    A TSV file counts as quoted where the sample reads without a fault that way, and some field needed its quotes
    (holds a tab, a line end or a doubled quote) or a whole column has them.
    """
    if delimiter != "\t" or not any('"' in line for line in lines):
        return delimiter != "\t"
    try:
        quoted = parse(lines, Shape(delimiter, True, 0), strict=True)
    except csv.Error as error:
        if "end of data" not in str(error):
            return False
        quoted = []  # the sample may have been cut inside a record
    widths = Counter(map(len, quoted))
    if len(widths) > 1:
        return False
    if re.search(r'(?:^|\t)"[^"\t]*""[^\t]*"(?:\t|\r|\n|$)', "".join(lines), re.M):
        return True
    if any(re.search(r"[\t\r\n]", cell) for row in quoted for cell in row):
        return True
    literal = [line.rstrip("\r\n").split("\t") for line in lines]
    columns = list(zip(*literal[1:], strict=False))
    return any(all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in column) for column in columns)
