"""Intervals against scipy, against McNemar's test, and against a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from filbert.errors import ConfigError
from filbert.metrics.intervals import (
    expanded,
    grouped_mean,
    interval,
    paired_difference,
    paired_difference_of_means,
    resampled_means,
    text_counts,
    wilson,
    wilson_rates,
)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 10), (470, 500)])
def test_wilson_equals_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_nothing_seen_allows_everything() -> None:
    assert wilson(0, 0) == (0, 1)
    assert wilson_rates(0, 0, 0) == {"precision": (0, 1), "recall": (0, 1), "f1": (0, 1)}


def test_f1_of_wilson_is_the_f1_of_the_share_right() -> None:
    low, high = wilson_rates(8, 10, 10)["f1"]
    assert low < 2 * 8 / 20 < high
    assert (low / (2 - low), high / (2 - high)) == pytest.approx(wilson(8, 12))


def test_each_resample_draws_every_text_once_on_average() -> None:
    counts_RN = np.concatenate(list(text_counts(300, 4000, np.random.default_rng(0))))
    assert counts_RN.shape == (4000, 300)
    assert set(counts_RN.sum(axis=1)) == {300}
    assert counts_RN.mean(axis=0) == pytest.approx(np.ones(300), abs=0.07)
    assert counts_RN.var() == pytest.approx(299 / 300, abs=0.01)  # binomial


def test_an_interval_holds_its_value_and_never_claims_certainty() -> None:
    assert interval(0.5, np.array([0.6, 0.7])) == {"value": 0.5, "low": 0.5, "high": pytest.approx(0.6975)}
    assert interval(1.0, np.ones(10), (0.7, 1.0))["low"] == 0.7
    assert interval(np.nan, np.ones(10)) == {"value": None, "low": None, "high": None}
    assert interval(0.2, np.array([np.nan, 0.1, 0.3]))["high"] == pytest.approx(0.295)


def test_groups_that_agree_inside_widen_the_mean() -> None:
    values_N = np.random.default_rng(0).random(400)
    alone = grouped_mean(values_N, np.arange(400))
    alike = grouped_mean(np.repeat(values_N[:40], 10), np.repeat(np.arange(40), 10))
    assert alone["n"] == alike["n"] == 400
    assert alike["high"] - alike["low"] > 2 * (alone["high"] - alone["low"])


@pytest.mark.parametrize(("wins", "losses", "clear"), [(0, 0, False), (4, 0, False), (12, 0, True), (30, 28, False)])
def test_paired_difference_agrees_with_mcnemar(wins: int, losses: int, clear: bool) -> None:
    true_N = np.ones(500, dtype=int)
    first_N, second_N = true_N.copy(), true_N.copy()
    second_N[:wins] = 0
    first_N[wins : wins + losses] = 0
    found = paired_difference(true_N, first_N, second_N)
    assert found["value"] == pytest.approx((wins - losses) / 500)
    assert (found["low"] > 0) == clear
    assert found["low"] < found["high"]


def test_pairs_of_different_length_are_named() -> None:
    with pytest.raises(ConfigError, match="give three lists of one length"):
        paired_difference([1, 0], [1, 0], [1])


def test_a_difference_of_means_is_of_the_same_texts_and_never_certain() -> None:
    one = np.array([1.0, 0.5, 1.0, 0.0] * 25)
    noise = np.random.default_rng(0).normal(size=100) / 100
    better = paired_difference_of_means(one, one - 0.2 + noise)  # apart they vary by 0.4
    assert 0.19 < better["low"] < better["value"] < better["high"] < 0.21
    equal = paired_difference_of_means(one, one)
    assert equal["value"] == 0
    assert -0.05 < equal["low"] < 0 < equal["high"] < 0.05
    alone = paired_difference_of_means(one[:1], one[:1])
    assert (alone["low"], alone["high"]) == pytest.approx((-wilson(0, 1)[1], wilson(0, 1)[1]))


@pytest.mark.parametrize("texts", [5, 20, 100, 100_000])
def test_the_share_that_is_left_out_is_students(texts: int) -> None:
    student = t.ppf(0.975, texts - 1) * (texts / (texts - 1)) ** 0.5
    assert expanded(texts) == pytest.approx(norm.cdf(-student), abs=5e-4)


def test_the_mean_of_few_texts_has_an_interval_that_holds_it_often_enough() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        errors_N = rng.normal(size=8)
        found = interval(float(errors_N.mean()), resampled_means(errors_N), texts=8)
        held += found["low"] <= 0 <= found["high"]
    assert held > 0.92 * 400  # 0.87 by plain percentiles
