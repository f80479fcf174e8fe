"""Whether the cells of a column name several labels, and how they are separated."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from filbert.errors import shown

SEPARATORS = ("|", ";", ",", "；", "，", "、")
SURE_SHARE = 0.1  # of cells that are combined, from which on a column holds lists
LONGEST_LABEL = 60  # characters; longer parts are sentences


@dataclass(frozen=True)
class Lists:
    """A column in which a cell may name several labels: how they are separated, and how sure that is."""

    separator: str
    """One of `SEPARATORS`, or "json" for arrays."""
    sure: bool
    why: str

    def split(self, cell: str) -> list[str]:
        """Return the labels of a cell, each once, in their order; ValueError for a broken array.

        >>> Lists("|", True, "").split("a | b|a")
        ['a', 'b']
        """
        if self.separator == "json" and cell.lstrip().startswith("["):
            found = json.loads(cell, parse_int=str, parse_float=str)  # 1.0 is the label 1.0
            if not isinstance(found, list) or any(isinstance(item, (list, dict)) or item is None for item in found):
                raise ValueError("is no list of labels")
            parts = [str(item) for item in found]
        else:
            parts = cell.split(self.separator) if self.separator != "json" else [cell]
        return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def look_at_lists(cells: Sequence[str]) -> Lists | None:
    """Find out whether cells name several labels: arrays, or parts that recur with a separator between them.

    `sure` from a tenth of combined cells on; fewer are for a person to decide. Parts recur where most of the combined
    cells are made of parts that stand in other cells, too: "Furniture, indoor" as the name of one class has none.

    >>> look_at_lists(["a,b", "b", "a", "b,a"]).separator, look_at_lists(["Furniture, indoor", "Food"])
    (',', None)
    """
    seen = [cell for cell in cells if cell.strip()]
    arrays = [cell for cell in seen if cell.lstrip().startswith("[") and cell.rstrip().endswith("]")]
    if arrays and len(arrays) >= len(seen) / 2:
        found = Lists("json", True, "lists")
        try:
            several = sum(len(found.split(cell)) != 1 for cell in arrays)
        except ValueError:
            return None
        example = shown(max(arrays[:1000], key=len), 40)
        why = f"{several:,} of {len(arrays):,} lists have none or several labels, such as {example}"
        return Lists("json", True, why) if several else None
    looks = [look for separator in SEPARATORS if (look := _separated(seen, separator))]
    return max(looks, key=lambda look: look[0])[1] if looks else None


def commonest(cells: Sequence[str]) -> Lists:
    """Return lists by the separator that most cells hold, for a column that somebody says holds lists; else arrays.

    >>> commonest(["a|b", "c|d"]).separator, commonest(["a", "b"]).separator
    ('|', 'json')
    """
    counts = {separator: sum(separator in cell for cell in cells) for separator in SEPARATORS}
    separator = max(counts, key=lambda each: counts[each])
    return Lists(separator if counts[separator] else "json", False, "")


def _separated(cells: Sequence[str], separator: str) -> tuple[float, Lists] | None:
    """Return the share of cells that a separator divides into recurring labels, and the finding."""
    counts = Counter(cells)
    parts = {cell: [part.strip() for part in cell.split(separator)] for cell in counts}
    several = {cell for cell, found in parts.items() if len(found) > 1}
    if not several or any(len(part) > LONGEST_LABEL for cell in several for part in parts[cell]):
        return None
    stand_in = Counter(part for found in parts.values() for part in set(found))
    recurring = sum(all(part and stand_in[part] > 1 for part in parts[cell]) for cell in several)
    decimal = separator == "," and all(re.fullmatch(r"[+-]?\d+(,\d+)?", cell) for cell in counts)
    if recurring < len(several) / 2 and not (len(several) > 5 and len(stand_in) < len(several)):
        return None
    combined = sum(counts[cell] for cell in several)
    share = combined / len(cells)
    example = shown(max(several, key=lambda cell: counts[cell]), 40)
    why = f"{combined:,} of {len(cells):,} cells hold {shown(separator)} between labels that recur, such as {example}"
    return share, Lists(separator, share >= SURE_SHARE and not decimal, why)
