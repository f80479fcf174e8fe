"""Predicted numbers, against scipy and scikit-learn, and against a world whose truth is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from filbert.errors import ConfigError
from filbert.metrics.numbers import paired_difference_of_errors, residual_quantile, score_numbers

FIGURES = ("pearson", "spearman", "mae", "rmse", "r2")
NOTHING = {"value": None, "low": None, "high": None}


def simulated(n: int, *, noise: float = 1.0, digits: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true numbers of standard deviation 1 around 3, with ties, and predictions with noise."""
    rng = np.random.default_rng(seed)
    true_N = rng.normal(3, 1, n)
    return true_N.round(digits), (true_N + rng.normal(0, noise, n)).round(digits)


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_values_equal_scipy_and_scikit_learn(digits: int) -> None:
    true_N, said_N = simulated(300, digits=digits)
    found = score_numbers(true_N, said_N)
    expected = {
        "pearson": stats.pearsonr(true_N, said_N).statistic,
        "spearman": stats.spearmanr(true_N, said_N).statistic,
        "mae": sk.mean_absolute_error(true_N, said_N),
        "rmse": sk.root_mean_squared_error(true_N, said_N),
        "r2": sk.r2_score(true_N, said_N),
    }
    assert {key: found[key]["value"] for key in FIGURES} == pytest.approx(expected)
    assert found["rmse_of_mean"] == pytest.approx(np.std(true_N))
    assert all(found[key]["low"] < found[key]["value"] < found[key]["high"] for key in FIGURES)


def test_products_of_counts_equal_resampling_texts() -> None:
    """The fast path multiplies counts and ranks with weights; its readable twin draws texts and asks scipy."""
    true_N, said_N = simulated(80)
    rng, twin = np.random.default_rng(1), {key: [] for key in FIGURES}
    for _ in range(1000):
        drawn = rng.integers(0, 80, 80)
        true, said = true_N[drawn], said_N[drawn]
        twin["pearson"].append(np.corrcoef(true, said)[0, 1])
        twin["spearman"].append(np.corrcoef(stats.rankdata(true), stats.rankdata(said))[0, 1])
        twin["mae"].append(np.abs(true - said).mean())
        twin["rmse"].append(np.sqrt(((true - said) ** 2).mean()))
        twin["r2"].append(sk.r2_score(true, said))
    found = score_numbers(true_N, said_N, resamples=4000)
    for key in FIGURES:
        ends = np.quantile(twin[key], [0.025, 0.975])
        assert [found[key]["low"], found[key]["high"]] == pytest.approx(ends, abs=0.05 if key == "r2" else 0.03), key


def test_intervals_cover_the_truth() -> None:
    """Noise of 0.75 beside a spread of 1: Pearson 0.8; of 200 samples about 95 % of the intervals must hold it."""
    truth = {
        "pearson": 0.8,
        "spearman": 6 / math.pi * math.asin(0.8 / 2),  # of two normals (Pearson 1907)
        "mae": 0.75 * math.sqrt(2 / math.pi),
        "rmse": 0.75,
        "r2": 1 - 0.75**2,
    }
    held = dict.fromkeys(FIGURES, 0)
    for draw in range(200):
        found = score_numbers(*simulated(200, noise=0.75, digits=9, seed=draw), resamples=300, seed=draw)
        for key in FIGURES:
            held[key] += found[key]["low"] <= truth[key] <= found[key]["high"]
    assert all(180 <= times <= 200 for times in held.values()), held


def test_perfect_numbers_never_claim_certainty() -> None:
    true_N = np.arange(50.0)
    found = score_numbers(true_N, true_N)
    for key in ("pearson", "spearman", "r2"):
        assert found[key]["value"] == found[key]["high"] == 1, key
        assert 0.8 < found[key]["low"] < 1, key
    for key in ("mae", "rmse"):
        assert found[key]["value"] == found[key]["low"] == 0 < found[key]["high"] < found["rmse_of_mean"], key


def test_a_constant_side_has_no_correlation() -> None:
    said = score_numbers([0.1, 0.2, 0.4, 0.6], [0.3] * 4)
    assert said["pearson"] == said["spearman"] == NOTHING
    assert said["r2"]["value"] < 0 < said["mae"]["value"]
    true = score_numbers([0.1] * 4, [0.1, 0.2, 0.4, 0.6])
    assert true["pearson"] == true["spearman"] == true["r2"] == NOTHING
    assert true["rmse_of_mean"] == 0 < true["rmse"]["value"]
    json.dumps([said, true], allow_nan=False)


def test_digits_far_from_zero_do_not_cancel() -> None:
    true_N, said_N = simulated(300)
    near, far = score_numbers(true_N, said_N), score_numbers(true_N + 1e8, said_N + 1e8)
    assert all(far[key]["low"] == pytest.approx(near[key]["low"], rel=1e-5) for key in FIGURES)


def test_one_text_gives_no_figure_and_three_no_correlation_to_trust() -> None:
    alone = score_numbers([1], [2])
    assert all(alone[key] == NOTHING for key in FIGURES)
    for n in (2, 3):
        found = score_numbers(range(n), range(n))
        assert found["pearson"] == {"value": 1.0, "low": -1.0, "high": 1.0}
        assert found["mae"]["high"] > 0
        json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("said", [[1.0], [1.0, np.nan], [[1.0, 2.0]], []])
def test_wrong_input_is_named(said: list[float]) -> None:
    with pytest.raises(ConfigError, match=" — give "):
        score_numbers([1.0, 2.0] if said else [], said)


def test_difference_equals_the_two_figures_and_sees_the_better_one() -> None:
    true_N, far_N = simulated(300)
    near_N = (true_N + far_N) / 2
    found = paired_difference_of_errors(true_N, near_N, far_N)
    near, far = score_numbers(true_N, near_N), score_numbers(true_N, far_N)
    assert found["value"] == pytest.approx(near["pearson"]["value"] - far["pearson"]["value"])
    assert found["mae"]["value"] == pytest.approx(near["mae"]["value"] - far["mae"]["value"])
    assert 0 < found["low"] < found["high"]
    assert found["mae"]["low"] < found["mae"]["high"] < 0


def test_difference_of_two_equally_good_ones_covers_zero() -> None:
    held = {"value": 0, "mae": 0}
    for draw in range(200):
        rng = np.random.default_rng(draw)
        true_N, noise_2N = rng.normal(size=150), rng.normal(size=(2, 150))
        found = paired_difference_of_errors(true_N, *(true_N + noise_2N), resamples=300)
        held["value"] += found["low"] <= 0 <= found["high"]
        held["mae"] += found["mae"]["low"] <= 0 <= found["mae"]["high"]
    assert all(180 <= times <= 200 for times in held.values()), held


def test_difference_on_few_or_constant_texts() -> None:
    assert paired_difference_of_errors([1], [1], [2]) == {**NOTHING, "mae": NOTHING}
    found = paired_difference_of_errors([1, 2, 3], [2, 2, 2], [1, 2, 3])
    assert found["value"] is None
    assert found["mae"]["value"] == pytest.approx(2 / 3)
    same = paired_difference_of_errors([1, 2, 3], [1, 2, 3], [1, 2, 3])
    assert same["low"] < 0 == same["value"] < same["high"]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_texts_lie_within_the_residual_quantile(coverage: float) -> None:
    """Split conformal: over validation sets of 30, coverage lies between the promise and the promise + 1 / 31."""
    shares = []
    for draw in range(2000):
        rng = np.random.default_rng(draw)
        error_N, new_N = rng.standard_t(3, 30), rng.standard_t(3, 100)
        shares.append((np.abs(new_N) <= residual_quantile(error_N, np.zeros(30), coverage)).mean())
    assert coverage - 0.005 < np.mean(shares) < coverage + 1 / 31 + 0.005


def test_residual_quantile_by_rank() -> None:
    assert residual_quantile(range(1, 10), [0] * 9) == 9
    assert residual_quantile(range(1, 9), [0] * 8) == math.inf
    assert residual_quantile(range(1, 30), [0] * 29) == 27  # 30 · 0.9 must not be rounded up to 28
    with pytest.raises(ConfigError, match="between 0 and 1"):
        residual_quantile([1], [1], 90)
