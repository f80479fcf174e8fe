"""Suspects as a table to correct, and the corrected table read back: where a text stands, its target, a better one.

    file,line,text[,text_pair],given,suggested,probability,quality,corrected,leave_out

A person fills in `corrected` (a target, as a cell of the training file has it), or anything in `leave_out`. A row
belongs to the text with its line and content; where lines have moved, to the only one with its content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filbert.errors import DataError, Place, Problem, Refusal, shown
from filbert.inference.writers import open_writer
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example
from filbert.tasks.task import Doubt, Reading
from filbert.text.same import same_key

TEXTS = ("text", "text_pair")
CORRECTED, LEAVE_OUT = "corrected", "leave_out"
NUMBERS = {"line": "int", "probability": "float", "quality": "float"}


def write_suspects(path: Path, suspects: Iterable[tuple[Example, Doubt]], *, pairs: bool) -> None:
    """Write the table of suspects; the file is replaced.

    >>> write_suspects(Path("suspects.csv"), [], pairs=False)  # doctest: +SKIP
    """
    texts = TEXTS if pairs else TEXTS[:1]
    tail = ("given", "suggested", "probability", "quality", CORRECTED, LEAVE_OUT)
    with open_writer(path, ("file", "line", *texts, *tail), NUMBERS, overwrite=True) as write:
        for example, doubt in suspects:
            sure = None if doubt.probability is None else round(doubt.probability, 4)
            cells: dict[str, Any] = {"file": example.place.file, "line": example.place.line}
            cells |= dict(zip(texts, example.inputs, strict=True))
            cells |= {"given": doubt.given, "suggested": doubt.suggested, "probability": sure}
            write({**cells, "quality": round(doubt.quality, 4), CORRECTED: "", LEAVE_OUT: ""})


def corrected(parts: Mapping[str, Sequence[Example]], path: str | Path, reading: Reading) -> dict[str, list[Example]]:
    """Return the parts with the corrected targets in place of their own, and without what is to be left out.

    Raises DataError, all rows listed, for a row that belongs to no text, or whose correction is no target.

    >>> corrected({"train": examples}, "suspects.csv", reading)  # doctest: +SKIP
    """
    rows = list(open_source(path, ReadOptions(text="text", header=True), labelled=False).examples())
    if rows and CORRECTED not in rows[0].columns:
        wrong = f"has no column {CORRECTED}"
        raise DataError(
            [Problem(Place(str(path)), "columns", wrong, "give the suspects.csv of fit --folds, filled in")]
        )
    by_text: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for name, part in parts.items():
        for at, example in enumerate(part):
            by_text[same_key(example.inputs)].append((name, at))
    changed: dict[tuple[str, int], tuple[bool, Any]] = {}
    problems: list[Problem] = []
    for row in rows:
        target, out = row.columns[CORRECTED].strip(), row.columns.get(LEAVE_OUT, "").strip()
        if not target and not out:
            continue
        inputs = tuple(row.columns[name] for name in TEXTS if row.columns.get(name))
        where = by_text.get(same_key(inputs), [])
        exact = [
            (name, at) for name, at in where if str(parts[name][at].place.line or "") == row.columns.get("line", "")
        ]
        chosen = exact[:1] or (where if len(where) == 1 else [])
        if not chosen:
            wrong = f"{'no text' if not where else 'more than one text'} is {shown(inputs[0] if inputs else '', 60)}"
            problems.append(Problem(row.place, "text", wrong, "leave text and line as fit --folds wrote them"))
            continue
        try:
            value = None if out else reading.parse(target)
            if value is not None and reading.locate is not None:
                value = reading.locate(value, inputs)
            changed[chosen[0]] = (bool(out), value)
        except Refusal as refusal:
            problems.append(Problem(row.place, CORRECTED, refusal.wrong, refusal.todo))
    if problems:
        raise DataError(problems)
    return {name: list(_applied(name, part, changed)) for name, part in parts.items()}


def _applied(
    name: str, part: Sequence[Example], changed: Mapping[tuple[str, int], tuple[bool, Any]]
) -> Iterator[Example]:
    for at, example in enumerate(part):
        out, target = changed.get((name, at), (False, example.target))
        if not out:
            yield replace(example, target=target)
