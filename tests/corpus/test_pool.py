"""Training texts of an epoch: nothing lost, nothing mixed, half of the pairs from elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from filbert.corpus import pool as instances
from filbert.corpus.pool import RANDOM_NEXT, Pool


def shards(lengths: list[list[int]]) -> SimpleNamespace:
    """Documents of sentences of the given lengths; each token is its own number."""
    sentences = np.cumsum([0, *(n for document in lengths for n in document)])
    documents = np.cumsum([0, *map(len, lengths)])
    ids = np.arange(sentences[-1], dtype=np.int32)
    return SimpleNamespace(ids_T=ids, begins_T=np.ones(len(ids)), sentences_S=sentences, documents_D=documents)


def corpus(documents: int = 300, seed: int = 0) -> SimpleNamespace:
    random = np.random.default_rng(seed)
    return shards([random.integers(1, 40, random.integers(1, 30)).tolist() for _ in range(documents)])


def document_of(source: SimpleNamespace, token: int) -> int:
    sentence = np.searchsorted(source.sentences_S, token, side="right") - 1
    return int(np.searchsorted(source.documents_D, sentence, side="right") - 1)


def document(source: SimpleNamespace, number: int) -> list[int]:
    first, last = source.sentences_S[source.documents_D[number : number + 2]]
    return source.ids_T[first:last].tolist()


def held(source: SimpleNamespace) -> set[int]:
    rows = Pool([source]).plan(64, pairs=False, seed=0, epoch=0, held_out=True)
    return {document_of(source, row[0]) for row in rows}


def test_without_pairs_every_token_is_read_once():
    source = corpus()
    pool = Pool([source])
    rows = pool.plan(64, pairs=False, seed=0, epoch=0)
    seen = np.concatenate([np.arange(row[0], row[1]) for row in rows])
    apart = np.concatenate([np.arange(r[0], r[1]) for r in pool.plan(64, pairs=False, seed=0, epoch=0, held_out=True)])
    assert sorted([*seen, *apart]) == source.ids_T.tolist()
    assert len(seen) == pool.tokens()
    assert len(apart) == pool.tokens(held_out=True)
    assert 0 < len(apart) <= len(source.ids_T) / 100
    assert (rows[:, 1] - rows[:, 0] <= 62).all()
    for row in rows:
        assert document_of(source, row[0]) == document_of(source, row[1] - 1)


def test_portions_of_an_epoch_are_the_epoch():
    """Each of its documents stands in one of them, every epoch deals them out anew, and they are of like size."""
    source = corpus()
    pool = Pool([source, corpus(seed=1)], [1.0, 1.5])
    dealt = [[pool.plan(64, pairs=False, seed=0, epoch=e, portion=(i, 3)) for i in range(3)] for e in range(2)]
    for epoch, portions in enumerate(dealt):
        whole = pool.plan(64, pairs=False, seed=0, epoch=epoch)
        assert sorted(map(tuple, np.concatenate(portions))) == sorted(map(tuple, whole))
        tokens = [(rows[:, 1] - rows[:, 0]).sum() for rows in portions]
        assert max(tokens) < 1.3 * min(tokens)
    first, later = (set(map(tuple, portions[0])) for portions in dealt)
    assert first & later
    assert first - later


def test_blocks_are_what_is_trained_on_or_every_so_manyth_document(monkeypatch):
    monkeypatch.setattr(instances, "BLOCK_TOKENS", 500)
    source, weight = corpus(), 2.5
    pool = Pool([source], [weight])
    found = list(pool.blocks())
    assert len(found) > 5
    ids = np.concatenate([ids_N for ids_N, _, _ in found])
    kept = [d for d in range(300) if d not in held(source)]
    assert ids.tolist() == [t for d in kept for t in document(source, d)]
    owners = np.concatenate([documents_N for _, documents_N, _ in found])
    assert owners.tolist() == [document_of(source, token) for token in ids]
    assert {each[2] for each in found} == {weight}
    fewer = np.concatenate([ids_N for ids_N, _, _ in pool.blocks(len(ids) / 2.5)])
    assert fewer.tolist() == [t for d in kept[::3] for t in document(source, d)]


def test_counts_are_of_what_a_pass_reads():
    """By the corpora's weights; neither what is held out nor what an earlier corpus has."""
    one, two = corpus(), corpus(seed=1)
    two.ids_T[: two.sentences_S[two.documents_D[1]]] += 10_000  # a document of its own
    size = max(len(one.ids_T), len(two.ids_T), int(two.ids_T.max()) + 1)
    pool = Pool([one, two], [1.0, 2.5])
    counts = pool.counts(size)
    assert counts.sum() == pytest.approx(pool.tokens(), abs=1)
    seen = np.zeros(size)
    for source, weight, used in ((one, 1.0, Pool([one])), (two, 2.5, Pool([two]))):
        for row in used.plan(64, pairs=False, seed=0, epoch=0):
            seen[source.ids_T[row[0] : row[1]]] += weight
    np.testing.assert_allclose(counts, seen)
    again = Pool([one, one])
    np.testing.assert_array_equal(again.counts(size), Pool([one]).counts(size))


def test_pairs_are_half_neighbours_half_strangers():
    source = corpus()
    rows = Pool([source]).plan(64, pairs=True, seed=0, epoch=0)
    apart = held(source)
    for a, a_end, b, b_end, other in rows:
        assert a_end - a > 0
        assert (a_end - a) + (b_end - b) <= 61
        first = document_of(source, a)
        assert first == document_of(source, a_end - 1)
        assert first not in apart
        if b_end > b:
            second = document_of(source, b)
            assert second == document_of(source, b_end - 1)
            assert (first != second) == bool(other)
            assert second not in apart
            if not other:
                assert b >= a_end
    pairs = rows[rows[:, 3] > rows[:, 2]]
    assert pairs[:, 4].mean() == pytest.approx(RANDOM_NEXT, abs=0.12)  # a last sentence alone can only meet a stranger
    assert len(pairs) == len(rows)
    lengths = (rows[:, 1] - rows[:, 0]) + (rows[:, 3] - rows[:, 2])
    assert np.median(lengths) >= 55


def test_every_document_is_met_in_every_epoch():
    source = corpus()
    rows = Pool([source]).plan(64, pairs=True, seed=0, epoch=3)
    met = {document_of(source, row[0]) for row in rows}
    assert met == set(range(300)) - held(source)


def test_an_epoch_is_fixed_by_seed_and_number():
    pool = Pool([corpus()])
    first = pool.plan(64, pairs=True, seed=0, epoch=0)
    assert np.array_equal(first, pool.plan(64, pairs=True, seed=0, epoch=0))
    for changed in ({"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}):
        assert not np.array_equal(first, pool.plan(64, pairs=True, **changed))


def test_weights_say_how_often_a_corpus_is_read():
    one, two = corpus(seed=1), corpus(seed=2)
    pool = Pool([one, two], [2.5, 1.0])
    rows = pool.plan(64, pairs=False, seed=0, epoch=0)
    edge = len(one.ids_T)
    first = (rows[rows[:, 0] < edge][:, 1] - rows[rows[:, 0] < edge][:, 0]).sum()
    assert first / edge == pytest.approx(2.5, abs=0.15)
    assert (rows[:, 1] - rows[:, 0]).sum() == pytest.approx(pool.tokens(), rel=0.05)
    assert not ((rows[:, 0] < edge) & (rows[:, 1] > edge)).any()
    ids, _ = pool.take(np.array([0, edge - 1, edge, edge + 5]))
    assert ids.tolist() == [0, edge - 1, 0, 5]


def test_a_sentence_longer_than_the_text_is_cut_and_nothing_lost():
    rows = Pool([shards([[200]] + [[5, 5]] * 150)]).plan(32, pairs=False, seed=0, epoch=0)
    long = sorted(map(tuple, rows[rows[:, 0] < 200][:, :2]))
    assert long[0] == (0, 30)
    assert [begin for begin, _ in long[1:]] == [end for _, end in long[:-1]]


def test_a_lone_document_makes_texts_without_a_second_part_where_none_follows():
    rows = Pool([shards([[7]])]).plan(32, pairs=True, seed=0, epoch=0)
    assert rows.tolist() == [[0, 7, 0, 0, 0]]


def test_a_document_of_two_corpora_is_read_in_the_first_only():
    one = corpus(seed=1)
    both = shards([[5, 5]] * 2)
    both.ids_T[:] = np.arange(1000, 1020)  # two documents no other has
    again = SimpleNamespace(
        ids_T=np.concatenate((one.ids_T, both.ids_T)),
        begins_T=np.ones(len(one.ids_T) + 20),
        sentences_S=np.concatenate((one.sentences_S, one.sentences_S[-1] + both.sentences_S[1:])),
        documents_D=np.concatenate((one.documents_D, one.documents_D[-1] + both.documents_D[1:])),
    )
    pool = Pool([one, again])
    assert pool.repeated == 300
    whole = np.concatenate([pool.plan(64, pairs=False, seed=0, epoch=0, held_out=held) for held in (False, True)])
    assert (whole[:, 1] - whole[:, 0]).sum() == len(one.ids_T) + 20
    ids = [tuple(pool.take(np.arange(row[0], row[1]))[0]) for row in whole]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("count", [2, 5])
def test_of_few_large_documents_the_shortest_is_held_out(count):
    source = shards([[30] * (40 - n) for n in range(count)])
    assert held(source) == {count - 1}
