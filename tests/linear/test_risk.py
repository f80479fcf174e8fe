"""The promise of a cascade: how much accuracy it may cost is bounded, and kept as often as it says."""

from __future__ import annotations

import numpy as np

from filbert.linear.risk import NEVER, choose_threshold, upper_bound


def test_the_bound_is_broken_as_seldom_as_it_says():
    """Of 400 samples whose mean cost is known, at most one in twenty may have a bound below it."""
    rng, broken = np.random.default_rng(0), 0
    for gain, loss in ((0.01, 0.02), (0.0, 0.05)):
        for _ in range(200):
            costs = rng.choice([-1, 0, 1], 300, p=[gain, 1 - gain - loss, loss])
            broken += upper_bound(costs) < loss - gain
    assert 0 < broken <= 20


def test_more_texts_and_fewer_losses_prove_more():
    assert upper_bound(np.zeros(1000)) < upper_bound(np.zeros(100)) < upper_bound(np.zeros(10))
    assert upper_bound(np.zeros(200)) < upper_bound(np.eye(200)[0]) < upper_bound(np.ones(200)) == 1.0
    assert upper_bound(-np.ones(200)) < -0.9
    assert upper_bound([]) == 1.0


def told(sure, right, true_N):
    """Probabilities of two classes: so sure, and right or not."""
    said = np.where(right, true_N, 1 - true_N)
    found = np.empty((len(said), 2))
    found[np.arange(len(said)), said], found[np.arange(len(said)), 1 - said] = sure, 1 - np.asarray(sure)
    return found


def test_the_linear_model_answers_where_it_is_as_good():
    """Sure texts are right, the others are guesses: the threshold comes to lie between."""
    rng, n = np.random.default_rng(0), 2000
    true_N, easy = rng.integers(0, 2, n), rng.random(n) < 0.7
    sure = np.where(easy, rng.uniform(0.9, 1.0, n), rng.uniform(0.5, 0.6, n))
    linear = told(sure, easy | (rng.random(n) < 0.5), true_N)
    model = told(np.full(n, 0.99), rng.random(n) < 0.98, true_N)
    threshold, curve = choose_threshold(linear, model, true_N, 0.01)
    assert 0.55 < threshold <= 0.93
    bounds = [each["bound"] for each in curve if each["threshold"] >= threshold]
    assert max(bounds) <= 0.01
    assert curve[-1]["share"] == 1.0
    assert curve[-1]["lost"] > 0.1
    assert [each["share"] for each in curve] == sorted(each["share"] for each in curve)


def test_a_promise_that_cannot_be_kept_is_not_made():
    true_N = np.zeros(50, dtype=int)
    same = told(np.linspace(0.6, 0.9, 50), np.ones(50, bool), true_N)
    threshold, _ = choose_threshold(same, same, true_N, 0.005)  # 50 texts prove 7 points at best
    assert threshold == NEVER


def test_a_share_after_a_broken_promise_is_not_taken_up():
    """Testing goes from small to large shares and ends at the first that fails: 95 % hold for all of it."""
    n = 4000
    true_N = np.zeros(n, dtype=int)
    sure = np.linspace(1, 0.6, n)
    right = np.ones(n, bool)
    right[40:100] = False  # costs that later gains make up for
    model_right = np.ones(n, bool)
    model_right[1000:1100] = False
    threshold, curve = choose_threshold(told(sure, right, true_N), told(sure, model_right, true_N), true_N, 0.01)
    assert threshold == NEVER
    assert any(each["bound"] <= 0.01 for each in curve)
