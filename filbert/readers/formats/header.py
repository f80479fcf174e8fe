"""Whether the first row of a delimited file holds names, and which lines stand above it.

A header is recognised by usual names of columns, by those that were told, else by cells unlike all that stand below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from filbert.readers.names import known_name
from filbert.readers.options import ReadOptions

TITLES = 20  # lines looked at for a header that stands below a title


def has_header(rows: Sequence[Sequence[str]], options: ReadOptions) -> bool:
    """Tell whether the first row holds names: usual ones, those given, or cells unlike all that stand below them.

    >>> has_header([["a fine , warm film", "1"], ["dull", "0"]], ReadOptions())
    False
    """
    if options.header is not None or not rows:
        return bool(options.header)
    first, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if any(name in first for name in _told(options)):
        return True
    below = [{row[at] for row in body} for at in range(len(first))]
    if any(known_name(cell) and cell not in below[at] for at, cell in enumerate(first)):
        return True
    return _unlike(first, body)


def _told(options: ReadOptions) -> set[str]:
    """Return the names that the options and the model's training give; numbers are none."""
    given = [options.text, options.text_pair, options.label, options.split_column]
    told = [part for names in given if names for part in (names, *names.split(","))]
    told += [name for names in (*options.trained_inputs, options.trained_target) for name in names]
    return {name.strip() for name in told if name.strip() and not name.strip().isdigit()}


def _unlike(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Tell a header of unusual names from a first row of data; in doubt it is data, which is said and can be undone.

    An export may leave the last cells of its header empty (`v1,v2,,`).
    """
    filled = len(first)
    while filled > 2 and not first[filled - 1]:
        filled -= 1
    head = first[:filled]
    names = [re.fullmatch(r"[^\W\d][\w#.\-]*(?: [\w#.\-]+){0,2}|#\d+ \w+", cell.strip()) for cell in head]
    if len(body) < 2 or not all(names) or len(set(head)) < len(head) or max(map(len, head)) > 30:
        return False
    proof = False
    for at, cell in enumerate(head):
        values = [row[at] for row in body]
        if cell in values:
            return False
        numeric = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", value) for value in values)
        proof = proof or numeric or (len(values) >= 4 and len(set(values)) <= len(values) // 2)
    return proof


def title_lines(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows at the top have one filled cell at most, above one with several; 0 where there are none.

    `rows` are those of the first lines, one each, blank ones too. A name as usual for a column makes a row no title;
    two of them make it the header, whatever stands above.

    >>> title_lines([["Export of May", ""], ["", ""], ["id", "text"], ["1", "fine"]])
    2
    """
    named = next((at for at, row in enumerate(rows[:TITLES]) if sum(map(known_name, row)) > 1 and all(row)), 0)
    if named:
        return named
    for at, row in enumerate(rows[:TITLES]):
        cells = [cell for cell in row if cell.strip()]
        if len(cells) > 1 or any(map(known_name, cells)):
            return at if len(cells) == len(row) else 0
    return 0
