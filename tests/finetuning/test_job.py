"""The batches of a step: the same for the same seed, each text once an epoch, or drawn by its chance."""

from __future__ import annotations

import numpy as np
import pytest
from small import rows

from filbert.finetuning.job import TextFeed

COUNT = 30
FEATURES = rows([5 + n % 7 for n in range(COUNT)], targets=list(range(COUNT)))


def feed(**changes) -> TextFeed:
    settings = {"features": FEATURES, "early": None, "batch_size": 8, "budget": 1000, "seed": 3}
    return TextFeed(**{**settings, **changes})


def texts_of(given: TextFeed, epoch: int) -> list[int]:
    return [int(i) for step in range(given.steps) for i in given.rows(epoch * given.steps + step, 0.0)]


def test_each_text_is_met_once_an_epoch_in_an_order_of_its_own():
    first, second = texts_of(feed(), 0), texts_of(feed(), 1)
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    assert first == texts_of(feed(), 0) != texts_of(feed(seed=4), 0)


def test_a_step_is_cut_within_the_budget_and_loses_nothing():
    batches = feed(budget=20).batches(0, 0.0)
    assert len(batches) > 1
    assert all(len(batch.ids_T) <= 20 for batch in batches)
    found = sorted(int(target) for batch in batches for target in batch.targets_B)
    assert found == sorted(feed().rows(0, 0.0).tolist())


def test_texts_are_short_in_the_first_half_of_a_run():
    short = rows([4] * COUNT, targets=list(range(COUNT)))
    given = feed(early=short)
    assert len(given.batches(0, 0.49)[0].ids_T) == 8 * 4
    assert len(given.batches(0, 0.5)[0].ids_T) > 8 * 4
    assert given.tokens == pytest.approx((sum(map(len, short)) + sum(map(len, FEATURES))) / 2)


def test_texts_are_drawn_by_their_chance():
    chances_N = np.full(COUNT, 0.5 / (COUNT - 1))
    chances_N[7] = 0.5
    given = feed(chances_N=chances_N)
    drawn = [text for epoch in range(40) for text in texts_of(given, epoch)]
    assert len(drawn) == 40 * COUNT
    assert 0.44 < np.mean(np.array(drawn) == 7) < 0.56
    assert len(set(drawn)) == COUNT
    assert texts_of(given, 5) == texts_of(feed(chances_N=chances_N), 5)
    assert texts_of(given, 5) != texts_of(given, 6)


def test_the_ids_that_a_run_meets():
    assert feed().ids.tolist() == sorted({int(i) for row in FEATURES for i in row.ids})
