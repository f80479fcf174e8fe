"""Shortcuts: what gives a text's class away without its being read — its length, one word, the order of a column.

A model that takes a shortcut scores well here and fails on texts that come from elsewhere (Geirhos et al. 2020). What
is found may also be right: "who" asks for a person. It is for a person to say; so each finding has its figures.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filbert.data.findings import Finding, places
from filbert.errors import shown
from filbert.records import Example
from filbert.text.chinese import han_share

SAMPLED = 20_000  # texts that are looked at
READ = 4_000  # characters of a text, for its words
PURE = 0.98  # share of one class, from which on the rest may be chance
TRIVIAL = 0.8  # a class that so many texts have anyway is no news
FEWEST = 30  # texts, or a fiftieth of all where that is more
COVERED = 0.5  # share of a class's texts that a word must stand in
WORDS = 5  # said
LISTED = 100  # distinct values of a column, at most a twentieth of the texts, to be a source rather than a number

Classes = Sequence[Sequence[str]]  # of each text


@dataclass(frozen=True)
class Labelled:
    """Texts and the classes of each; `of(c)` tells which of them have a class."""

    examples: Sequence[Example]
    classes: Classes

    def counts(self) -> Counter[str]:
        """Texts of each class."""
        return Counter(name for names in self.classes for name in set(names))

    def flags(self, name: str) -> npt.NDArray[np.bool_]:
        """Which texts have the class."""
        return np.array([name in names for names in self.classes])

    @property
    def fewest(self) -> int:
        """Texts that a shortcut must hold for."""
        return max(FEWEST, len(self.examples) // 50)


def shortcuts(examples: Sequence[Example], classes: Classes, unused: Sequence[str]) -> list[Finding]:
    """Return what gives classes away in a sample of the texts: lengths, words, and the columns in `unused`.

    >>> texts = [Example(("good " * (3 + 60 * (n % 2)),)) for n in range(200)]
    >>> found = shortcuts(texts, [("short", "long")[n % 2 : n % 2 + 1] for n in range(200)], [])
    >>> found[0].said
    "texts of under 63 words are 100.0 % 'short' (100 of 100), all texts 50.0 %"
    """
    step = max(1, len(examples) // SAMPLED)
    kept = Labelled(examples[::step], classes[::step])
    counts = kept.counts()
    usual = [name for name, many in counts.items() if many <= TRIVIAL * len(kept.examples) and many >= FEWEST]
    if len(counts) < 2 or not usual:
        return []
    chinese = han_share([example.text for example in kept.examples[:1000]]) > 0.3
    found = [*_by_length(kept, usual, chinese), *_by_word(kept, usual, chinese)]
    for column in unused:
        found += _by_column(kept, usual, column)
    return found


def _by_length(kept: Labelled, usual: Sequence[str], chinese: bool) -> Iterator[Finding]:
    unit = "characters" if chinese else "words"
    lengths_N = np.array(
        [sum(len(text) if chinese else len(text.split()) for text in example.inputs) for example in kept.examples]
    )
    for name in usual:
        has_N = kept.flags(name)
        for side, order_N in (
            ("over", np.argsort(-lengths_N, kind="stable")),
            ("under", np.argsort(lengths_N, kind="stable")),
        ):
            many = _pure_run(lengths_N[order_N], has_N[order_N], kept.fewest)
            if many == len(order_N) or not many:
                continue
            inside = order_N[:many]
            edge = lengths_N[order_N[many]]
            right, share = int(has_N[inside].sum()), has_N.mean()
            said = (
                f"texts of {side} {edge:,} {unit} are {100 * right / many:.1f} % {shown(name, 40)} "
                f"({right:,} of {many:,}), all texts {100 * share:.1f} %"
            )
            kind = "long" if side == "over" else "short"
            cure = (
                f"the length gives the class away: add {kind} texts of the other classes, or see how texts were chosen"
            )
            yield Finding("length", said, many, places([kept.examples[i] for i in inside[:20]]), cure)


def _pure_run(sorted_N: npt.NDArray[np.int64], has_N: npt.NDArray[np.bool_], fewest: int) -> int:
    """Return the most first texts, up to a change of length, of which nearly all have the class; 0 where none do."""
    share_N = np.cumsum(has_N) / np.arange(1, len(has_N) + 1)
    ends_N = np.append(sorted_N[1:] != sorted_N[:-1], True)
    enough_N = np.arange(1, len(has_N) + 1) >= fewest
    good = np.flatnonzero((share_N >= PURE) & ends_N & enough_N)
    return int(good[-1]) + 1 if len(good) else 0


def _by_word(kept: Labelled, usual: Sequence[str], chinese: bool) -> list[Finding]:
    """Return the words in half of a class's texts and hardly any others, those in most texts first."""
    total: Counter[str] = Counter()
    inside: dict[str, Counter[str]] = {name: Counter() for name in usual}
    for example, names in zip(kept.examples, kept.classes, strict=True):
        words = set(_words(" ".join(example.inputs)[:READ], chinese))
        total.update(words)
        for name in names:
            if name in inside:
                inside[name].update(words)
    counts = kept.counts()
    found: list[tuple[int, str, str]] = []
    for name, with_class in inside.items():
        found += [
            (many, word, name)
            for word, many in with_class.items()
            if many >= COVERED * counts[name] and many >= PURE * total[word] and total[word] >= FEWEST
        ]
    findings = []
    for many, word, name in sorted(found, reverse=True)[:WORDS]:
        others = f"{total[word] - many:,} of the other {len(kept.examples) - counts[name]:,}"
        said = (
            f"{shown(word, 30)} stands in {many:,} of the {counts[name]:,} texts of {shown(name, 40)} and in {others}"
        )
        where = [example for example in kept.examples if _holds(example, word, chinese)]
        cure = "if it is a mark of where a text comes from, and not what it says, take it out of the texts"
        findings.append(Finding("word", said, many, places(where[:20]), cure))
    return findings


def _holds(example: Example, word: str, chinese: bool) -> bool:
    text = " ".join(example.inputs)[:READ]
    return word in text.casefold() and word in _words(text, chinese)


def _words(text: str, chinese: bool) -> list[str]:
    """Return the words of a text; in Chinese its characters by two."""
    if not chinese:
        return re.findall(r"\w+", text.casefold())
    return [run[i : i + 2] for run in re.findall(r"\w+", text.casefold()) for i in range(max(1, len(run) - 1))]


def _by_column(kept: Labelled, usual: Sequence[str], column: str) -> Iterator[Finding]:
    """Tell whether the order of a column's numbers, or each of its values, says the class."""
    cells = [example.columns.get(column, "").strip() for example in kept.examples]
    numbers = _numbers(cells)
    if numbers is not None:
        yield from _ordered(kept, usual, column, numbers)
        return
    values = Counter(cells)
    if not 1 < len(values) <= max(LISTED, len(cells) // 20):
        return
    by_value: dict[str, Counter[str]] = {value: Counter() for value in values}
    for cell, names in zip(cells, kept.classes, strict=True):
        by_value[cell].update(set(names))
    told = sum(max(inner.values(), default=0) for inner in by_value.values())
    most = max(kept.counts().values())
    if told >= PURE * len(cells) and most <= TRIVIAL * len(cells):
        said = f"column {shown(column, 40)} alone says the class of {told:,} of {len(cells):,} texts"
        yield Finding("column", said, told, (), "check how the texts were labelled; do not join it to the text")


def _ordered(
    kept: Labelled, usual: Sequence[str], column: str, numbers_N: npt.NDArray[np.float64]
) -> Iterator[Finding]:
    order_N = np.argsort(numbers_N, kind="stable")
    for name in usual:
        has_N = kept.flags(name)[order_N]
        share = has_N.mean()
        changes = int((has_N[1:] != has_N[:-1]).sum())
        expected = 2 * share * (1 - share) * (len(has_N) - 1)
        if changes <= (1 - PURE) * expected:
            said = f"sorted by column {shown(column, 40)}, {shown(name, 40)} and the other texts change {changes:,} "
            said += f"times, by chance {expected:,.0f}"
            cure = "the column orders the classes: check how the texts were collected; do not join it to the text"
            yield Finding("column", said, len(has_N), (), cure)
            return


def _numbers(cells: Sequence[str]) -> npt.NDArray[np.float64] | None:
    """Return the numbers of a column, None where it holds other cells, or few different ones."""
    try:
        numbers_N = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    return numbers_N if np.isfinite(numbers_N).all() and len(np.unique(numbers_N)) > len(cells) / 2 else None


def unused_columns(examples: Sequence[Example], roles: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """Return the columns that are neither texts nor target, of files that have columns; `roles` as a model keeps them.

    >>> row = Example(("a",), columns={"text": "a", "label": "b", "id": "1"})
    >>> unused_columns([row], {"inputs": [["text"]], "target": [["label"]]})
    ['id']
    """
    used = {name for names in (*roles.get("inputs", ()), *roles.get("target", ())) for name in names}
    return [column for column in examples[0].columns if column not in used] if used and examples else []
