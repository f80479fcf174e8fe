"""BERT and the linear model together: outputs = factor × BERT's + the linear model's, the weights fitted out of sample.

Outputs are logits of classes, log-odds of labels, or numbers: a weighted sum of them is what the tasks decode already.
The two weights are those of least loss on held-out texts (a logistic, or linear, regression on two outputs: stacking,
Wolpert 1992). Whether they help is seen by cross-fitting: each tenth of the held-out texts is answered with weights
fitted on the others, with BERT's alone rescaled by the same care. No torch here.

Shapes: N texts, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from filbert.linear.texts import Inputs, TextLinear
from filbert.records import FloatArray

FOLDS = 10
MOST_WEIGHT = 20.0
PRIOR = 4.0  # nats that a weight 1 from the usual one costs, over all texts

Losses = Callable[[FloatArray, Sequence[int]], FloatArray]
"""Outputs of some texts, and which texts these are → the loss of each."""


@dataclass(frozen=True)
class Blend:
    """The linear model, and what BERT's outputs are multiplied by."""

    linear: TextLinear
    factor: float

    def outputs(self, bert_NO: FloatArray, inputs: Sequence[Inputs]) -> FloatArray:
        """Return the outputs of both for texts, N × O."""
        return self.factor * bert_NO + self.linear.outputs(inputs)


@dataclass(frozen=True)
class CrossFitted:
    """What weights give that were fitted on other texts: BERT alone, the linear model alone, and both together."""

    alone_NO: FloatArray
    linear_NO: FloatArray
    both_NO: FloatArray


def fit_weights(losses: Losses, parts: Sequence[FloatArray], rows: Sequence[int]) -> FloatArray:
    """Return the weight of each part, 0 to 20, with which their sum has the least mean loss on these texts.

    Weights that add up to 1, all alike, are a priori likely, as if PRIOR texts had said so: where few texts are all
    answered right, any weight is better the larger it is.

    >>> parts = np.array([[0.5], [2.0]] * 500), np.array([[1.0], [0.0]] * 500)
    >>> wanted = np.array([[2.0], [4.0]] * 500)
    >>> fit_weights(lambda out, rows: ((out - wanted) ** 2).sum(axis=1), parts, range(1000)).round(1).tolist()
    [2.0, 1.0]
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # scikit-learn's own; not needed to predict

    taken = np.stack([part[list(rows)] for part in parts])

    start, limits = np.full(len(parts), 1 / len(parts)), [(0.0, MOST_WEIGHT)] * len(parts)

    def loss(weight_P: FloatArray) -> float:
        unlikely = PRIOR * float(((weight_P - start) ** 2).sum())
        return float(losses(np.tensordot(weight_P, taken, 1), rows).mean()) + unlikely / len(rows)

    return np.asarray(minimize(loss, start, method="L-BFGS-B", bounds=limits).x, dtype=np.float64)


def cross_fitted(losses: Losses, bert_NO: FloatArray, linear_NO: FloatArray) -> CrossFitted:
    """Return the outputs of each alone and of both for each text, with weights fitted on the texts of other folds."""
    order = np.random.default_rng(0).permutation(len(bert_NO))
    tried = (bert_NO,), (linear_NO,), (bert_NO, linear_NO)
    found = [np.empty_like(bert_NO) for _ in tried]
    for held in np.array_split(order, FOLDS):
        rest = np.setdiff1d(order, held).tolist()
        for out_NO, parts in zip(found, tried, strict=True):
            weight_P = fit_weights(losses, parts, rest)
            out_NO[held] = np.tensordot(weight_P, np.stack([part[held] for part in parts]), 1)
    return CrossFitted(*found)
