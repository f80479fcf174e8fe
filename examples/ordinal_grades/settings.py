"""Grades: how a column of them is read, which there are and in which order, what a saved model says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filbert.errors import Problem, shown
from filbert.records import Example, FloatArray
from filbert.tasks.labels import (
    check_classes,
    counted_unknown,
    label_facts,
    label_in,
    label_of,
    labels_of_settings,
    merge_notes,
    refuse_other_heads,
    sort_labels,
)
from filbert.tasks.task import Claim, Json, Reading


@dataclass(frozen=True)
class Settings:
    """The grades, lowest first: by value where all are whole numbers, else by their characters."""

    labels: tuple[str, ...]


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Return None: that labels have an order is for a person to say."""
    return None


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say that a cell is a grade as it stands."""
    merged = Counter[str]()
    how = "task: one grade a text, from low to high"
    return Reading(lambda cell: label_in(cell, merges, merged), how, lambda: merge_notes(merges, merged))


def target_of(value: Any) -> str:
    """Return a Python value as a grade; Refusal for what is missing."""
    return label_of(value)


def strata(examples: Sequence[Example]) -> list[str]:
    """Return the grades: a split keeps the share of each."""
    return [example.target for example in examples]


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return the grade of each text."""
    return [(example.target,) for example in examples]


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return the grades of the training texts; DataError for fewer than two, or one that a single text has."""
    counts = Counter(example.target for example in train)
    check_classes(counts, name)
    return Settings(sort_labels(counts))


def reopen(info: Json, config: Json) -> Settings:
    """Return the grades of a saved model; ValueError for other people's, which do not say that labels have an order."""
    refuse_other_heads(config)
    if "settings" not in info:
        raise ValueError("config.json — does not tell grades from labels — choose a model that Filbert made")
    settings = Settings(labels_of_settings(info["settings"]))
    if config.get("id2label") != saved(settings)["id2label"]:
        raise ValueError(
            f"filbert.json — its grades {shown(settings.labels)} are not config.json's — restore the folder"
        )
    return settings


def saved(settings: Settings) -> Json:
    """Return what `transformers` reads: a yes or no for each question."""
    questions = [f"above {grade}" for grade in settings.labels[:-1]]
    return {
        "problem_type": "multi_label_classification",
        "id2label": {str(i): question for i, question in enumerate(questions)},
        "label2id": {question: i for i, question in enumerate(questions)},
    }


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return a problem for each grade that the model does not know."""
    return counted_unknown(((example.place, example.target) for example in examples), settings.labels)


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return a line on the order of the grades, and how many texts of each split have which."""
    targets = {split: [[example.target] for example in examples] for split, examples in splits.items()}
    _, facts = label_facts(targets, settings.labels)
    return ["grades: " + " < ".join(shown(grade, 30) for grade in settings.labels)], facts


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return the settings as they are: `BALANCE` refuses it before."""
    return settings, None
