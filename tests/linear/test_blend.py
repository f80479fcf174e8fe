"""The weights of BERT and the linear model, fitted on some texts and judged on others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filbert.linear.blend import cross_fitted
from filbert.records import FloatArray

RANDOM = np.random.default_rng(0)
TRUE_NO = RANDOM.normal(size=(400, 1))


def losses(outputs_NO: FloatArray, rows: Sequence[int]) -> FloatArray:
    errors_N: FloatArray = ((outputs_NO - TRUE_NO[list(rows)]) ** 2).sum(axis=1)
    return errors_N


def mean_losses(bert_NO: FloatArray, linear_NO: FloatArray) -> tuple[float, float, float]:
    found = cross_fitted(losses, bert_NO, linear_NO)
    alone, linear, both = (
        float(losses(x, range(400)).mean()) for x in (found.alone_NO, found.linear_NO, found.both_NO)
    )
    return alone, linear, both


def test_two_that_err_apart_are_better_together() -> None:
    alone, linear, both = mean_losses(*(TRUE_NO + RANDOM.normal(size=(400, 1)) for _ in range(2)))
    assert both < 0.8 * min(alone, linear)


def test_one_that_knows_nothing_is_better_left_out() -> None:
    alone, linear, both = mean_losses(RANDOM.normal(size=(400, 1)), TRUE_NO + 0.5 * RANDOM.normal(size=(400, 1)))
    assert linear < both < alone
