"""A linear text classifier: logistic regression on hashed TF-IDF features.

Used by the baseline of every report, on words and bigrams (baseline.py), and by the cascade, on n-grams of word pieces
(cascade.py). scikit-learn fits; prediction is numpy, so that a model with a cascade opens without scikit-learn.

Shapes: N texts, K features found in them (all texts end to end), F features kept, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.hashing import mix64
from filbert.records import FloatArray, IntArray

BUCKETS = 2**22  # IMDb has 1.5 M different words and pairs
MAX_FEATURES = 500_000
MAX_WEIGHTS = 5_000_000  # features × classes: 150 classes keep the 33,000 most common features
MAX_NGRAM = 3  # word pieces
BATCH_TEXTS = 2_000  # hashed at once

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Feature counts of texts: text n has the distinct features `buckets_K[starts[n]:starts[n + 1]]`."""

    starts: Ints
    buckets_K: Ints
    counts_K: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True)
class Linear:
    """A fitted model: the buckets kept, their inverse document frequencies, weights and bias."""

    buckets_F: Ints  # ascending
    idf_F: npt.NDArray[np.float32]
    weights_FC: npt.NDArray[np.float32]
    bias_C: npt.NDArray[np.float32]

    def logits(self, counts: Counts) -> FloatArray:
        """Return logits_NC of texts; a text without a known feature gets the bias."""
        place_K = self._places()[counts.buckets_K]
        text_K = np.repeat(np.arange(len(counts)), np.diff(counts.starts))
        known_K = place_K >= 0
        place_K, text_K = place_K[known_K], text_K[known_K]
        value_K = (1 + np.log(counts.counts_K[known_K])) * self.idf_F[place_K]
        found_NC = np.zeros((len(counts), len(self.bias_C)))
        if len(text_K):
            first = np.flatnonzero(np.diff(text_K, prepend=-1))
            texts = text_K[first]
            length = np.sqrt(np.add.reduceat(value_K * value_K, first))
            for c, weight_F in enumerate(self.weights_FC.T):
                found_NC[texts, c] = np.add.reduceat(value_K * weight_F[place_K], first) / length
        return found_NC + self.bias_C

    def _places(self) -> npt.NDArray[np.int32]:
        """Return the feature of each bucket, -1 where none was kept; cached."""
        table = self.__dict__.get("_table")
        if table is None:
            table = np.full(BUCKETS, -1, dtype=np.int32)
            table[self.buckets_F] = np.arange(len(self.buckets_F), dtype=np.int32)
            object.__setattr__(self, "_table", table)
        return table


def count_pieces(texts: Sequence[IntArray]) -> Counts:
    """Count the unigrams, bigrams and trigrams of word pieces in texts given as ids.

    >>> counts = count_pieces([np.array([7, 8, 7], np.int32), np.array([], np.int32)])
    >>> counts.starts.tolist(), sorted(counts.counts_K.tolist())
    ([0, 5, 5], [1, 1, 1, 1, 2])
    """
    starts, buckets, counts = [np.zeros(1, np.int64)], [], []
    for begin in range(0, len(texts), BATCH_TEXTS):
        part = texts[begin : begin + BATCH_TEXTS]
        text_T = np.repeat(np.arange(len(part)), [len(ids) for ids in part])
        key_K, count_K = np.unique(_keys(part, text_T), return_counts=True)
        many_N = np.bincount(key_K // BUCKETS, minlength=len(part))
        starts.append(starts[-1][-1] + np.cumsum(many_N))
        buckets.append(key_K % BUCKETS)
        counts.append(count_K)
    whole = (np.concatenate(each) if each else np.empty(0, np.int64) for each in (buckets, counts))
    return Counts(np.concatenate(starts), *whole)


def _keys(texts: Sequence[IntArray], text_T: Ints) -> Ints:
    """Return text · BUCKETS + bucket of every n-gram of one to three pieces."""
    ids_T = np.concatenate([*texts, np.empty(0, np.int32)]).astype(np.uint64)
    run, keys = np.zeros(len(ids_T), np.uint64), []
    for pieces in range(1, MAX_NGRAM + 1):
        last = len(ids_T) - pieces + 1
        if last <= 0:
            break
        run = mix64(run[:last] ^ (ids_T[pieces - 1 :] + np.uint64(pieces << 32)))
        inside = text_T[:last] == text_T[pieces - 1 :]
        keys.append(text_T[:last][inside] * BUCKETS + (run[inside] >> np.uint64(42)).astype(np.int64))
    return np.concatenate([*keys, np.empty(0, np.int64)])


def fit_linear(counts_NB: Any, true_N: npt.ArrayLike, classes: int) -> Linear:
    """Fit TF-IDF + logistic regression to a sparse matrix of counts, N × BUCKETS; unseen classes are not predicted."""
    from sklearn.feature_extraction.text import TfidfTransformer  # here, so that a saved model opens without it

    truth_N = np.asarray(true_N)
    kept_F = kept_features(counts_NB.indices, min_texts(len(truth_N)), classes)
    tfidf = TfidfTransformer(sublinear_tf=True)
    weights_FC, bias_C = fit_logistic(tfidf.fit_transform(counts_NB[:, kept_F]), truth_N, classes)
    return Linear(kept_F, tfidf.idf_.astype(np.float32), weights_FC, bias_C)


def fit_logistic(
    features_NF: Any, truth_N: npt.NDArray[Any], classes: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fit logistic regression → weights_FC, bias_C; the bias of a class without texts is -inf."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # a requirement of scikit-learn

    seen = np.unique(truth_N)
    weights_FC = np.zeros((features_NF.shape[1], classes), np.float32)
    bias_C = np.full(classes, -np.inf, np.float32)
    if len(seen) == 1:
        bias_C[seen] = 0
        return weights_FC, bias_C
    # At scikit-learn's tol of 1e-4 ChnSentiCorp stops 1.2 points short. One BLAS thread: on a busy machine two that
    # wait for each other table TREC 10 × slower.
    model = LogisticRegression(C=10.0, tol=1e-5, max_iter=150)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features_NF, truth_N)
    if len(seen) == 2:  # one row, of the second class
        weights_FC[:, seen[1]], bias_C[seen] = model.coef_[0], (0, model.intercept_[0])
    else:
        weights_FC[:, seen], bias_C[seen] = model.coef_.T, model.intercept_
    return weights_FC, bias_C


def min_texts(texts: int) -> int:
    """Return the least number of texts in which a feature must occur to be kept.

    >>> min_texts(500), min_texts(20_000)
    (1, 2)
    """
    return 2 if texts > 2000 else 1


def kept_features(indices: npt.NDArray[np.int32], least: int, classes: int) -> Ints:
    """Return the features found in at least `least` texts, the most common ones where there are too many."""
    texts_B = np.bincount(indices, minlength=BUCKETS)
    kept_F = np.flatnonzero(texts_B >= least)
    most = min(MAX_FEATURES, MAX_WEIGHTS // (1 if classes == 2 else classes))
    if len(kept_F) > most:
        kept_F = np.sort(kept_F[np.argsort(-texts_B[kept_F], kind="stable")[:most]])
    return kept_F if len(kept_F) else np.arange(1)
