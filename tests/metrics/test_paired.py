"""Paired differences: the exact test, and intervals over texts and seeds that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from filbert.metrics.intervals import paired_difference
from filbert.metrics.paired import difference_of_runs, mcnemar


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (4, 0), (10, 2), (30, 31), (200, 150)])
def test_mcnemar_is_the_binomial_test(first, second):
    few = min(first, second)
    expected = 1.0 if first == second else min(1.0, 2 * binom.cdf(few, first + second, 0.5))
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(expected)


def simulated(draw, texts, runs, gain, spread):
    """Return differences and figures of two recipes whose accuracy varies over seeds; each text is hard for both."""
    hard_N = draw.normal(0, 1, texts)
    answers = []
    for better in (gain, 0.0):
        answers.append([hard_N + draw.normal(0, 1, texts) < 1 + better + draw.normal(0, spread) for _ in range(runs)])
    true_N = np.ones(texts)
    pairs = [paired_difference(true_N, one, two, resamples=200) for one in answers[0] for two in answers[1]]
    return pairs, *([float(run.mean()) for run in side] for side in answers)


def test_the_interval_over_seeds_holds_the_true_difference():
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        found = difference_of_runs(*simulated(draw, 300, 3, 0.0, 0.1))
        held += found["low"] <= 0 <= found["high"]
    assert held >= 93


def test_seeds_that_vary_widen_the_interval():
    pair = {"value": 0.02, "low": 0.01, "high": 0.03}
    narrow = difference_of_runs([pair] * 9, [0.92, 0.92, 0.92], [0.90, 0.90, 0.90])
    wide = difference_of_runs([pair] * 9, [0.90, 0.92, 0.94], [0.90, 0.91, 0.89])
    assert narrow["low"] == pytest.approx(0.01, abs=1e-4)
    assert wide["low"] < 0 < wide["high"]
    alone = difference_of_runs([pair] * 3, [0.90, 0.92, 0.94], [0.90])
    assert alone["low"] < wide["low"]  # one run of the second may have been as lucky as any of the first
