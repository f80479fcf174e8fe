"""What a score means: the baseline to beat, the mistakes to read, the lengths cut, and the terminal's summary.

    baseline  TF-IDF + logistic regression on the same texts, in seconds: what a linear model makes of them
    mistakes  the wrong answers given with most confidence: read them first, some are wrong labels
    lengths   how long the texts are, and where they are cut
    summary   model and baseline beside each other, for a terminal

The numbers are metrics.py's, the page is the report package's. No torch here, and no BERT: the baseline needs none.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import HashingVectorizer

from filbert.errors import ConfigError
from filbert.linear.model import BUCKETS, Counts, fit_linear
from filbert.metrics.calibration import softmax
from filbert.records import FloatArray
from filbert.text.chinese import han_share

MOST_TEXTS = 200_000  # trained on at most; more than that moves a linear model by less than its interval
MOST_CHARACTERS = 100_000_000  # in all training texts: three times IMDb, about 1 GB of counts
LONGEST_TEXT = 20_000  # characters read of one text
AT_ONCE = 20_000  # texts predicted at once
HAN_SHARE = 0.3  # of the letters: above it a text has no spaces to split at

# One-letter words and ? ! are words: 1.5 points on TREC, nothing lost on SST-2.
WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b|[?!]", "ngram_range": (1, 2)}
CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}


@dataclass(frozen=True)
class Baseline:
    """What the linear model answered: per split one row of class probabilities for each text, and what it took."""

    name: str
    """What it is, for people: "TF-IDF (words and pairs) + logistic regression"."""
    seconds: float
    """Fitting and predicting, together."""
    probabilities: Mapping[str, FloatArray] = field(default_factory=dict)
    """Split name → probabilities_NC, columns in the order of the labels."""
    note: str = ""
    """What was left out to stay within memory, or nothing."""


def baseline(
    train_texts: Sequence[str],
    train_labels: Sequence[str],
    texts_by_split: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    *,
    seed: int = 0,
) -> Baseline:
    """Fit TF-IDF + logistic regression on the training texts and return its probabilities for each split.

    Words and word pairs, or one to three characters where Chinese is written. Accuracy on the sets' own test splits
    with C = 10: IMDb 90.9 %, SST-2 81.2, TREC 91.0, ChnSentiCorp 92.7, CLINC-150 91.4. Features are hashed, so memory
    depends on how many words there are and not on how many differ: half the time of a vocabulary on IMDb, and within
    0.3 points of it on the four sets compared. Raises ConfigError on a training label that is not among `labels`.

    >>> found = baseline(["good film", "bad film"] * 9, ["pos", "neg"] * 9, {"test": ["a good one"]}, ["neg", "pos"])
    >>> found.probabilities["test"].argmax(axis=1).tolist()
    [1]
    """
    started = time.perf_counter()
    index = {label: i for i, label in enumerate(labels)}
    unknown = [label for label in train_labels if label not in index]
    if unknown or len(train_texts) != len(train_labels) or not train_texts:
        wrong = f"label {unknown[0]!r} is not among {len(labels)}" if unknown else "texts and labels differ in number"
        raise ConfigError(f"the baseline cannot be fitted: {wrong} — give one known label per text, at least one text")
    kept, note = _affordable(train_texts, seed)
    texts = [train_texts[i][:LONGEST_TEXT] for i in kept]
    true_N = np.array([index[train_labels[i]] for i in kept])
    chinese = han_share(texts) > HAN_SHARE
    hashing = HashingVectorizer(
        n_features=BUCKETS, norm=None, alternate_sign=False, dtype=np.float32, **(CHARACTERS if chinese else WORDS)
    )
    probabilities = _fit_predict(hashing, texts, true_N, texts_by_split, len(labels))
    units = "1–3 characters" if chinese else "words and pairs"
    name = f"TF-IDF ({units}) + logistic regression"
    return Baseline(name, time.perf_counter() - started, probabilities, note)


def _affordable(texts: Sequence[str], seed: int) -> tuple[npt.NDArray[np.int64], str]:
    """Return which texts to train on, in their order, and a note when those are not all."""
    order = np.random.default_rng(seed).permutation(len(texts))
    read = np.cumsum([min(len(texts[i]), LONGEST_TEXT) for i in order])
    many = max(1, min(MOST_TEXTS, int(np.searchsorted(read, MOST_CHARACTERS, "right"))))
    if many >= len(texts):
        return np.arange(len(texts)), ""
    return np.sort(order[:many]), f"trained on a random {many:,} of the {len(texts):,} training texts"


def _fit_predict(
    hashing: HashingVectorizer,
    texts: Sequence[str],
    true_N: npt.NDArray[np.int64],
    texts_by_split: Mapping[str, Sequence[str]],
    classes: int,
) -> dict[str, FloatArray]:
    """Weigh the features, fit, and predict every split."""
    model = fit_linear(hashing.transform(texts), true_N, classes)
    found = {}
    for split, asked in texts_by_split.items():
        found[split] = np.zeros((len(asked), classes))
        for start in range(0, len(asked), AT_ONCE):
            counts_NB = hashing.transform([text[:LONGEST_TEXT] for text in asked[start : start + AT_ONCE]])
            counts = Counts(counts_NB.indptr, counts_NB.indices, counts_NB.data)
            found[split][start : start + AT_ONCE] = softmax(model.logits(counts))
    return found
