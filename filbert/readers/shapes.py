"""What the values of a column tell: few and short as labels, long and varied as texts, only 0 and 1 as indicators.

Works on the sample of a table, its first rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from filbert.readers.names import ID_NAMES, nameless, plain

Rows = Sequence[Mapping[str, str]]

BITS = {
    **dict.fromkeys(("1", "1.0", "true", "True", "TRUE", "yes", "Yes", "YES"), True),
    **dict.fromkeys(("0", "0.0", "false", "False", "FALSE", "no", "No", "NO"), False),
}


def values(column: str, rows: Rows) -> list[str]:
    """Return a column of the sample."""
    return [row.get(column, "") for row in rows]


def mean_length(cells: Sequence[str]) -> float:
    """Return how long the cells are on average."""
    return sum(map(len, cells)) / max(1, len(cells))


def bit(cell: str) -> bool | None:
    """Return what an indicator's cell says; None where it is neither 0 nor 1, nor yes, no, true or false.

    >>> bit("1.0"), bit(" No "), bit("maybe")
    (True, False, None)
    """
    found = BITS.get(cell)
    return BITS.get(cell.strip().lower()) if found is None else found


def label_by_shape(columns: Sequence[str], rows: Rows, text: Sequence[str]) -> str | None:
    """Return the one column of few short values; None where there is none, or several."""
    columns = [c for c in columns if few(values(c, rows))]
    varied = [c for c in columns if len(set(values(c, rows))) > 1] or columns
    if not text and len(varied) > 1:
        longest = max(varied, key=lambda c: mean_length(values(c, rows)))
        shorter = [c for c in varied if mean_length(values(c, rows)) * 3 < mean_length(values(longest, rows))]
        varied = shorter if len(shorter) == len(varied) - 1 else varied
    return varied[0] if len(varied) == 1 else None


def few(cells: Sequence[str]) -> bool:
    """Tell whether a column's values can be labels: short, mostly filled, and repeated."""
    if not cells or mean_length(cells) > 60 or all(re.fullmatch(r"-?\d+\.\d+", cell) for cell in cells):
        return False
    if len(cells) >= 4 and cells.count("") > len(cells) / 2 and len(set(cells)) > 1:
        return False  # the overflow column of an export
    distinct = len(set(cells))
    return distinct <= len(cells) / 2 if len(cells) >= 20 else distinct < len(cells)


def text_by_shape(columns: Sequence[str], rows: Rows) -> str | None:
    """Return the column of the longest strings; None where a second one is half as long and as varied."""
    if len(columns) <= 1:
        return columns[0] if columns else None
    lengths = {column: mean_length(values(column, rows)) for column in columns}
    first, second = sorted(columns, key=lambda c: -lengths[c])[:2]
    varied = len(set(values(second, rows))) > len(rows) / 2
    return None if not rows or (lengths[second] >= lengths[first] / 2 and varied) else first


def pair_by_shape(columns: Sequence[str], rows: Rows, label: str) -> tuple[str, str] | None:
    """Return both texts of a file of three columns without a header: long, varied, no numbers, dates or keys."""
    texts = [column for column in columns if column != label]
    if not nameless(list(columns)) or len(columns) != 3 or len(texts) != 2 or len(rows) < 4:
        return None
    longest = mean_length(values(label, rows))
    for column in texts:
        cells = values(column, rows)
        keys = sum(bool(re.fullmatch(r"[A-Za-z0-9._:/\-]*", cell)) for cell in cells)
        if keys > len(cells) / 2 or len(set(cells)) <= len(cells) / 2 or mean_length(cells) < max(4, 2 * longest):
            return None
    return texts[0], texts[1]


def bits(columns: Sequence[str], rows: Rows) -> list[str]:
    """Return the columns that hold only 0 and 1, or nothing; row numbers and columns without a name are none."""
    if nameless(list(columns)):
        return []
    return [column for column in columns if plain(column) not in ID_NAMES and _only_bits(values(column, rows))]


def _only_bits(cells: Sequence[str]) -> bool:
    said = [bit(cell) for cell in cells if cell.strip()]
    return bool(said) and None not in said


def indicators_by_shape(columns: Sequence[str], rows: Rows) -> tuple[str, ...]:
    """Return the columns that say 0 or 1, a label each, where these are all that can tell labels.

    >>> indicators_by_shape(["id", "bug", "ask"], [{"id": "7", "bug": "1", "ask": "0"}, {"id": "8", "ask": "1"}])
    ('bug', 'ask')
    """
    found = bits(columns, rows)
    seen = {tuple(bit(row.get(column, "")) is True for column in found) for row in rows}
    others = [c for c in columns if c not in found and few(values(c, rows)) and len(set(values(c, rows))) > 1]
    if len(found) < 2 or len(seen) < 2 or others:
        return ()
    return tuple(found)
