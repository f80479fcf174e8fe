"""Labels as strings: sorted, compared, counted, checked; lists of them found. What the tasks with labels share.

`01` is not `1`; variants are listed, never merged silently.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filbert.errors import DataError, LeftOut, Place, Problem, Refusal, counted, shown
from filbert.records import Example
from filbert.text.visible import visible

MISSING = ("nan", "null", "none", "na", "n/a", "#n/a", "<na>", "nat", "nil", "-nan", "undefined")
LONGEST = 1_000  # characters of a label
MOST_CLASSES = 5_000  # of 20,000, probabilities and intervals take 13 GB
MANY_LONE = 5  # labels with one text each, from which on the column is asked about, not the labels
RARE = "--rare-labels drop, or other, for all such"
MISTAKES = 30  # kept for a report
MISTAKE_CHARACTERS = 2_000


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: by value if all are whole numbers, else by code point.

    >>> sort_labels(["10", "9", "10"]), sort_labels(["b", "B", "1"])
    (('9', '10'), ('1', 'B', 'b'))
    """
    distinct = set(labels)
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def label_of(value: Any) -> str:
    """Return a Python value as a label; Refusal for what is missing: None, NaN, pandas' NA, nothing to be seen.

    >>> label_of(3)
    '3'
    """
    missing = value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
    if missing or not visible(str(value)):
        raise Refusal(f"is {shown(value)}", "give each text a label")
    return of_length(str(value))


def of_length(label: str) -> str:
    """Return a label; Refusal where it is so long that it is a text.

    >>> of_length("pos")
    'pos'
    """
    if len(label) > LONGEST:
        raise Refusal(
            f"has {len(label):,} characters, as texts have: {shown(label, 40)}", "check --label, or shorten it"
        )
    return label


def label_in(cell: str, merges: Mapping[str, str], merged: Counter[str]) -> str:
    """Return the label of a cell, merged where that was asked for and then counted; Refusal for an empty one.

    Merged into nothing, its row is left out (LeftOut).

    >>> label_in("bad", {"bad": "neg"}, Counter())
    'neg'
    """
    if not visible(cell):
        raise Refusal("is empty or cannot be seen", "fill it in, or drop the row")
    target = merges.get(cell)
    if target is None:
        return of_length(cell)
    merged[cell] += 1
    if not target:
        raise LeftOut(shown(cell))
    return target


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


def missing_lines(counts: Mapping[str, int]) -> list[str]:
    """Return a warning where labels look like what programs write for a missing one, with what leaves them out.

    >>> print(missing_lines({"pos": 9, "nan": 2})[0])
    warning: labels that may stand for no label at all: 'nan' (2) — to leave these texts out: --merge-labels "nan="
    """
    found = [label for label in counts if label.strip().casefold() in MISSING]
    if not found or len(found) == len(counts):
        return []
    named = ", ".join(f"{shown(label)} ({counts[label]:,})" for label in found)
    options = " ".join(merge_option(label, "") for label in found)
    return [f"warning: labels that may stand for no label at all: {named} — to leave these texts out: {options}"]


def merge_option(label: str, target: str) -> str:
    """Return the option that reads one label as another, ready to be pasted into a shell."""
    return f"--merge-labels {_quoted(f'{label}={target}')}"


def _quoted(text: str) -> str:
    # only the shell's own characters are escaped, so that the option can be pasted as it stands
    if not text.isprintable():
        return "$'" + "".join(map(_escaped, text)) + "'"
    return '"' + re.sub(r'([\\"$`!])', r"\\\1", text) + '"'


def _escaped(character: str) -> str:
    r"""Return a character as a shell takes it between $' and '; `\xa0`, as Python writes it, would be a byte there.

    >>> print("".join(map(_escaped, "\u00a0好\t'")))
    \u00a0好\t\'
    """
    known = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\", "'": "\\'"}
    if character in known or character.isprintable():
        return known.get(character, character)
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def merge_notes(merges: Mapping[str, str], merged: Mapping[str, int]) -> list[str]:
    """Return what --merge-labels did, and a warning for each label that it never met."""
    lines = [
        f"texts with the label {shown(label)} read as {shown(target)}: {merged[label]:,}"
        for label, target in merges.items()
        if target and merged.get(label)
    ]
    unseen = (f"{label}={target}" for label, target in merges.items() if not merged.get(label))
    return lines + [f"warning: --merge-labels {shown(pair)} met no such label" for pair in unseen]


def check_classes(counts: Counter[str], file: str) -> None:
    """Raise where no classifier can be learned: one class only, or a class with a single text."""
    if len(counts) < 2:
        only = f"only the class {shown(next(iter(counts)))}" if counts else "no labelled text"
        raise DataError([Problem(Place(file), "label", f"there is {only}", "give texts of at least two classes")])
    if len(counts) > MOST_CLASSES:
        wrong, todo = (
            f"there are {len(counts):,} classes; at most {MOST_CLASSES:,} are told apart",
            "merge the rare ones: --rare-labels other:10",
        )
        raise DataError([Problem(Place(file), "label", wrong, f"check that --label is the right column, or {todo}")])
    lone = [label for label in sort_labels(counts) if counts[label] < 2]
    if len(lone) > MANY_LONE and len(lone) > len(counts) / 2:
        wrong = f"{len(lone):,} of {len(counts):,} different labels stand at one text each, {shown(lone[0], 30)} first"
        numbers = "numbers: --task regression; else " if whole_numbers(lone) else ""
        todo = f"{numbers}check that --label is the right column; if it is: {RARE}"
        raise DataError([Problem(Place(file), "label", wrong, todo)])
    usual = {other: first for first, others in variants(counts) for other in others}
    problems = []
    for label in lone:
        same = usual.get(label)
        cure = (
            f"add texts of it, merge it: --merge-labels, or {RARE}"
            if same is None
            else f"merge it: {merge_option(label, same)}"
        )
        wrong = f"the class {shown(label)} has one text for training"
        problems.append(Problem(Place(file), "label", wrong, cure))
    if problems:
        raise DataError(problems)


def whole_numbers(labels: Iterable[str]) -> bool:
    """Tell whether all labels are whole numbers, which may be classes or amounts.

    >>> whole_numbers(["1", "5"]), whole_numbers(["1", "a"])
    (True, False)
    """
    return all(re.fullmatch(r"[+-]?\d+", label) for label in labels)


def counted_unknown(labels: Iterable[tuple[Place, str]], known: Sequence[str]) -> list[Problem]:
    """Return a problem for each label that is not known: where it stands first, and how often.

    >>> print(counted_unknown([(Place("a.csv", 3), "x"), (Place("a.csv", 7), "x")], ["neg", "pos"])[0])
    a.csv:3 label — the model has no label 'x' (2 texts) — correct it, merge it with --merge-labels, or train with it; \
known are 'neg', 'pos'
    """
    first: dict[str, Place] = {}
    counts: Counter[str] = Counter()
    for place, label in labels:
        if label not in known:
            first.setdefault(label, place)
            counts[label] += 1
    choice = ", ".join(shown(label, 30) for label in known[:20]) + " …" * (len(known) > 20)
    todo = f"correct it, merge it with --merge-labels, or train with it; known are {choice}"
    return [
        Problem(place, "label", f"the model has no label {shown(label)} ({counted(counts[label], 'text')})", todo)
        for label, place in first.items()
    ]


def label_facts(
    targets: Mapping[str, Sequence[Sequence[str]]], labels: Sequence[str]
) -> tuple[list[str], dict[str, dict[str, dict[str, int]]]]:
    """Return a line that lists the labels, and how many texts of each split have which.

    >>> label_facts({"train": [["a"], ["b"], ["a"]]}, ["a", "b"])
    (["labels: 2 ('a', 'b')"], {'label_counts': {'train': {'a': 2, 'b': 1}}})
    """
    counts = {split: dict.fromkeys(labels, 0) for split in targets}
    for split, lists in targets.items():
        for label in (label for each in lists for label in each):
            counts[split][label] += 1
    named = ", ".join(shown(label, 30) for label in labels[:10])
    return [f"labels: {len(labels)} ({named}{' …' * (len(labels) > 10)})"], {"label_counts": counts}


def refuse_other_heads(config: Mapping[str, Any]) -> None:
    """Raise ValueError where a `config.json` is of a model without a head on [CLS].

    >>> refuse_other_heads({"architectures": ["BertForSequenceClassification"]})
    """
    found = config.get("architectures")
    if found and not isinstance(found, list):
        raise ValueError(f"config.json architectures — are {shown(found)} — not a list of names")
    if found and not any("ForSequenceClassification" in str(name) for name in found):
        raise ValueError(f"config.json architectures — are {shown(found)} — not BertForSequenceClassification")


def saved_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of a `config.json` by number; ValueError where they are not numbered from 0."""
    names = config.get("id2label", {})
    if not isinstance(names, dict) or sorted(names, key=str) != sorted(map(str, range(len(names)))) or not names:
        raise ValueError("config.json id2label — must number the labels from 0 — restore the file")
    labels = tuple(str(names[str(i)]) for i in range(len(names)))
    if twice := next((label for label, count in Counter(labels).items() if count > 1), None):
        raise ValueError(f"config.json id2label — names {labels.count(twice)} classes {shown(twice)} — rename them")
    return labels


def labels_of_settings(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels in the settings of a `filbert.json`; ValueError where there are none."""
    labels = settings.get("labels")
    if not isinstance(labels, list) or not labels:
        raise ValueError(f"filbert.json settings — labels are {shown(labels)} — restore the file")
    return tuple(map(str, labels))


def passage(example: Example) -> dict[str, Any]:
    """Return a text, or two, and its place for a report; long texts keep 2,000 characters."""
    texts = [
        text if len(text) <= MISTAKE_CHARACTERS else text[: MISTAKE_CHARACTERS - 1] + "…" for text in example.inputs
    ]
    return {"text": texts[0], **({"text_pair": texts[1]} if len(texts) > 1 else {}), "place": str(example.place)}
