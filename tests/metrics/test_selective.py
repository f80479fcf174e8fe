"""Thresholds for leaving texts unanswered: the promise holds as often as it says, and is not given away."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from filbert.metrics.selective import LEVELS, Level, chance_of_so_few, chosen, curve, least_rate, levels, measured


def drawn(rng: np.random.Generator, texts: int, hardness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences of a calibrated model, and whether it was wrong."""
    sure_N = 1 - 0.5 * rng.random(texts) ** (1 / hardness)
    return sure_N, (rng.random(texts) > sure_N).astype(float)


@pytest.mark.parametrize("hardness", [0.2, 0.5])
def test_the_promise_is_broken_at_most_one_time_in_twenty(hardness: float) -> None:
    rng, rate, broken, given = np.random.default_rng(0), 0.05, 0, 0
    far_sure_N, _ = drawn(np.random.default_rng(1), 50_000, hardness)
    for _ in range(200):
        level = chosen(levels(*drawn(rng, 600, hardness)), rate)
        if level is None:
            continue
        given += 1
        answered_N = far_sure_N[far_sure_N >= level.threshold]
        broken += float((1 - answered_N).mean()) > rate  # of a calibrated model this is the true share
    assert broken <= 0.05 * 200
    assert given > 50


def test_the_tail_is_the_binomials() -> None:
    for wrong, answered, rate in ((0, 10, 0.1), (3, 410, 0.02), (40, 100, 0.3), (7, 8, 0.5), (0, 1, 0.001)):
        assert chance_of_so_few(wrong, answered, rate) == pytest.approx(binom.cdf(wrong, answered, rate), rel=1e-9)
    assert chance_of_so_few(5, 5, 0.1) == 1.0


def test_a_single_early_mistake_does_not_end_the_search() -> None:
    """The surest texts hold one wrong label; the many after it are right."""
    sure_N = np.linspace(1, 0.5, 2000)
    wrong_N = np.zeros(2000)
    wrong_N[3] = 1
    level = chosen(levels(sure_N, wrong_N), 0.02)
    assert level is not None
    assert level.threshold == 0.0


def test_few_texts_show_nothing() -> None:
    assert chosen(levels(np.linspace(1, 0.5, 100), np.zeros(100)), 0.02) is None
    assert 0.02 < least_rate(levels(np.linspace(1, 0.5, 100), np.zeros(100))) < 0.05
    assert chosen(levels(np.linspace(1, 0.5, 100), np.ones(100)), 0.5) is None
    assert least_rate([Level(0.0, 5, 5)]) == 1.0


def test_equal_confidences_are_answered_together() -> None:
    found = levels(np.full(50, 0.9), np.zeros(50))
    assert found == [Level(0.0, 50, 0)] or [level.answered for level in found] == [50]
    points = curve([0.9, 0.9, 0.8], [1, 0, 0])
    assert [point["share"] for point in points] == [pytest.approx(2 / 3), 1.0]
    assert points[0]["risk"]["value"] == 0.5


def test_each_level_answers_more() -> None:
    rng = np.random.default_rng(0)
    found = levels(*drawn(rng, 500))
    assert len(found) == LEVELS
    answered = [level.answered for level in found]
    assert answered == sorted(answered)
    assert answered[-1] == 500


def test_nothing_answered_has_no_share_of_errors() -> None:
    found = measured([True, True], np.array([1.0, 0.0]))
    assert found["risk"]["value"] is None
    assert found["coverage"]["value"] == 0.0
