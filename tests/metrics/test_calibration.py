"""Calibration error and temperature, on simulated texts whose true chances are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from filbert.errors import ConfigError
from filbert.metrics.calibration import (
    ece_interval,
    equal_mass_bins,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability,
    softmax,
)


def simulated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes of four, and probabilities that favour them."""
    rng = np.random.default_rng(seed)
    true_N = rng.integers(0, 4, n)
    logits_NC = rng.normal(size=(n, 4))
    logits_NC[np.arange(n), true_N] += 2
    return true_N, softmax(logits_NC)


def test_calibration_error_ignores_order_and_finds_overconfidence() -> None:
    true_N, chances_NC = simulated(2000)
    shuffled = np.random.default_rng(0).permutation(2000)
    once = expected_calibration_error(true_N, chances_NC)
    assert expected_calibration_error(true_N[shuffled], chances_NC[shuffled]) == pytest.approx(once)
    assert ece_interval(true_N, chances_NC, 100, np.random.default_rng(0))["value"] == pytest.approx(once)
    assert expected_calibration_error([0, 1] * 50, [[0.9, 0.1]] * 100) == pytest.approx(0.4)
    assert sum(each["count"] for each in reliability(true_N, chances_NC)) == 2000


def test_temperature_is_recovered() -> None:
    rng = np.random.default_rng(0)
    logits_NC = rng.normal(size=(4000, 5)) * 2
    true_N = (softmax(logits_NC).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    assert fit_temperature(logits_NC * 3, true_N) == pytest.approx(3, rel=0.05)
    assert fit_temperature(logits_NC / 2, true_N) == pytest.approx(0.5, rel=0.05)
    assert fit_temperature(logits_NC[:19], true_N[:19]) == 1.0


def test_temperature_stays_within_bounds() -> None:
    right = np.eye(3)[np.arange(300) % 3]
    assert 0.25 <= fit_temperature(right * 0.1, np.arange(300) % 3) < 1
    assert fit_temperature(right * 5, (np.arange(300) + 1) % 3) == pytest.approx(10)
    assert softmax(right * 20, fit_temperature(right * 20, np.arange(300) % 3)).max() < 1 - 1e-4


def test_calibration_error_of_honest_chances_is_near_zero() -> None:
    rng = np.random.default_rng(0)
    chances_NC = softmax(rng.normal(size=(20_000, 3)) * 2)
    true_N = (chances_NC.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    sharper_NC = chances_NC**3 / (chances_NC**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(true_N, chances_NC) < 0.02 < expected_calibration_error(true_N, sharper_NC)


def test_bins_hold_equally_many_and_keep_equal_values_together() -> None:
    values_N = np.random.default_rng(0).permutation(150) / 150
    assert np.bincount(equal_mass_bins(values_N, 15)).tolist() == [10] * 15
    assert len(np.unique(equal_mass_bins(np.full(150, 0.5), 15))) == 1


@pytest.mark.parametrize("logits", [[[0.0, np.nan]] * 30, [[0.0, 1.0]] * 29])
def test_wrong_logits_are_named(logits: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match=" — "):
        fit_temperature(logits, [0] * 30)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_the_log_loss_is_scikit_learns_to_the_bit(classes: int) -> None:
    random = np.random.default_rng(classes)
    found_NC = softmax(random.normal(size=(500, classes)) * 30)
    true_N = random.integers(0, classes, 500)
    assert found_NC.min() < 1e-16
    assert log_loss(true_N, found_NC) == metrics.log_loss(true_N, found_NC, labels=range(classes))
