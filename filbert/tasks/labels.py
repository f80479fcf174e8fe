"""Labels as strings: sorted, compared, checked. `01` is not `1`; variants are listed, never merged silently."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from filbert.errors import DataError, Place, Problem, shown


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: by value if all are whole numbers, else by code point.

    >>> sort_labels(["10", "9", "10"]), sort_labels(["b", "B", "1"])
    (('9', '10'), ('1', 'B', 'b'))
    """
    distinct = set(labels)
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def same_key(label: str) -> str:
    """Return what variants of one label have in common: NFKC, case, spaces and leading zeros taken away.

    >>> same_key(" Ｐos ") == same_key("pos"), same_key("01") == same_key("1")
    (True, True)
    """
    key = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    key = "".join(c for c in unicodedata.normalize("NFKC", key) if unicodedata.category(c) not in ("Cf", "Cc"))
    return str(int(key)) if re.fullmatch(r"[+-]?[0-9]{1,18}", key) else re.sub(r"^([+-]?\d{1,18})\.0+$", r"\1", key)


def variants(counts: Mapping[str, int]) -> list[tuple[str, list[str]]]:
    """Return (most frequent spelling, the others) for every group of labels that look like one.

    >>> variants({"pos": 9, "Pos": 1, "neg": 5})
    [('pos', ['Pos'])]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        groups[same_key(label)].append(label)
    return [(group[0], group[1:]) for group in groups.values() if len(group) > 1]


def variant_lines(counts: Mapping[str, int]) -> list[str]:
    """Return one warning per group of variants, with counts and the option that merges them."""
    lines = []
    for usual, others in variants(counts):
        spelled = ", ".join(f"{shown(label)} ({counts[label]:,})" for label in (usual, *others))
        merge = " ".join(merge_option(other, usual) for other in others)
        lines.append(f"warning: labels that look alike were kept apart: {spelled} — to merge them: {merge}")
    return lines


def merge_option(label: str, target: str) -> str:
    """Return the option that reads one label as another, ready to be pasted into a shell."""
    return f"--merge-labels {_quoted(f'{label}={target}')}"


def _quoted(text: str) -> str:
    # only the shell's own characters are escaped, so that the option can be pasted as it stands
    if not text.isprintable():
        return "$'" + ascii(text)[1:-1] + "'" if "'" not in text else ascii(text)
    return '"' + re.sub(r'([\\"$`!])', r"\\\1", text) + '"'


def check_classes(counts: Counter[str], file: str) -> None:
    """Raise where no classifier can be learned: one class only, or a class with a single text."""
    if len(counts) < 2:
        only = f"only the class {shown(next(iter(counts)))}" if counts else "no labelled text"
        problem = Problem(Place(file), "label", f"there is {only}", "give texts of at least two classes")
        raise DataError([problem])
    lone = [label for label in sort_labels(counts) if counts[label] < 2]
    todo = "add texts of it, or merge it: --merge-labels"
    if sum("," in label for label in lone) > len(lone) / 2 and len(lone) > 2:
        todo = "these look like lists of labels: multi-label is not supported here"
    usual = {other: first for first, others in variants(counts) for other in others}
    problems = []
    for label in lone:
        wrong = f"the class {shown(label)} has one text for training"
        same = usual.get(label)
        cure = todo if same is None else f"merge it: {merge_option(label, same)}"
        problems.append(Problem(Place(file), "label", wrong, cure))
    if problems:
        raise DataError(problems)
