"""A linear model of texts, or of pairs: words and pairs of words, or Chinese characters → TF-IDF → outputs.

No torch and, to predict, no scikit-learn: a text gets its outputs in numpy, the same bits in any batch.

Shapes: N texts, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filbert.linear.counts import BATCH_TEXTS, Counts, count_pairs, count_runs
from filbert.linear.model import Linear
from filbert.linear.units import MAX_TEXT_LENGTH, units
from filbert.records import FloatArray
from filbert.text.tokenizer import grouped

BATCH_CHARACTERS = 4_000_000  # counted at once, but for a single longer text

Inputs = tuple[str, ...]


@dataclass(frozen=True)
class Vectorizer:
    """What is counted in a text: runs of 1 to `longest` words or characters; of a pair also what both share."""

    units: str
    """ "words" or "characters"."""
    longest: int
    pairs: bool

    @property
    def name(self) -> str:
        """Return it as people read it.

        >>> Vectorizer("words", 2, False).name, Vectorizer("characters", 3, False).name
        ('words and pairs', '1–3 characters')
        """
        if self.units == "words":
            return "words and pairs" if self.longest == 2 else f"1–{self.longest} words"
        return f"1–{self.longest} characters"

    def counts(self, inputs: Sequence[Inputs]) -> Counts:
        """Count the features of texts.

        >>> len(Vectorizer("words", 2, False).counts([("a good film",)]).buckets_K)
        5
        """
        first, *second = ([units(each[i], self.units) for each in inputs] for i in range(2 if self.pairs else 1))
        return count_pairs(first, second[0], self.longest) if second else count_runs(first, self.longest)


@dataclass(frozen=True)
class TextLinear:
    """A fitted linear model of texts."""

    vectorizer: Vectorizer
    linear: Linear

    def outputs(self, inputs: Sequence[Inputs]) -> FloatArray:
        """Return the outputs of texts, N × O: logits, log-odds, numbers."""
        parts = grouped(inputs, lambda each: sum(map(read, each)), BATCH_CHARACTERS, BATCH_TEXTS)
        found = [self.linear.logits(self.vectorizer.counts(part)) for part in parts]
        return np.concatenate([*found, np.empty((0, len(self.linear.bias_C)))])


def read(text: str) -> int:
    """Return how many characters of a text are read.

    >>> read("a" * 50_000)
    20000
    """
    return min(len(text), MAX_TEXT_LENGTH)
