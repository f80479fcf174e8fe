"""The sample data that comes with the package: read without being told anything, balanced, no text twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import filbert
from filbert.linear.baseline import fit_texts
from filbert.readers.sources import open_source
from filbert.records import Example

SAMPLES = Path(filbert.__file__).parent / "samples"
FILES = {"reviews_en.csv": ["negative", "positive"], "reviews_zh.csv": ["正面", "负面"]}
each_file = pytest.mark.parametrize("name", FILES)


def read(name: str) -> list[Example]:
    return list(open_source(SAMPLES / name).examples())


def shingles(text: str) -> set[str]:
    """Every five characters that stand together."""
    return {text[i : i + 5] for i in range(len(text) - 4)}


def test_every_sample_is_tested_here():
    assert {path.name for path in SAMPLES.glob("*.csv")} == FILES.keys()


@each_file
def test_it_is_read_without_being_told_anything(name):
    source = open_source(SAMPLES / name)
    rows = list(source.examples())
    assert (*source.input_names, *source.target_names) == source.columns
    assert source.splits == ("all",)
    assert not source.problems
    assert source.counts == {"read": len(rows), "accepted": len(rows), "quarantined": 0}


@each_file
def test_it_has_two_labels_about_as_often(name):
    counts = Counter(row.target for row in read(name))
    assert sorted(counts) == FILES[name]
    assert counts.total() >= 600
    assert min(counts.values()) >= 0.45 * counts.total()


@each_file
def test_the_labels_come_in_no_order(name):
    """So that any split will do, as the README promises: each fifth is about as mixed as the whole."""
    first = [row.target == FILES[name][0] for row in read(name)]
    for fifth in np.array_split(np.array(first), 5):
        assert 0.35 < fifth.mean() < 0.65


@each_file
def test_no_text_is_there_twice(name):
    """Neither under one label nor under both."""
    folded = Counter("".join(row.text.split()).casefold() for row in read(name))
    assert [text for text, count in folded.items() if count > 1] == []


def test_no_two_chinese_texts_are_alike():
    """Not one skeleton with other nouns: two texts share less than 35 % of their pieces of five characters."""
    rows = [(row.text, shingles(row.text)) for row in read("reviews_zh.csv")]
    alike = [
        (one, other)
        for i, (one, ones) in enumerate(rows)
        for other, others in rows[:i]
        if len(ones & others) >= 0.35 * len(ones | others)
    ]
    assert alike == []


def test_the_chinese_texts_are_short_and_chinese():
    texts = [row.text for row in read("reviews_zh.csv")]
    assert [text for text in texts if not 15 <= len(text) <= 60] == []
    assert [text for text in texts if sum("一" <= c <= "鿿" for c in text) < 0.6 * len(text)] == []


@each_file
def test_it_can_be_learned_but_not_at_once(name):
    """Trained on four fifths, the linear model gets 75 to 95 % of the other fifth right, on average."""
    rows = read(name)
    right = []
    for k in range(5):
        train, test = [row for i, row in enumerate(rows) if i % 5 != k], rows[k::5]
        true_N = [FILES[name].index(row.target) for row in train]
        found = fit_texts(train, true_N, {"test": test}, len(FILES[name]))
        guesses = found.outputs["test"].argmax(axis=1)
        right += [FILES[name][guess] == row.target for guess, row in zip(guesses, test, strict=True)]
    assert 0.75 <= np.mean(right) <= 0.95


def test_the_readme_gives_the_number_of_rows():
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"| Rows | {' | '.join(str(len(read(name))) for name in FILES)} |" in readme
