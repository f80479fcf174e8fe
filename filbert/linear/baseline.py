"""The baseline: a linear model on TF-IDF features of the same texts, fitted in seconds, for all tasks.

    texts → counts of words and bigrams (Chinese: characters) → TF-IDF → logistic regression (one per label), or ridge

Features are hashed, so memory does not grow with the vocabulary. For a pair of texts the features are those of each,
the words they share, those they do not, and their similarity. No torch here.

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
from filbert.linear.model import BUCKETS, fit_logistic, kept_features, min_texts
from filbert.metrics.calibration import softmax
from filbert.records import Example, FloatArray
from filbert.text.chinese import han_share

MAX_TEXTS = 200_000  # to train on; more change the scores by less than their interval
MAX_CHARACTERS = 100_000_000  # in all training texts: three times IMDb, about 1 GB of counts
MAX_TEXT_LENGTH = 20_000  # characters of a text; the rest is not read
BATCH_TEXTS = 20_000  # predicted at once
HAN_SHARE = 0.3  # of the letters: above it features are characters, as there are no spaces to split at
PAIR_BUCKETS = 2**20  # of each of the four parts of a pair's features

# One-letter words and ? ! are words: 1.5 points on TREC, nothing lost on SST-2.
WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b|[?!]", "ngram_range": (1, 2)}
CHARACTERS: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}


@dataclass(frozen=True)
class LinearOutputs:
    """The outputs of a linear model for each split, and its time."""

    name: str
    """Name of the model: "TF-IDF (words and pairs) + logistic regression"."""
    seconds: float
    """Of fitting and predicting."""
    outputs: Mapping[str, FloatArray]
    """Split name → N × O."""
    note: str = ""
    """On training texts left out to limit memory, or empty."""


Predict = Callable[[Any], FloatArray]  # features_NF → outputs_NO


def linear_probabilities(
    train: Sequence[Example], true_N: npt.ArrayLike, splits: Mapping[str, Sequence[Example]], classes: int
) -> LinearOutputs:
    """Fit logistic regression on `train` → probabilities_NC of each split in `splits`.

    Accuracy on the sets' own test splits: IMDb 90.9 %, SST-2 81.2, TREC 91.0, ChnSentiCorp 92.7, CLINC-150 91.4.
    Raises ConfigError where texts and labels differ in number.

    >>> train = [Example(("good film",)), Example(("bad film",))] * 9
    >>> found = linear_probabilities(train, [1, 0] * 9, {"test": [Example(("a good one",))]}, 2)
    >>> found.outputs["test"].argmax(axis=1).tolist()
    [1]
    """
    truth_N = np.asarray(true_N)

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Predict:
        weights_FC, bias_C = fit_logistic(features_NF, truth_N[kept_N], classes)
        return lambda split_NF: softmax(split_NF @ weights_FC + bias_C)

    return _fit_and_predict(train, truth_N, splits, fit, name="logistic regression", outputs=classes)


def linear_label_sets(
    train: Sequence[Example], true_NL: npt.NDArray[Any], splits: Mapping[str, Sequence[Example]]
) -> LinearOutputs:
    """Fit one logistic regression per label on `train` → probabilities_NL of each split in `splits`."""

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Predict:
        columns = (true_NL[kept_N, label].astype(np.int32) for label in range(true_NL.shape[1]))
        fitted = [fit_logistic(features_NF, truth_N, 2) for truth_N in columns]
        weights_FL = np.stack([weights_F2[:, 1] - weights_F2[:, 0] for weights_F2, _ in fitted], axis=1)
        bias_L = np.array([np.clip(bias_2[1] - bias_2[0], -30, 30) for _, bias_2 in fitted])
        return lambda split_NF: np.asarray(1 / (1 + np.exp(-(split_NF @ weights_FL + bias_L))), dtype=np.float64)

    return _fit_and_predict(
        train, true_NL, splits, fit, name="one logistic regression a label", outputs=true_NL.shape[1]
    )


def linear_numbers(
    train: Sequence[Example], true_N: npt.NDArray[Any], splits: Mapping[str, Sequence[Example]]
) -> LinearOutputs:
    """Fit ridge regression on `train` → N × 1 of each split in `splits`."""

    def fit(features_NF: Any, kept_N: npt.NDArray[np.int64]) -> Predict:
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=1.0)
        model.fit(features_NF, true_N[kept_N])
        return lambda split_NF: np.asarray(model.predict(split_NF), dtype=np.float64)[:, None]

    return _fit_and_predict(train, true_N, splits, fit, name="ridge regression", outputs=1)


def _fit_and_predict(
    train: Sequence[Example],
    true: npt.NDArray[Any],
    splits: Mapping[str, Sequence[Example]],
    fit: Callable[[Any, npt.NDArray[np.int64]], Predict],
    *,
    name: str,
    outputs: int,
) -> LinearOutputs:
    """Compute the features, fit, and predict every split."""
    started = time.perf_counter()
    if len(train) != len(true) or not train:
        raise ConfigError("the baseline cannot be fitted: texts and targets differ in number, or there are none")
    kept_N, note = _subsample(train)
    texts = [train[i] for i in kept_N]
    chinese = han_share([example.text[:MAX_TEXT_LENGTH] for example in texts]) > HAN_SHARE
    features = _Features(chinese, pairs=len(texts[0].inputs) > 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the bias of a class without texts is -inf
        predict = fit(features.fit(texts, outputs), kept_N)
        found = {
            split: np.concatenate([np.empty((0, outputs))] + [predict(features.of(part)) for part in _parts(examples)])
            for split, examples in splits.items()
        }
    units = "1–3 characters" if chinese else "words and pairs"
    return LinearOutputs(f"TF-IDF ({units}) + {name}", time.perf_counter() - started, found, note)


def _parts(examples: Sequence[Example]) -> list[Sequence[Example]]:
    return [examples[begin : begin + BATCH_TEXTS] for begin in range(0, len(examples), BATCH_TEXTS)]


class _Features:
    """TF-IDF features of texts or pairs; the training texts decide which features are kept."""

    def __init__(self, chinese: bool, *, pairs: bool) -> None:
        self._pairs = pairs
        self._hashing = HashingVectorizer(
            n_features=PAIR_BUCKETS if pairs else BUCKETS,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
            **(CHARACTERS if chinese else WORDS),
        )
        self._tfidf = TfidfTransformer(sublinear_tf=True)

    def fit(self, examples: Sequence[Example], outputs: int) -> Any:
        """Choose the features and their weights → features_NF of the training texts."""
        counts_NB, similarity = self._counts(examples)
        self._kept_F = kept_features(counts_NB.indices, min_texts(len(examples)), outputs)
        return self._joined(self._tfidf.fit_transform(counts_NB[:, self._kept_F]), similarity)

    def of(self, examples: Sequence[Example]) -> Any:
        """Return features_NF."""
        counts_NB, similarity = self._counts(examples)
        return self._joined(self._tfidf.transform(counts_NB[:, self._kept_F]), similarity)

    def _joined(self, tfidf_NF: Any, similarity: Any) -> Any:
        return tfidf_NF if similarity is None else sparse.hstack((tfidf_NF, similarity)).tocsr()

    def _counts(self, examples: Sequence[Example]) -> tuple[Any, Any]:
        """Return counts_NB and, for pairs, their similarity: cosine, Jaccard index, ratio of lengths."""
        first, *second = (
            self._hashing.transform([example.inputs[i][:MAX_TEXT_LENGTH] for example in examples])
            for i in range(2 if self._pairs else 1)
        )
        if not second:
            return first, None
        shared = first.minimum(second[0])
        difference = abs(first - second[0])
        length = [np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()) for x in (first, second[0])]
        cosine = np.asarray(first.multiply(second[0]).sum(axis=1)).ravel() / np.maximum(length[0] * length[1], 1e-9)
        sums = [np.asarray(x.sum(axis=1)).ravel() for x in (shared, first, second[0])]
        jaccard = sums[0] / np.maximum(sums[1] + sums[2] - sums[0], 1e-9)
        ratio = np.minimum(sums[1], sums[2]) / np.maximum(np.maximum(sums[1], sums[2]), 1e-9)
        similarity = sparse.csr_matrix(np.stack((cosine, jaccard, ratio), axis=1).astype(np.float32))
        return sparse.hstack((first, second[0], shared, difference)).tocsr(), similarity


def _subsample(examples: Sequence[Example]) -> tuple[npt.NDArray[np.int64], str]:
    """Return the texts to train on, in their order, and a note if some are left out."""
    order = np.random.default_rng(0).permutation(len(examples))
    read = np.cumsum([sum(min(len(text), MAX_TEXT_LENGTH) for text in examples[i].inputs) for i in order])
    many = max(1, min(MAX_TEXTS, int(np.searchsorted(read, MAX_CHARACTERS, "right"))))
    if many >= len(examples):
        return np.arange(len(examples)), ""
    return np.sort(order[:many]), f"trained on a random {many:,} of the {len(examples):,} training texts"
