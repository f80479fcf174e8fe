"""One label a text: which labels there are, how a column of them is read, and what cannot be learned from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filbert.errors import DataError, Problem, Refusal, counted, shown
from filbert.records import Example, FloatArray
from filbert.tasks.label_lists import look_at_lists
from filbert.tasks.labels import (
    check_classes,
    counted_unknown,
    label_facts,
    label_in,
    label_of,
    labels_of_settings,
    merge_notes,
    missing_lines,
    refuse_other_heads,
    saved_labels,
    sort_labels,
    variant_lines,
    whole_numbers,
)
from filbert.tasks.long_texts import HEAD_TAIL, saved_way
from filbert.tasks.task import Claim, Json, Reading
from filbert.text.visible import visible

UNEVEN = 5  # times as many texts of the largest class as of the smallest, from which on it is said


@dataclass(frozen=True)
class Settings:
    """The labels in the order of the outputs, what the loss of each is multiplied by, where it is."""

    labels: tuple[str, ...]
    weights: tuple[float, ...] = ()
    long: str = HEAD_TAIL
    """How a text beyond the longest length is read (long_texts.py)."""


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Return None: one label a text is what is left where no other task claims the column."""
    return None


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say how a label is read: a cell as it stands, or the one item of a list.

    >>> read(["pos", "neg"], {}).parse("pos"), read(['["好评"]'], {}).parse('["好评"]')
    ('pos', '好评')
    """
    lists, merged = any(cell.startswith("[") for cell in cells), Counter[str]()

    def parse(cell: str) -> str:
        return label_in(_only(cell) if lists and cell.startswith("[") else cell, merges, merged)

    different = sorted({cell for cell in cells if visible(cell)})
    hint = "; --task regression reads them as numbers" if len(different) > 2 and whole_numbers(different) else ""
    only = ", the only one of each list" if lists else ""
    return Reading(parse, f"task: one label a text{only}{hint}", lambda: merge_notes(merges, merged))


def _only(cell: str) -> str:
    try:
        items = json.loads(cell, parse_int=str, parse_float=str)  # 1.0 is the label 1.0
    except ValueError:
        return cell
    if not isinstance(items, list):
        return cell
    if len(items) != 1:
        raise Refusal(f"holds {counted(len(items), 'label')}: {shown(cell)}", "keep one, or use --task multi-label")
    return str(items[0])


def target_of(value: Any) -> str:
    """Return a Python value as a label; Refusal for what is missing: None, NaN, pandas' NA, nothing to be seen.

    >>> target_of(3)
    '3'
    """
    return label_of(value)


def strata(examples: Sequence[Example]) -> list[str]:
    """Return the labels: a split keeps the share of each."""
    return [str(example.target) for example in examples]


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return the label of each text."""
    return [(str(example.target),) for example in examples]


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return the labels of the training texts.

    Raises DataError where there are fewer than two, where one has a single text, and where labels are combined ones.
    """
    counts = Counter(str(example.target) for example in train)
    lists = look_at_lists(list(counts.elements()))
    if lists is not None and lists.sure:
        what = f"the labels look like lists of labels ({lists.why})"
        todo = "several labels a text: --task multi-label; if these are classes of their own, rename them"
        raise DataError([Problem(train[0].place, "label", what, todo)])
    check_classes(counts, name)
    return Settings(sort_labels(counts))


def reopen(info: Json, config: Json) -> Settings:
    """Return the labels of a saved model, or of other people's `config.json`; ValueError for other tasks."""
    refuse_other_heads(config)
    problem, labels, settings = config.get("problem_type"), saved_labels(config), info.get("settings")
    if problem not in (None, "single_label_classification") or (problem is None and len(labels) < 2):
        raise ValueError(
            f"config.json problem_type — is {shown(problem)} with {len(labels)} labels — not one label a text"
        )
    if settings is not None and labels_of_settings(settings) != labels:
        raise ValueError("filbert.json — its labels and those of config.json differ — restore the folder")
    return Settings(labels, long=saved_way(settings or {}))


def saved(settings: Settings) -> Json:
    """Return what `transformers` reads: one label a text, and the labels by number."""
    return {
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(settings.labels)},
        "label2id": {label: i for i, label in enumerate(settings.labels)},
    }


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return a problem for each label that the model does not know: where it stands first, and how often."""
    labels = ((example.place, str(example.target)) for example in examples)
    return counted_unknown(labels, settings.labels)


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return lines on labels that look alike and on their number, and how many texts of each there are."""
    targets = {split: [[str(example.target)] for example in examples] for split, examples in splits.items()}
    lines, facts = label_facts(targets, settings.labels)
    counts = Counter(str(example.target) for examples in splits.values() for example in examples)
    lines = [*missing_lines(counts), *variant_lines(counts), *lines]
    train = Counter(facts["label_counts"]["train"])
    (most, largest), (least, smallest) = train.most_common()[0], train.most_common()[-1]
    if largest >= UNEVEN * smallest:
        uneven = f"{shown(most, 30)} has {counted(largest, 'training text')}, {shown(least, 30)} {smallest:,}"
        lines.append(f"the classes are uneven: {uneven}; --balance auto tries whether weighing them helps")
    return lines, facts


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return settings that weigh each class by its rarity, or each text's chance to be drawn.

    Both make every class count alike: a class's weight is texts / (classes × texts of the class).
    """
    counts = Counter(str(example.target) for example in train)
    weights = {label: len(train) / (len(counts) * count) for label, count in counts.items()}
    if how == "weights":
        return replace(settings, weights=tuple(weights[label] for label in settings.labels)), None
    chances_N = np.array([weights[str(example.target)] for example in train])
    return settings, chances_N / chances_N.sum()
