"""Packing: every text once, none over the budget, and the way back to its place."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from small import marked, rows

from filbert.model.packing import by_budget, pack, shuffled, split_by_budget

LENGTHS = [7, 3, 12, 3, 5, 40, 2]


def test_pack_there_and_back():
    features = rows(LENGTHS, targets=range(len(LENGTHS)))
    batch = pack(features)
    assert batch.starts_B[0] == 0
    assert batch.starts_B[-1] == len(batch.ids_T) == sum(LENGTHS)
    for b, i in enumerate(batch.order_B):
        span = slice(batch.starts_B[b], batch.starts_B[b + 1])
        assert np.array_equal(batch.ids_T[span], features[i].ids)
        assert np.array_equal(batch.segments_T[span], features[i].segments)
        assert batch.positions_T[span].tolist() == list(range(len(features[i])))
        assert batch.targets_B[b] == i
    assert sorted(batch.order_B) == list(range(len(LENGTHS)))
    assert np.diff(np.diff(batch.starts_B)).min() >= 0  # shortest first


def test_pack_of_a_choice_knows_their_places_in_the_whole():
    features = rows(LENGTHS, targets=range(len(LENGTHS)))
    batch = pack(features, [5, 2, 1])
    assert batch.order_B.tolist() == [1, 2, 5] == batch.targets_B.tolist()
    assert np.diff(batch.starts_B).tolist() == [3, 12, 40]


def test_marks_are_rows_of_the_batch_and_targets_stand_end_to_end():
    features = marked(LENGTHS)
    batch = pack(features, [5, 0, 2])
    assert batch.marks is not None
    at = 0
    for b, i in enumerate(batch.order_B.tolist()):
        span = slice(batch.marks.starts_B[b], batch.marks.starts_B[b + 1])
        assert (batch.marks.rows_M[span] - batch.starts_B[b]).tolist() == features[i].marks.tolist()
        assert batch.marks.places_M[span].tolist() == [features[i].marked + n for n in range(len(features[i].marks))]
        assert batch.targets_B[span].tolist() == features[i].target.astype(np.float32).tolist()
        at += len(features[i].marks)
    assert batch.marks.starts_B[-1] == at == len(batch.targets_B)
    assert pack(rows(LENGTHS)).marks is None


def test_equal_lengths_keep_their_order():
    assert pack(rows([4, 4, 4]), [2, 0, 1]).order_B.tolist() == [2, 0, 1]


def test_no_targets_unless_every_text_has_one():
    assert pack(rows([3, 4])).targets_B is None
    assert pack([*rows([3], targets=[1]), *rows([4])]).targets_B is None
    assert pack(rows([3, 4], targets=[0, 1])).targets_B.tolist() == [0, 1]  # a 0 is a target


def test_every_array_is_int32():
    batch = pack(rows(LENGTHS, targets=range(len(LENGTHS))))
    for array in (batch.ids_T, batch.positions_T, batch.segments_T, batch.starts_B, batch.order_B, batch.targets_B):
        assert array.dtype == np.int32


@pytest.mark.parametrize("budget", [1, 5, 12, 13, 30, 39, 40, 41, 10_000])
@pytest.mark.parametrize("cut", [by_budget, lambda lengths, budget: split_by_budget(np.arange(7), lengths, budget)])
def test_budget(cut, budget):
    groups = [group.tolist() for group in cut(LENGTHS, budget)]
    assert all(sum(LENGTHS[i] for i in group) <= budget or len(group) == 1 for group in groups)
    assert sorted(chain(*groups)) == list(range(len(LENGTHS)))
    for a, b in pairwise(groups):  # no batch is closed before it is full
        assert sum(LENGTHS[i] for i in a) + LENGTHS[b[0]] > budget


def test_by_budget_takes_the_shortest_first():
    order = np.concatenate(list(by_budget(LENGTHS, 10)))
    assert [LENGTHS[i] for i in order] == sorted(LENGTHS)


def test_split_by_budget_keeps_the_order_it_is_given():
    order = np.array([4, 0, 6, 2], dtype=np.int32)
    assert np.concatenate(list(split_by_budget(order, LENGTHS, 12))).tolist() == [4, 0, 6, 2]


def test_nothing_to_cut():
    assert list(by_budget([], 10)) == []
    assert list(split_by_budget(np.array([], dtype=np.int32), [], 10)) == []


def test_shuffled_is_fixed_by_seed_and_epoch():
    assert shuffled(100, 1, 2).tolist() == shuffled(100, 1, 2).tolist()
    assert sorted(shuffled(100, 1, 2)) == list(range(100))
    orders = {tuple(shuffled(100, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert shuffled(10, 0, 0).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]  # on every machine and in every version
