"""The baseline to beat: a linear model on TF-IDF of the same texts, in seconds, whatever the task.

    texts → counts of words and pairs (Chinese: characters) → TF-IDF → logistic regression, one for each label, or ridge

Features are hashed, so memory depends on how many words there are and not on how many differ. Of two texts the model
sees each, the words they share, those they do not, and how alike the two are. No torch here, and no BERT.

Shapes: N texts, B buckets, F features kept, C classes, L labels, O outputs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]  # scikit-learn's own
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from filbert.errors import ConfigError
from filbert.linear.model import BUCKETS, fewest_texts, fit_logistic, kept_features
from filbert.metrics.calibration import softmax
from filbert.records import Example, FloatArray
from filbert.text.chinese import han_share

MOST_TEXTS = 200_000  # trained on at most; more than that moves a linear model by less than its interval
MOST_CHARACTERS = 100_000_000  # in all training texts: three times IMDb, about 1 GB of counts
LONGEST_TEXT = 20_000  # characters read of one text
AT_ONCE = 20_000  # texts predicted at once
HAN_SHARE = 0.3  # of the letters: above it a text has no spaces to split at
SHARED = 2**20  # buckets of each of the four parts that a pair has

# One-letter words and ? ! are words: 1.5 points on TREC, nothing lost on SST-2.
WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b|[?!]", "ngram_range": (1, 2)}
CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}


@dataclass(frozen=True)
class LinearOutputs:
    """What a linear model answered: per split one row of numbers for each text, and what it took."""

    name: str
    """What it is, for people: "TF-IDF (words and pairs) + logistic regression"."""
    seconds: float
    """Fitting and predicting, together."""
    outputs: Mapping[str, FloatArray]
    """Split name → N × O."""
    note: str = ""
    """What was left out to stay within memory, or nothing."""


Answer = Callable[[Any], FloatArray]  # features_NF → outputs_NO


def linear_probabilities(
    train: Sequence[Example], true_N: npt.ArrayLike, asked: Mapping[str, Sequence[Example]], classes: int
) -> LinearOutputs:
    """Fit logistic regression → probabilities_NC of each split.

    Accuracy on the sets' own test splits: IMDb 90.9 %, SST-2 81.2, TREC 91.0, ChnSentiCorp 92.7, CLINC-150 91.4.
    Raises ConfigError where texts and labels differ in number.

    >>> train = [Example(("good film",)), Example(("bad film",))] * 9
    >>> found = linear_probabilities(train, [1, 0] * 9, {"test": [Example(("a good one",))]}, 2)
    >>> found.outputs["test"].argmax(axis=1).tolist()
    [1]
    """
    truth_N = np.asarray(true_N)

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Answer:
        weights_FC, bias_C = fit_logistic(features_NF, truth_N[kept_N], classes)
        return lambda asked_NF: softmax(asked_NF @ weights_FC + bias_C)

    return _answered(train, truth_N, asked, fit, name="logistic regression", outputs=classes)


def linear_label_sets(
    train: Sequence[Example], true_NL: npt.NDArray[Any], asked: Mapping[str, Sequence[Example]]
) -> LinearOutputs:
    """Fit a logistic regression for each label → probabilities_NL of each split."""

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Answer:
        columns = (true_NL[kept_N, label].astype(np.int32) for label in range(true_NL.shape[1]))
        fitted = [fit_logistic(features_NF, truth_N, 2) for truth_N in columns]
        weights_FL = np.stack([weights_F2[:, 1] - weights_F2[:, 0] for weights_F2, _ in fitted], axis=1)
        bias_L = np.array([np.clip(bias_2[1] - bias_2[0], -30, 30) for _, bias_2 in fitted])
        return lambda asked_NF: np.asarray(1 / (1 + np.exp(-(asked_NF @ weights_FL + bias_L))), dtype=np.float64)

    return _answered(train, true_NL, asked, fit, name="one logistic regression a label", outputs=true_NL.shape[1])


def linear_numbers(
    train: Sequence[Example], true_N: npt.NDArray[Any], asked: Mapping[str, Sequence[Example]]
) -> LinearOutputs:
    """Fit ridge regression → N × 1 of each split."""

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Answer:
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=1.0)
        model.fit(features_NF, true_N[kept_N])
        return lambda asked_NF: np.asarray(model.predict(asked_NF), dtype=np.float64)[:, None]

    return _answered(train, true_N, asked, fit, name="ridge regression", outputs=1)


def _answered(
    train: Sequence[Example],
    true: npt.NDArray[Any],
    asked: Mapping[str, Sequence[Example]],
    fit: Callable[[Any, npt.NDArray[np.int64]], Answer],
    *,
    name: str,
    outputs: int,
) -> LinearOutputs:
    """Weigh the features, fit, and answer every split."""
    started = time.perf_counter()
    if len(train) != len(true) or not train:
        raise ConfigError("the baseline cannot be fitted: texts and targets differ in number, or there are none")
    kept_N, note = _affordable(train)
    texts = [train[i] for i in kept_N]
    chinese = han_share([example.text[:LONGEST_TEXT] for example in texts]) > HAN_SHARE
    features = _Features(chinese, pairs=len(texts[0].inputs) > 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # -inf + numbers: the bias of a class without texts
        answer = fit(features.fit(texts, outputs), kept_N)
        found = {
            split: np.concatenate([np.empty((0, outputs))] + [answer(features.of(part)) for part in _parts(examples)])
            for split, examples in asked.items()
        }
    units = "1–3 characters" if chinese else "words and pairs"
    return LinearOutputs(f"TF-IDF ({units}) + {name}", time.perf_counter() - started, found, note)


def _parts(examples: Sequence[Example]) -> list[Sequence[Example]]:
    return [examples[begin : begin + AT_ONCE] for begin in range(0, len(examples), AT_ONCE)]


class _Features:
    """Texts, or pairs of them, as weighed features; which ones are kept, the training texts say."""

    def __init__(self, chinese: bool, *, pairs: bool) -> None:
        self._pairs = pairs
        self._hashing = HashingVectorizer(
            n_features=SHARED if pairs else BUCKETS,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
            **(CHARACTERS if chinese else WORDS),
        )
        self._weigh = TfidfTransformer(sublinear_tf=True)

    def fit(self, examples: Sequence[Example], outputs: int) -> Any:
        """Choose and weigh the features → features_NF of the training texts."""
        counts_NB, alike = self._counts(examples)
        self._kept_F = kept_features(counts_NB.indices, fewest_texts(len(examples)), outputs)
        return self._joined(self._weigh.fit_transform(counts_NB[:, self._kept_F]), alike)

    def of(self, examples: Sequence[Example]) -> Any:
        """Return features_NF."""
        counts_NB, alike = self._counts(examples)
        return self._joined(self._weigh.transform(counts_NB[:, self._kept_F]), alike)

    def _joined(self, weighed_NF: Any, alike: Any) -> Any:
        return weighed_NF if alike is None else sparse.hstack((weighed_NF, alike)).tocsr()

    def _counts(self, examples: Sequence[Example]) -> tuple[Any, Any]:
        """Return counts_NB and, of pairs, how alike the two are: cosine, Jaccard's share of words, lengths."""
        first, *second = (
            self._hashing.transform([example.inputs[i][:LONGEST_TEXT] for example in examples])
            for i in range(2 if self._pairs else 1)
        )
        if not second:
            return first, None
        shared = first.minimum(second[0])
        apart = abs(first - second[0])
        length = [np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()) for x in (first, second[0])]
        cosine = np.asarray(first.multiply(second[0]).sum(axis=1)).ravel() / np.maximum(length[0] * length[1], 1e-9)
        sums = [np.asarray(x.sum(axis=1)).ravel() for x in (shared, first, second[0])]
        jaccard = sums[0] / np.maximum(sums[1] + sums[2] - sums[0], 1e-9)
        ratio = np.minimum(sums[1], sums[2]) / np.maximum(np.maximum(sums[1], sums[2]), 1e-9)
        alike = sparse.csr_matrix(np.stack((cosine, jaccard, ratio), axis=1).astype(np.float32))
        return sparse.hstack((first, second[0], shared, apart)).tocsr(), alike


def _affordable(examples: Sequence[Example]) -> tuple[npt.NDArray[np.int64], str]:
    """Return which texts to train on, in their order, and a note when those are not all."""
    order = np.random.default_rng(0).permutation(len(examples))
    read = np.cumsum([sum(min(len(text), LONGEST_TEXT) for text in examples[i].inputs) for i in order])
    many = max(1, min(MOST_TEXTS, int(np.searchsorted(read, MOST_CHARACTERS, "right"))))
    if many >= len(examples):
        return np.arange(len(examples)), ""
    return np.sort(order[:many]), f"trained on a random {many:,} of the {len(examples):,} training texts"
