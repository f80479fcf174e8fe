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
from filbert.linear import BUCKETS, Counts, fit_linear
from filbert.metrics import softmax
from filbert.records import Example, FloatArray
from filbert.report.words import METRICS, against_baseline, main_split, with_interval

MOST_TEXTS = 200_000  # trained on at most; more than that moves a linear model by less than its interval
MOST_CHARACTERS = 100_000_000  # in all training texts: three times IMDb, about 1 GB of counts
LONGEST_TEXT = 20_000  # characters read of one text
AT_ONCE = 20_000  # texts predicted at once
HAN_SHARE = 0.3  # of the letters: above it a text has no spaces to split at
MISTAKE_CHARACTERS = 2_000

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


def han_share(texts: Sequence[str], sample: int = 1000) -> float:
    """Return the share of Chinese characters among the letters of (at most `sample` of) the texts.

    >>> han_share(["很好 ok"])
    0.5
    """
    step = max(1, len(texts) // sample)
    letters = [ch for text in texts[::step] for ch in text[:500] if ch.isalpha()]
    han = sum("\u3400" <= ch <= "\u9fff" or "\U00020000" <= ch <= "\U0003ffff" for ch in letters)
    return han / len(letters) if letters else 0.0


def mistakes(
    examples: Sequence[Example],
    true_N: npt.ArrayLike,
    probabilities_NC: npt.ArrayLike,
    labels: Sequence[str],
    limit: int = 30,
) -> list[dict[str, Any]]:
    """Return the wrong answers given with most confidence, as the report stores them; long texts keep 2,000 characters.

    >>> found = mistakes([Example("fine", "good")], [1], [[0.9, 0.1]], ["bad", "good"])
    >>> found[0]["predicted"], found[0]["probability"], found[0]["place"]
    ('bad', 0.9, 'memory')
    """
    truth_N, chances_NC = np.asarray(true_N), np.asarray(probabilities_NC)
    predicted_N = chances_NC.argmax(axis=1)
    wrong = np.flatnonzero(predicted_N != truth_N)
    worst_first = wrong[np.argsort(-chances_NC[wrong, predicted_N[wrong]], kind="stable")][:limit]
    found = []
    for i in worst_first:
        text = examples[i].text
        found.append(
            {
                "text": text if len(text) <= MISTAKE_CHARACTERS else text[: MISTAKE_CHARACTERS - 1] + "…",
                "label": labels[truth_N[i]],
                "predicted": labels[predicted_N[i]],
                "probability": float(chances_NC[i, predicted_N[i]]),
                "place": str(examples[i].place),
            }
        )
    return found


def length_profile(lengths: Sequence[int], max_length: int) -> dict[str, Any]:
    """Count texts by length in tokens: bin i holds lengths above `edges[i]`, up to and including `edges[i + 1]`.

    `max_length` is an edge whenever a text is longer, so that cut and uncut texts never share a bar; beyond twice
    `max_length` everything is one last bin.

    >>> length_profile([3, 4, 5, 40], max_length=4)
    {'edges': [0, 1, 2, 3, 4, 5, 6, 7, 8, 40], 'counts': [0, 0, 1, 1, 1, 0, 0, 0, 1], 'max_length': 4}
    """
    longest = max(lengths, default=0)
    if longest > max_length:
        width = max(1, -(-max_length // 16))
        inside = list(range(max_length, 0, -width))[::-1]
        beyond = range(max_length + width, min(longest, 2 * max_length) + 1, width)
        edges = sorted({0, *inside, *beyond, longest})
    else:
        width = _round_width(longest / 16)
        edges = list(range(0, max(longest, 1) + width, width))
    bin_N = np.searchsorted(edges, np.maximum(np.asarray(lengths, dtype=np.int64), 1), "left") - 1
    counts = np.bincount(bin_N, minlength=len(edges) - 1)
    return {"edges": edges, "counts": counts.tolist(), "max_length": max_length}


def summary_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the summary as table rows, the header first: metric, model and, where there is one, baseline.

    >>> summary_rows({"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}})
    [('test, 4 texts', 'model'), ('accuracy', '75.0 % (30.0–95.0)')]
    """
    split = main_split(report)
    model = report["scores"][split]
    beside = (report.get("baseline") or {}).get(split)
    rows = [(f"{split}, {model['n']:,} texts", "model", *(["baseline"] if beside else []))]
    for key, name, percent in METRICS:
        if key in model:
            rows.append((name, *(with_interval(each.get(key), percent) for each in (model, beside) if each)))
    return rows


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the summary as aligned lines for a terminal, and what the difference to the baseline shows.

    >>> summary_lines({"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}})
    ['test, 4 texts  model', 'accuracy       75.0 % (30.0–95.0)']
    """
    rows = summary_rows(report)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = against_baseline(report, main_split(report))
    return [*lines, said] if said else lines


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


def _round_width(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … that is not below `width`."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= width:
                return step * size
        size *= 10
