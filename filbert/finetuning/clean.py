"""A cleaned copy of a file of examples: without bad, repeated and contradictory rows, without those held out, too.

The rows keep their columns and cells. Labels that stand alone in their cell are written in their usual spelling.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from filbert.data.doctor import superfluous
from filbert.finetuning.examine import Examined
from filbert.inference.writers import open_writer
from filbert.records import Example
from filbert.tasks.labels import MISSING, variants
from filbert.text.visible import visible

PART = "split"


def write_cleaned(examined: Examined, out: Path, *, overwrite: bool, near: bool = False) -> Counter[str]:
    """Write the copy, in the format of its suffix → how many rows were written, left out and changed, by why.

    With `near` texts that are nearly the same as an earlier one are left out, too. Parts of one source go into one
    table, with a column that says which. Raises ConfigError where `out` exists.

    >>> write_cleaned(examined, Path("clean.csv"), overwrite=False)  # doctest: +SKIP
    Counter({'written': 9265, 'held out, too': 335})
    """
    read, counts = examined.read, Counter[str]()
    gone = superfluous(read.train, examined.met)
    gone = {**dict.fromkeys(examined.near if near else (), "nearly repeated"), **gone}
    usual = {other: first for first, others in variants(_labels(examined)) for other in others}
    target = next(iter(read.columns.get("target", [])), ["label"])
    where = target[0] if len(target) == 1 else ""
    parts = {name: part for name, part in read.parts.items() if part and name not in examined.apart}
    several = len(parts) > 1
    names = list(dict.fromkeys(column for part in parts.values() for example in part[:1] for column in example.columns))
    add = [PART] if several and PART not in names else []
    at = -1
    with open_writer(out, [*names, *add], overwrite=overwrite) as write:
        for name in sorted(parts, key=lambda part: (part not in ("train", "all"), part)):
            for example in parts[name]:
                at += name in ("train", "all")
                if name in ("train", "all") and (why := gone.get(at)):
                    counts[why] += 1
                    continue
                if not any(map(visible, example.inputs)):
                    counts["empty"] += 1
                    continue
                if _missing(example, where):
                    counts["no label"] += 1
                    continue
                row = {column: example.columns.get(column, "") for column in names}
                if where in row and row[where] in usual:
                    row[where] = usual[row[where]]
                    counts["label respelled"] += 1
                counts["written"] += 1
                write({**row, **dict.fromkeys(add, name)})
    return counts


def _labels(examined: Examined) -> Counter[str]:
    """Return how many texts have each label."""
    parts = examined.parts.values()
    return Counter(name for part in parts for names in examined.read.task.classes(part) for name in names)


def _missing(example: Example, column: str) -> bool:
    """Tell whether the cell of a label is what programs write for a missing one."""
    return isinstance(example.target, str) and example.columns.get(column, "").strip().casefold() in MISSING
