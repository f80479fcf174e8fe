"""Which text to ask about next, and how accurate the model is by what was answered.

A linear model on a base's vectors is fitted to the answers. The next text is the one whose two most probable labels are
closest (margin sampling, Scheffer et al. 2001). Every fifth text is taken at random instead: a fixed random order of
all texts is worked off, and those of its beginning that have a label, however they came by it, are a fair sample of the
file. The accuracy is theirs, each answered by a model that was fitted without it.

Shapes: N texts, L of them labelled, C classes, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn itself requires it

from filbert.metrics.intervals import wilson
from filbert.records import FloatArray

C = 10.0  # inverse penalty, for vectors of length 1
FOLDS = 5
FEWEST = 10  # labelled texts before a model is fitted, and random ones before its accuracy is said
MOST_FITTED = 5_000  # labelled texts

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """A point of the learning curve: the accuracy with its 95 % interval, 0 to 1, by `tested` random texts."""

    labels: int
    tested: int
    accuracy: float
    low: float
    high: float


def directions(vectors_ND: FloatArray) -> FloatArray:
    """Return vectors of length 1, so that long and short texts weigh alike.

    >>> directions(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    found: FloatArray = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-9)
    return found


def fitted(vectors_LD: FloatArray, labels_L: Sequence[str]) -> LogisticRegression:
    """Return a linear model of the labels; there must be two different ones at least."""
    with threadpool_limits(1, user_api="blas"):  # more threads are slower on a busy machine
        return LogisticRegression(C=C, max_iter=200, class_weight="balanced").fit(vectors_LD, np.asarray(labels_L))


def margins(chances_NC: FloatArray) -> FloatArray:
    """Return margins_N between the two most probable classes: the smaller, the less sure.

    >>> margins(np.array([[0.5, 0.4, 0.1], [0.9, 0.1, 0.0]])).round(1)
    array([0.1, 0.8])
    """
    sorted_NC = np.sort(chances_NC, axis=1)
    found: FloatArray = sorted_NC[:, -1] - sorted_NC[:, -2]
    return found


def out_of_fold(vectors_LD: FloatArray, labels_L: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Return for each labelled text what a model fitted without it answers, and the probability of its own label."""
    labels = np.asarray(labels_L)
    fold_L = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    answers = np.full(len(labels), "", dtype=object)
    own_L = np.zeros(len(labels))
    for fold in range(FOLDS):
        held_L = fold_L == fold
        rest = labels[~held_L]
        if not held_L.any() or not len(rest):
            continue
        if len(set(rest.tolist())) == 1:
            answers[held_L], own_L[held_L] = rest[0], labels[held_L] == rest[0]
            continue
        model = fitted(vectors_LD[~held_L], rest.tolist())
        chances = model.predict_proba(vectors_LD[held_L])
        answers[held_L] = model.classes_[chances.argmax(axis=1)]
        own_L[held_L] = (chances * (model.classes_ == labels[held_L][:, None])).sum(axis=1)
    return answers.tolist(), own_L


def accuracy(vectors_LD: FloatArray, labels_L: Sequence[str], random_L: npt.NDArray[np.bool_]) -> Point | None:
    """Return the accuracy on the texts that were taken at random; None where they are too few to tell.

    >>> vectors = np.repeat(np.eye(2), 20, axis=0)
    >>> accuracy(vectors, ["a"] * 20 + ["b"] * 20, np.ones(40, dtype=bool)).accuracy
    1.0
    """
    tested = int(random_L.sum())
    if tested < FEWEST or len(set(labels_L)) < 2:
        return None
    answers, _ = out_of_fold(vectors_LD, labels_L)
    right = int((np.asarray(answers, dtype=object) == np.asarray(labels_L, dtype=object))[random_L].sum())
    return Point(len(labels_L), tested, right / tested, *wilson(right, tested))


class Queue:
    """The random order of N texts, how far it is worked off, and which text is next."""

    def __init__(self, n: int, *, share: float = 0.2, seed: int = 0) -> None:
        self.order: list[int] = np.random.default_rng(seed).permutation(n).tolist()
        self.every = max(1, round(1 / share)) if share else 0
        self._asked = 0
        self._reached = 0

    def random_text(self, taken: set[int]) -> int | None:
        """Return the next text of the random order that is not `taken`; None where there is none left."""
        while self._reached < len(self.order) and self.order[self._reached] in taken:
            self._reached += 1
        return self.order[self._reached] if self._reached < len(self.order) else None

    def sample(self, taken: set[int]) -> set[int]:
        """Return the texts of the random order up to the first that is not `taken`: a fair sample of all."""
        self.random_text(taken)
        return set(self.order[: self._reached])

    def next(self, taken: set[int], unsure: Sequence[int] = ()) -> tuple[int, bool] | None:
        """Return the text to ask about, and whether it is a random one; `unsure`: the least sure first.

        >>> queue = Queue(3, share=0.5)
        >>> queue.next(set(), [1])[1], queue.next(set(), [1])
        (True, (1, False))
        """
        at_random = self.random_text(taken)
        if at_random is None:
            return None
        self._asked += 1
        if not self.every or (self._asked - 1) % self.every:
            for i in unsure:
                if i not in taken:
                    return i, i == at_random
        return at_random, True
