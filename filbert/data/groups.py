"""Texts that belong together, as those of one contract, patient or author: kept on one side of a split, dealt in folds.

What is kept together is linked by any of several keys: two texts of one patient, or two that a model reads alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from filbert.errors import DataError, Place, Problem, shown
from filbert.records import Example
from filbert.text.same import same_key

Key = Callable[[Example], Hashable]
FEWEST_ROWS = 1.5  # a value, on average, for a column to be one of groups
NAMES = (
    *("patient", "author", "user", "customer", "client", "contract", "account", "subject", "session", "thread"),
    *("conversation", "document", "doc", "case", "company", "product", "speaker", "reviewer", "group", "source"),
    *("患者", "病人", "作者", "用户", "客户", "合同", "会话", "文档", "案件", "公司", "商品", "产品", "来源"),
)


def group_key(column: str) -> Key:
    """Return the key by a column: its cell, and for a text without one a key of its own.

    >>> group_key("patient")(Example(("a",), columns={"patient": "7"}))
    '7'
    """
    return lambda example: example.columns.get(column, "").strip() or id(example)


def check_group(column: str, examples: Sequence[Example], name: str) -> None:
    """Raise DataError where no text has such a column, or all have one value in it."""
    known = list(examples[0].columns)
    values = {example.columns.get(column) for example in examples}
    if values == {None}:
        listed = ", ".join(shown(each, 30) for each in known[:20]) or "none"
        raise DataError([Problem(Place(name), "--group", f"there is no column {shown(column)}", f"columns: {listed}")])
    if len(values) == 1:
        wrong = f"all rows have one value in column {shown(column)}: {shown(values.pop(), 40)}"
        raise DataError([Problem(Place(name), "--group", wrong, "choose another column")])


def linked(examples: Sequence[Example], keys: Sequence[Key]) -> list[int]:
    """Return for each example the number of its group: examples are in one where they share any key, or by others.

    >>> linked([Example(("a",), 1), Example(("b",), 1), Example(("a",), 2)], [lambda e: e.text, lambda e: e.target])
    [0, 0, 0]
    """
    parent = list(range(len(examples)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for key in keys:
        first: dict[Hashable, int] = {}
        for at, example in enumerate(examples):
            one, other = root(at), root(first.setdefault(key(example), at))
            parent[max(one, other)] = min(one, other)
    return [root(at) for at in range(len(examples))]


def folds(groups: Sequence[Hashable], strata: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """Deal examples into `count` folds of about one size, groups whole, strata in proportion → the fold of each.

    >>> sorted(folds(["a", "a", "b", "c"], [0, 0, 0, 0], 2, seed=0))
    [0, 0, 1, 1]
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        members[group].append(at)
    shuffled = [list(members.values())[at] for at in np.random.default_rng(seed).permutation(len(members))]
    shuffled.sort(key=len, reverse=True)  # the largest first; a stable sort, so that the others stay shuffled
    size, by_stratum = [0] * count, [Counter[Hashable]() for _ in range(count)]
    dealt = [0] * len(groups)
    for together in shuffled:
        needed = Counter(strata[at] for at in together)
        load = [
            (sum(part[key] * many for key, many in needed.items()), size[i], i) for i, part in enumerate(by_stratum)
        ]
        fold = min(load)[2]
        size[fold] += len(together)
        by_stratum[fold].update(needed)
        for at in together:
            dealt[at] = fold
    return dealt


def likely_groups(examples: Sequence[Example], used: Sequence[str]) -> list[str]:
    """Return the columns that look like groups by their names and because their values repeat.

    >>> rows = [Example((f"text {n}",), columns={"text": f"text {n}", "patient_id": str(n // 4)}) for n in range(40)]
    >>> likely_groups(rows, ["text"])
    ['patient_id']
    """
    found = []
    for column in examples[0].columns if examples else ():
        plain = column.casefold()
        if column in used or not any(name in plain for name in NAMES):
            continue
        values = Counter(example.columns.get(column, "") for example in examples)
        values.pop("", None)
        if len(values) > 1 and sum(values.values()) >= FEWEST_ROWS * len(values):
            found.append(column)
    return found


def on_both_sides(parts: Mapping[str, Sequence[Example]], column: str) -> dict[str, list[tuple[int, str]]]:
    """Return for each part beside train the texts whose group has texts in train, too, as (number, value).

    >>> one = Example(("a",), columns={"author": "Li"})
    >>> on_both_sides({"train": [one], "test": [one]}, "author")
    {'test': [(0, 'Li')]}
    """
    known = {value for example in parts["train"] if (value := example.columns.get(column, "").strip())}
    found = {}
    for name, part in parts.items():
        shared = [
            (at, value)
            for at, example in enumerate(part)
            if (value := example.columns.get(column, "").strip()) in known
        ]
        if name != "train" and shared:
            found[name] = shared
    return found


def same_text(example: Example) -> bytes:
    """Return what examples have in common whose texts a model reads alike.

    >>> same_text(Example(("Good.",))) == same_text(Example(("good.",)))
    True
    """
    return same_key(example.inputs)
