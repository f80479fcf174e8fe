"""Thresholds and temperature of several labels, on simulated validation texts and on texts that were not tuned on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from filbert.errors import ConfigError
from filbert.metrics.label_sets import fit_sigmoid_temperature, sigmoid, tune_thresholds


def simulated(n: int, seed: int, *, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return true label sets and honest probabilities; labels run from about 1 % to 30 % of the texts."""
    rng = np.random.default_rng(seed)
    chances_NL = sigmoid(rng.normal(size=(n, width)) * 1.5 - np.linspace(1, 5, width))
    return rng.random((n, width)) < chances_NL, chances_NL


def f1(true_N: np.ndarray, said_N: np.ndarray) -> float:
    return float(2 * (true_N & said_N).sum() / max(1, true_N.sum() + said_N.sum()))


def macro_f1(true_NL: np.ndarray, chances_NL: np.ndarray, thresholds_L: np.ndarray) -> float:
    said_NL = chances_NL >= thresholds_L
    return float(np.mean([f1(true_NL[:, label], said_NL[:, label]) for label in range(true_NL.shape[1])]))


def test_sigmoid_has_no_overflow_and_keeps_its_tails() -> None:
    with np.errstate(over="raise"):
        assert sigmoid([-1e4, 1e4, np.log(3)]).tolist() == pytest.approx([0, 1, 0.75])
    assert sigmoid(np.float32(-50)) == pytest.approx(np.exp(-50))


@pytest.mark.parametrize("n", [100, 1000])
def test_tuned_thresholds_win_on_other_texts(n: int) -> None:
    true_NL, chances_NL = simulated(20_000, 99)
    gains = []
    for draw in range(20):
        tuned_L, common_L = (tune_thresholds(*simulated(n, draw), goal=goal) for goal in ("macro_f1", "micro_f1"))
        assert np.ptp(common_L) == 0
        tuned, common = (macro_f1(true_NL, chances_NL, each) for each in (tuned_L, common_L))
        gains.append((tuned - common, common - macro_f1(true_NL, chances_NL, np.full(12, 0.5))))
    assert np.mean(gains, axis=0).min() > 0


def test_the_common_threshold_maximises_micro_f1() -> None:
    true_NL, chances_NL = simulated(500, 0)
    found = tune_thresholds(true_NL, chances_NL, goal="micro_f1")[0]
    tried = [f1(true_NL, chances_NL >= each) for each in np.linspace(0.01, 0.99, 197)]
    assert f1(true_NL, chances_NL >= found) >= max(tried)


def test_a_label_moves_only_for_a_clear_gain() -> None:
    true_NL, chances_NL = simulated(2000, 0)
    common = tune_thresholds(true_NL, chances_NL, goal="micro_f1")[0]
    found_L = tune_thresholds(true_NL, chances_NL)
    assert len(np.unique(found_L)) > 3
    for label in range(12):
        column_N, truth_N = chances_NL[:, label], true_NL[:, label]
        best = max(f1(truth_N, column_N >= each) for each in np.linspace(0.01, 0.99, 99))
        assert f1(truth_N, column_N >= found_L[label]) >= best * (1 - 2 / (truth_N.sum() + 1)) - 1e-9
    assert np.abs(found_L - common).max() < 0.5


def test_rare_labels_keep_the_common_threshold() -> None:
    true_NL, chances_NL = simulated(1000, 0)
    true_NL[:, 3] = False
    true_NL[:2, 3] = True
    found_L = tune_thresholds(true_NL, chances_NL)
    assert found_L[3] == tune_thresholds(true_NL, chances_NL, goal="micro_f1")[3]


@pytest.mark.parametrize("goal", ["macro_f1", "micro_f1"])
@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ([[0.9], [0.8], [0.7], [0.1]], 0.5),  # all from 0.1 to 0.7 are as good
        ([[0.9], [0.3], [0.2], [0.1]], 0.15),
        ([[0.004], [0.004], [0.003], [0.001]], 0.5),  # a hundredth is too high for all: nothing is gained
        ([[0.9], [0.9], [0.9], [0.995]], 0.5),  # no threshold parts them, 0.5 takes all three
        ([[0.6], [0.6], [0.6], [0.6]], 0.5),
    ],
)
def test_equals_go_towards_one_half_and_bounds_hold(chances: list[list[float]], expected: float, goal: str) -> None:
    assert tune_thresholds([[1], [1], [1], [0]], chances, goal=goal).tolist() == [pytest.approx(expected)]


def test_no_label_anywhere_leaves_one_half() -> None:
    assert tune_thresholds(np.zeros((3, 2)), np.full((3, 2), 0.2)).tolist() == [0.5, 0.5]
    with pytest.raises(ConfigError, match=r"give sigmoid\(logits\)"):
        tune_thresholds([[1]], [[3.0]])


def test_temperature_is_recovered() -> None:
    rng = np.random.default_rng(0)
    logits_NL = rng.normal(size=(4000, 6)) * 2 - 2
    true_NL = rng.random((4000, 6)) < sigmoid(logits_NL)
    assert fit_sigmoid_temperature(logits_NL * 3, true_NL) == pytest.approx(3, rel=0.05)
    assert fit_sigmoid_temperature(logits_NL / 2, true_NL) == pytest.approx(0.5, rel=0.05)
    assert fit_sigmoid_temperature(logits_NL[:19], true_NL[:19]) == 1.0


def test_temperature_minimises_the_log_loss() -> None:
    rng = np.random.default_rng(1)
    logits_NL = rng.normal(size=(3000, 4)) * 3
    true_NL = rng.random((3000, 4)) < sigmoid(logits_NL / 1.7 - 0.3)

    def loss(temperature: float) -> float:
        scaled_NL = logits_NL / temperature
        return float((np.logaddexp(0, scaled_NL) - true_NL * scaled_NL).mean())

    expected = minimize_scalar(loss, bounds=(0.25, 10), method="bounded").x
    assert fit_sigmoid_temperature(logits_NL, true_NL) == pytest.approx(expected, rel=0.005)


def test_temperature_stays_within_bounds() -> None:
    true_NL = np.eye(20)[np.arange(100) % 20]
    right_NL = np.where(true_NL, 1.0, -1.0)
    assert 0.25 <= fit_sigmoid_temperature(right_NL * 0.1, true_NL) < 1
    assert fit_sigmoid_temperature(-right_NL * 5, true_NL) == pytest.approx(10)
    assert sigmoid(right_NL * 40 / fit_sigmoid_temperature(right_NL * 40, true_NL)).max() < 1 - 1e-4
    assert 0.25 <= fit_sigmoid_temperature(-np.ones((30, 2)), np.zeros((30, 2))) <= 10


@pytest.mark.parametrize("logits", [[[np.inf]] * 30, [[0.0]] * 29])
def test_wrong_logits_are_named(logits: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match=" — "):
        fit_sigmoid_temperature(logits, [[0]] * 30)
