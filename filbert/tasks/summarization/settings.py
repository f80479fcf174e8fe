"""A summary for each text: how a column of summaries is told, and what is learned of their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filbert.errors import DataError, Place, Problem, Refusal, counted, shown
from filbert.records import Example, FloatArray
from filbert.tasks.summarization.length import UNITS, Settings, length_in_words
from filbert.tasks.summarization.selection import oracle
from filbert.tasks.summarization.sentences import split
from filbert.tasks.summarization.signals import NAMES
from filbert.tasks.task import Claim, Json, Reading
from filbert.text.visible import visible

FEWEST = 4  # texts, to fit anything
PLAIN_NAMES = {"summary", "summaries", "highlights", "tldr", "摘要", "总结", "概要"}
OTHER_NAMES = {"title", "headline", "abstract", "标题", "题目"}  # of a text beside it: its summary, if one wants
LONG = 15  # characters of a summary on average, at least
ADVICE = "give the summary of each text"


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Claim a column named summary or the like, of texts of their own; ask about titles.

    >>> rows = [f"Sales of shop {n} rose again." for n in range(30)]
    >>> claim(rows, ["article", "summary"]).sure, claim(rows, ["text", "title"]).sure, claim(rows, ["text", "label"])
    (True, False, None)
    """
    seen = [cell for cell in cells if cell.strip()]
    name = names[-1].strip().casefold() if len(names) == 2 else ""
    if not seen or name not in PLAIN_NAMES | OTHER_NAMES:
        return None
    if len(set(seen)) * 2 < len(seen) or sum(map(len, seen)) < LONG * len(seen):
        return None
    if name in PLAIN_NAMES:
        return Claim(True, f"a column named {shown(names[-1])}, of texts")
    return Claim(False, f"a column named {shown(names[-1])}, whose texts may be summaries or labels")


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say that the cells are read as summaries.

    >>> read([], {}).parse("Sales rose.")
    'Sales rose.'
    """
    return Reading(
        target_of, "task: a summary for each text, made of its own sentences; --task single-label reads classes"
    )


def target_of(value: Any) -> str:
    """Return a summary; Refusal for what is none, or empty.

    >>> target_of("Sales rose.")
    'Sales rose.'
    """
    if not isinstance(value, str):
        raise Refusal(f"is {shown(value)}, no text", ADVICE)
    if not visible(value):
        raise Refusal("is empty or cannot be seen", "fill it in, or drop the row")
    return value


def strata(examples: Sequence[Example]) -> list[int]:
    """Return 0 for each text: a split keeps nothing in proportion."""
    return [0] * len(examples)


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return no class for any text."""
    return [()] * len(examples)


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return how long a summary is: as those of the training texts, in sentences, or as a share where that is steadier.

    Raises DataError where there are too few texts, or pairs of them, or summaries that share no word with their texts.
    """
    everything = (*train, *(example for examples in held_out.values() for example in examples))
    pair = next((example for example in everything if len(example.inputs) != 1), None)
    if pair is not None:
        wrong = f"has {len(pair.inputs)} texts where one is summarized"
        raise DataError([Problem(pair.place, "text", wrong, "leave out --text-pair")])
    if len(train) < FEWEST:
        wrong = f"there are {counted(len(train), 'text')} with a summary"
        raise DataError([Problem(Place(name), "summary", wrong, f"give at least {FEWEST}, better hundreds")])
    counts = [(len(texts), len(oracle(texts, each.target))) for each in train if (texts := split(each.text))]
    known_N2 = np.array([(of, kept) for of, kept in counts if kept], dtype=np.float64)
    if not len(known_N2):
        wrong = "no summary shares a word with its text"
        raise DataError([Problem(Place(name), "summary", wrong, "check that --text and --label are the right columns")])
    kept_N, share_N = known_N2[:, 1], known_N2[:, 1] / known_N2[:, 0]
    if share_N.std() / share_N.mean() < kept_N.std() / kept_N.mean():
        return Settings(round(float(share_N.mean()), 3), "share")
    return Settings(max(1.0, round(float(kept_N.mean()))), "sentences")


def reopen(told: Json, config: Json) -> Settings:
    """Return the settings of a saved model; ValueError where it is another task's, or other people's."""
    settings = told.get("settings")
    if settings is None:
        raise ValueError("filbert.json settings — are missing — give a model that `filbert fit` made")
    try:
        found = Settings(**{**settings, "weights": tuple(settings.get("weights", ()))})
    except (TypeError, AttributeError):
        found = Settings(unit="")
    numbers = (found.length, found.vectors, *found.weights)
    known = found.unit in UNITS and len(found.weights) in (0, len(NAMES) + 1)
    if not known or not all(isinstance(each, (int, float)) for each in numbers) or not found.length > 0:
        raise ValueError(f"filbert.json settings — are {shown(settings)} — restore the file")
    return found


def saved(settings: Settings) -> Json:
    """Return nothing: `transformers` has no class for it, and opens the encoder alone."""
    return {}


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return nothing: any summary can be compared."""
    return []


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return lines on the summaries for people, and the facts for the report: how long, and where in their texts."""
    sizes, places, lost = [], np.zeros(10, dtype=np.int64), 0
    for example in splits["train"]:
        texts = split(example.text)
        kept = oracle(texts, example.target)
        lost += not kept
        sizes.append((len(texts), len(kept), len(example.text), len(example.target)))
        for i in kept:
            places[10 * i // len(texts)] += 1
    of, taken, text, summary = np.median(sizes, axis=0).tolist()
    lines = [
        f"summaries: {summary:,.0f} of {text:,.0f} characters, {taken:g} of {of:g} sentences (medians)",
        f"length of a summary: {length_in_words(settings)}",
    ]
    if lost:
        lines.append(
            f"warning: {lost:,} of {len(sizes):,} summaries share no word with their texts: nothing to learn there"
        )
    return lines, {"summaries": {"places": places.tolist(), "medians": [of, taken, text, summary], "lost": lost}}


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return the settings as they are: `BALANCE` refuses it before."""
    return settings, None
