"""Several labels a text, or none: which labels there are, and how lists of them in a column are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filbert.errors import DataError, LeftOut, Place, Problem, Refusal, shown
from filbert.records import Example, FloatArray
from filbert.tasks.label_lists import Lists, commonest, look_at_lists
from filbert.tasks.labels import (
    RARE,
    counted_unknown,
    label_facts,
    labels_of_settings,
    merge_notes,
    missing_lines,
    of_length,
    refuse_other_heads,
    saved_labels,
    sort_labels,
    variant_lines,
)
from filbert.tasks.long_texts import HEAD_TAIL, saved_way
from filbert.tasks.task import Claim, Json, Reading

HEAVIEST = 20.0  # most that a missed rare label may weigh against a false one


@dataclass(frozen=True)
class Settings:
    """The labels in the order of the outputs, from which probability on each is given, and its weight in the loss."""

    labels: tuple[str, ...]
    thresholds: tuple[float, ...] = ()
    """One for each label; empty before they are tuned: a half."""
    weights: tuple[float, ...] = ()
    """How much more a text that has the label counts, one for each; empty: as much."""
    long: str = HEAD_TAIL
    """How a text beyond the longest length is read (long_texts.py)."""


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Claim columns whose cells hold lists: arrays, or labels that recur with a separator between them.

    >>> claim(["a|b", "b", "a"]).sure, claim(["good", "bad"])
    (True, None)
    """
    found = look_at_lists(cells)
    return None if found is None else Claim(found.sure, found.why)


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say how the labels of a cell are separated; an empty cell has no label. An array is one beside any separator.

    >>> read(["a|b", "b", "a"], {}).parse("a|b")
    ('a', 'b')
    >>> read(["[]", '["a", "b"]'], {}).parse("[]")
    ()
    """
    found, merged = look_at_lists(cells) or commonest(cells), Counter[str]()

    def parse(cell: str) -> tuple[str, ...]:
        try:
            labels = _array(cell) if found.separator != "json" else None
            labels = found.split(cell) if labels is None else labels
        except ValueError:
            raise Refusal(f"is no list of labels: {shown(cell)}", 'write ["a", "b"], or a|b') from None
        merged.update(label for label in labels if label in merges)
        kept = tuple(dict.fromkeys(to for label in labels if (to := merges.get(label, of_length(label)))))
        if labels and not kept:
            raise LeftOut(shown(cell, 40))
        return kept

    how = "as lists" if found.separator == "json" else f"separated by {shown(found.separator)}"
    why = f" ({found.why})" if found.why else ""
    return Reading(parse, f"task: several labels a text, {how}{why}", lambda: merge_notes(merges, merged))


def _array(cell: str) -> list[str] | None:
    """Return the labels of a cell that is an array, None where it is none."""
    if not (cell.lstrip().startswith("[") and cell.rstrip().endswith("]")):
        return None
    try:
        return Lists("json", True, "").split(cell)
    except ValueError:
        return None


def target_of(value: Any) -> tuple[str, ...]:
    """Return a Python value, a list or set of labels, as a target; one string is one label.

    >>> target_of(["b", "a"]), target_of([])
    (('b', 'a'), ())
    """
    if value is None or value != value:
        raise Refusal(f"is {shown(value)}", "give each text a list of labels, an empty one where it has none")
    labels: Iterable[Any] = [value] if isinstance(value, str) else value
    return tuple(dict.fromkeys(str(label) for label in labels))


def strata(examples: Sequence[Example]) -> list[str]:
    """Return the rarest label of each text, nothing for a text without labels."""
    counts = Counter(label for example in examples for label in example.target)
    return [min(example.target, key=lambda label: (counts[label], label), default="") for example in examples]


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return the labels of each text."""
    return [tuple(example.target) for example in examples]


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return the labels of the training texts; DataError where there are none, or one has a single text."""
    counts = Counter(label for example in train for label in example.target)
    if not counts:
        raise DataError(
            [Problem(Place(name), "labels", "no text has a label", "check that --label is the right column")]
        )
    lone = [label for label in sort_labels(counts) if counts[label] < 2]
    if lone:
        todo = f"add texts of it, merge it: --merge-labels, or {RARE}"
        raise DataError(
            [
                Problem(Place(name), "labels", f"the label {shown(label)} has one text for training", todo)
                for label in lone
            ]
        )
    return Settings(sort_labels(counts))


def prior(train: Sequence[Example], settings: Settings) -> FloatArray:
    """Return the log-odds of each label in the training texts.

    From 0, a probability of a half for each, a short run spends its steps on learning that labels are rare, and the
    weights that do so drown what tells the labels apart (Lin et al. 2017, §4.1, initialise so too).

    >>> prior([Example(("x",), ("a",), Place("t")), Example(("y",), (), Place("t"))], Settings(("a",))).tolist()
    [0.0]
    """
    counts = Counter(label for example in train for label in example.target)
    present_L = np.array([counts[label] for label in settings.labels]) + 0.5
    return np.log(present_L / (len(train) + 1 - present_L))


def reopen(info: Json, config: Json) -> Settings:
    """Return labels and thresholds of a saved model, or of other people's `config.json`; ValueError for other tasks."""
    refuse_other_heads(config)
    if config.get("problem_type") != "multi_label_classification":
        raise ValueError(
            f"config.json problem_type — is {shown(config.get('problem_type'))} — not several labels a text"
        )
    labels, settings = saved_labels(config), info.get("settings")
    if settings is None:
        return Settings(labels)
    if labels_of_settings(settings) != labels:
        raise ValueError("filbert.json — its labels and those of config.json differ — restore the folder")
    thresholds = settings.get("thresholds") or []
    sound = all(isinstance(x, float) and 0 <= x <= 1 for x in thresholds) and len(thresholds) in (0, len(labels))
    if not sound:
        raise ValueError(f"filbert.json settings — thresholds are {shown(thresholds)} — restore the file")
    return Settings(labels, tuple(thresholds), long=saved_way(settings))


def saved(settings: Settings) -> Json:
    """Return what `transformers` reads: several labels a text, and the labels by number."""
    return {
        "problem_type": "multi_label_classification",
        "id2label": {str(i): label for i, label in enumerate(settings.labels)},
        "label2id": {label: i for i, label in enumerate(settings.labels)},
    }


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return a problem for each label that the model does not know."""
    labels = ((example.place, label) for example in examples for label in example.target)
    return counted_unknown(labels, settings.labels)


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return lines on labels that look alike, on their number, and on how many a text has."""
    targets = {split: [example.target for example in examples] for split, examples in splits.items()}
    lines, facts = label_facts(targets, settings.labels)
    everything = [labels for each in targets.values() for labels in each]
    counts = Counter(label for labels in everything for label in labels)
    without = sum(not labels for labels in everything)
    mean = sum(map(len, everything)) / max(1, len(everything))
    lines.append(f"labels a text: {mean:.2f} on average, {without:,} of {len(everything):,} texts have none")
    return [*missing_lines(counts), *variant_lines(counts), *lines], {**facts, "cardinality": mean}


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return settings in which a text that has a rare label counts more, or each text's chance to be drawn.

    A label's weight is the square root of texts without it for each text with it, at most 20; a text's chance goes by
    its rarest label.
    """
    counts = Counter(label for example in train for label in example.target)
    if how == "weights":
        ratios = [(len(train) - counts[label]) / max(1, counts[label]) for label in settings.labels]
        return replace(settings, weights=tuple(min(HEAVIEST, ratio**0.5) for ratio in ratios)), None
    groups = strata(train)
    sizes = Counter(groups)
    chances_N = np.array([sizes[group] ** -0.5 for group in groups])
    return settings, chances_N / chances_N.sum()
