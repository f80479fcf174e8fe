"""How long a run is planned to be, and its learning rates."""

from __future__ import annotations

import numpy as np
import pytest

from filbert.config import TrainConfig
from filbert.training.optimizer import default_learning_rate, schedule
from filbert.training.plan import LENGTHS, MEASURING_SECONDS, RESERVE, Plan, default_epochs, plan


def test_schedule_rises_and_falls_in_straight_lines():
    factors = [schedule(i / 1000, 0.06) for i in range(1001)]
    assert factors[0] == 0
    assert factors[60] == 1 == max(factors)
    assert factors[30] == pytest.approx(0.5)
    assert factors[530] == pytest.approx(0.5)
    assert factors[1000] == 0
    assert np.abs(np.diff(factors, 2)[:58]).max() < 1e-12
    assert np.abs(np.diff(factors, 2)[62:]).max() < 1e-12
    assert schedule(0, 0) == 1
    assert schedule(1.7, 0.06) == 0


def test_default_learning_rate():
    assert default_learning_rate(384) == 1e-4
    assert default_learning_rate(256) == pytest.approx(4e-4, rel=0.02)
    assert default_learning_rate(128) == 5e-4
    assert default_learning_rate(768) == pytest.approx(3e-5, rel=0.02)
    assert default_learning_rate(128, random_start=True) == 5e-4
    assert default_learning_rate(256, optimizer="muon") == default_learning_rate(128, optimizer="muon") == 1e-3
    assert default_learning_rate(512, optimizer="muon") == 5e-4


def test_default_epochs():
    assert [default_epochs(texts, 2) for texts in (10, 5_000, 13_000, 30_000, 10**6)] == [8, 6, 2, 1, 1]
    assert default_epochs(15_000, 150) > default_epochs(15_000, 2)


def never() -> float:
    raise AssertionError("nothing to measure without a deadline")


def test_no_deadline_asks_no_measure():
    assert plan(TrainConfig(epochs=2.5, max_length=100), [10], 2, never) == Plan(2.5, 100)
    assert plan(TrainConfig(), [10] * 30_000, 2, never) == Plan(1, 512)


def test_the_first_half_is_short_where_that_saves_anything():
    assert plan(TrainConfig(epochs=2), LONG, 2, never) == Plan(2, 512, early_length=128)
    assert plan(TrainConfig(epochs=1.9), LONG, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2, max_length=128), LONG, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2), [128] * 99, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2, early_length=64), [65], 2, never).early_length == 64


LONG = [100] * 500 + [400] * 500  # 250,000 tokens
ABLE = 600 * (1 - RESERVE) - MEASURING_SECONDS  # seconds of training in ten minutes


@pytest.mark.parametrize(
    ("tokens", "crop"), [(10**9, 512), (250_000, 512), (242_000, 384), (200_000, 256), (130_000, 128), (1_000, 64)]
)
def test_a_deadline_chooses_the_longest_crop_that_shows_each_text_once(tokens, crop):
    found = plan(TrainConfig(minutes=10, epochs=3), LONG, 2, lambda: tokens / ABLE + 1e-6)
    assert (found.max_length, found.seconds) == (crop, 600 - MEASURING_SECONDS)
    assert (found.epochs >= 1) == (tokens > 1_000)
    assert found.epochs <= 3
    assert f"cut at {crop}" in found.reason


@pytest.mark.parametrize("tokens", [250_000, 300_000, 370_000, 500_000, 620_000, 10**6, 10**9])
def test_a_deadline_holds_the_epochs_it_promises(tokens):
    found = plan(TrainConfig(minutes=10, epochs=4), LONG, 2, lambda: tokens / ABLE + 1e-6)
    short = sum(min(length, found.early_length or found.max_length) for length in LONG)
    assert found.epochs / 2 * (short + sum(LONG)) <= tokens + 1
    assert (found.early_length == 128) == (found.epochs >= 2)


def test_a_deadline_never_crops_above_the_longest_allowed():
    for longest in (100, 40):
        assert plan(TrainConfig(minutes=10, max_length=longest), LONG, 2, lambda: 1e9).max_length == longest
    assert plan(TrainConfig(minutes=10, max_length=100), LONG, 2, lambda: 1.0).max_length == min(LENGTHS)


def test_a_deadline_shorter_than_the_measuring_is_still_a_plan():
    found = plan(TrainConfig(minutes=0.01), LONG, 2, lambda: 1000.0)
    assert found.epochs > 0
    assert "-" not in found.reason.replace("e-", "")
