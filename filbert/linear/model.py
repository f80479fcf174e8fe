"""A linear model: logistic or ridge regression on hashed TF-IDF features.

Used for texts (texts.py) by the baseline of every report and by the blend with BERT, and for word pieces by the cascade
(cascade.py). scikit-learn fits; prediction is numpy, so that a model with a linear part opens without scikit-learn.

Shapes: N texts, K features found in them (all texts end to end), F features kept, C outputs (classes, labels or one
number), S similarities of a pair.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.linear.counts import BUCKETS, Counts, Ints
from filbert.records import FloatArray

MAX_FEATURES = 500_000
MAX_WEIGHTS = 5_000_000  # features × outputs: 150 classes keep the 33,000 most common features
SURE = 30.0  # log-odds of what every text has, or none

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """A fitted model: the buckets kept, their inverse document frequencies, weights and bias."""

    buckets_F: Ints  # ascending
    idf_F: Weights
    weights_FC: Weights
    bias_C: Weights
    similar_SC: Weights | None = None
    """Weights of the similarities of a pair of texts."""

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
        if self.similar_SC is not None and counts.similar_NS is not None:
            for similar_N, weight_C in zip(counts.similar_NS.T, self.similar_SC.astype(np.float64), strict=True):
                found_NC += similar_N[:, None] * weight_C  # no product of matrices: the same bits in any batch
        return found_NC + self.bias_C

    def scaled(self, factor: float, shift: float = 0.0) -> Linear:
        """Return a model that gives `factor` times these outputs + `shift`, and none that is infinite."""
        bias_C = np.clip(self.bias_C, -SURE, None) * factor + shift
        similar = None if self.similar_SC is None else (self.similar_SC * factor).astype(np.float32)
        weights_FC = (self.weights_FC * factor).astype(np.float32)
        return replace(self, weights_FC=weights_FC, bias_C=bias_C.astype(np.float32), similar_SC=similar)

    def _places(self) -> npt.NDArray[np.int32]:
        """Return the feature of each bucket, -1 where none was kept; cached."""
        table = self.__dict__.get("_table")
        if table is None:
            table = np.full(BUCKETS, -1, dtype=np.int32)
            table[self.buckets_F] = np.arange(len(self.buckets_F), dtype=np.int32)
            object.__setattr__(self, "_table", table)
        return table


def fit_linear(counts: Counts, target: npt.ArrayLike, outputs: int) -> Linear:
    """Fit TF-IDF and a linear model to the counts of texts.

    `target` are numbers of classes, N (logistic regression; unseen classes are not predicted), yes or no for each
    label, N × L (a logistic regression each), or numbers, N (ridge regression).
    """
    from scipy import sparse  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import TfidfTransformer  # here, so that a saved model opens without it

    target_N = np.asarray(target)
    kept_F = kept_features(counts.buckets_K, min_texts(len(target_N)), outputs)
    tfidf = TfidfTransformer(sublinear_tf=True)
    features = tfidf.fit_transform(counts.matrix()[:, kept_F])
    if counts.similar_NS is not None:
        features = sparse.hstack((features, counts.similar_NS.astype(np.float32))).tocsr()
    weights, bias_C = _fitted(features, target_N, outputs)
    parts = weights[: len(kept_F)], weights[len(kept_F) :] if counts.similar_NS is not None else None
    return Linear(kept_F, tfidf.idf_.astype(np.float32), parts[0], bias_C, parts[1])


def _fitted(features_NF: Any, target_N: npt.NDArray[Any], outputs: int) -> tuple[Weights, Weights]:
    """Return weights_FC and bias_C by the kind of target."""
    if target_N.dtype == bool:
        found = [fit_logistic(features_NF, target_N[:, label].astype(np.int32), 2) for label in range(outputs)]
        bias = [np.clip(bias_2[1] - bias_2[0], -SURE, SURE) for _, bias_2 in found]
        return np.stack([weights_F2[:, 1] for weights_F2, _ in found], axis=1), np.array(bias, np.float32)
    if np.issubdtype(target_N.dtype, np.integer):
        return fit_logistic(features_NF, target_N, outputs)
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0).fit(features_NF, target_N)
    return np.asarray(model.coef_, np.float32)[:, None], np.array([model.intercept_], np.float32)


def fit_logistic(features_NF: Any, truth_N: npt.NDArray[Any], classes: int) -> tuple[Weights, Weights]:
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


def kept_features(buckets_K: npt.NDArray[np.int32], least: int, outputs: int) -> Ints:
    """Return the features found in at least `least` texts, the most common ones where there are too many."""
    texts_B = np.bincount(buckets_K, minlength=BUCKETS)
    kept_F = np.flatnonzero(texts_B >= least)
    most = min(MAX_FEATURES, MAX_WEIGHTS // (1 if outputs == 2 else outputs))
    if len(kept_F) > most:
        kept_F = np.sort(kept_F[np.argsort(-texts_B[kept_F], kind="stable")[:most]])
    return kept_F if len(kept_F) else np.arange(1)
