"""Labels that too few training texts have to be learned: their texts left out, or the labels read as one, `other`.

A label is a string, or one of several in a tuple; targets of another kind have none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filbert.errors import ConfigError, counted, shown
from filbert.records import Example
from filbert.tasks.task import Task

FEWEST = 2  # texts of a label, so that one can be learned from and one held out
OTHER = "other"
NAMED = 8  # labels listed in a sentence

Parts = Mapping[str, list[Example]]


def parsed(told: str) -> tuple[str, int]:
    """Return what becomes of rare labels, and of how many texts they have fewer. Raises ConfigError.

    >>> parsed("drop"), parsed("other:10")
    (('drop', 2), ('other', 10))
    """
    match = re.fullmatch(r"(drop|other|error)(?::(\d{1,6}))?", told.strip())
    if not match or (match[2] is not None and int(match[2]) < FEWEST):
        choice = "choose error, drop or other, or with the fewest texts of a label that is kept: drop:10"
        raise ConfigError(f"--rare-labels — is {shown(told)} — {choice}")
    return match[1], int(match[2] or FEWEST)


def without_rare(task: Task, parts: Parts, told: str) -> tuple[dict[str, list[Example]], list[str]]:
    """Return the parts without rare labels, as `--rare-labels` asks, and what was done in a line.

    Counted are the texts of `train` and `all`; the other parts lose the same labels.

    >>> from filbert.tasks import named
    >>> texts = [Example((f"text {n}",), "abc"[2 * (n > 15) or n % 2]) for n in range(17)]
    >>> parts, lines = without_rare(named("single-label"), {"train": texts}, "drop")
    >>> len(parts["train"]), lines
    (16, ["1 label of fewer than 2 training texts was left out, with 1 text: 'c'"])
    """
    how, fewest = parsed(told)
    if how == "error":
        return dict(parts), []
    train = [*parts.get("train", ()), *parts.get("all", ())]
    if not all(map(_are_labels, train, task.classes(train))):
        raise ConfigError("--rare-labels — the targets are no labels — leave it out")
    counts = Counter(label for labels in task.classes(train) for label in labels)
    made = {name: [_renamed(example, counts, how, fewest) for example in part] for name, part in parts.items()}
    rare = sorted(label for label, count in counts.items() if count < fewest)
    if not rare:
        return dict(parts), []
    changed = sum(new is not old for name in parts for new, old in zip(made[name], parts[name], strict=True))
    listed = ", ".join(shown(label, 30) for label in rare[:NAMED]) + ", …" * (len(rare) > NAMED)
    what = f"{counted(len(rare), 'label')} of fewer than {counted(fewest, 'training text')}"
    was = ("was left out" if len(rare) == 1 else "were left out") if how == "drop" else f"read as {shown(OTHER)}"
    line = f"{what} {was}, with {counted(changed, 'text')}: {listed}"
    return {name: [each for each in part if each is not None] for name, part in made.items()}, [line]


def _are_labels(example: Example, classes: Sequence[str]) -> bool:
    return (example.target,) == tuple(classes) or example.target == tuple(classes)


def _renamed(example: Example, counts: Counter[str], how: str, fewest: int) -> Example | None:
    """Return the example without its rare labels; None where none is left."""
    target: Any = example.target
    labels: Sequence[str] = (target,) if isinstance(target, str) else target
    if all(counts[label] >= fewest for label in labels):
        return example
    kept = [label if counts[label] >= fewest else OTHER for label in labels]
    kept = list(dict.fromkeys(kept if how == "other" else [label for label in labels if counts[label] >= fewest]))
    if not kept:
        return None
    return replace(example, target=kept[0] if isinstance(target, str) else tuple(kept))
