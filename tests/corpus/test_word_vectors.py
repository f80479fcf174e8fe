"""First word vectors: what is counted, by hand; what a text says of its words; what pre-training makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from filbert.corpus import word_vectors as cooccurrence
from filbert.corpus.word_vectors import MIN_COUNT, SMOOTHING, WINDOW, word_vectors

VOCABULARY = 12


def blocks(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, float]]:
    draw = np.random.default_rng(seed)
    found = []
    for weight in (1.0, 0.5):
        ids = draw.integers(0, VOCABULARY - 1, 60).astype(np.int32)
        found.append((ids, np.repeat(np.arange(4), 15).astype(np.int32), weight))
    return found


def counts(found: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    return sum(weight * np.bincount(ids, minlength=VOCABULARY) for ids, _, weight in found)


def by_hand(found: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """Every pair, one after the other."""
    table = np.zeros((VOCABULARY, VOCABULARY))
    for ids, documents, weight in found:
        for i, token in enumerate(ids):
            for j, other in enumerate(ids):
                if i != j and abs(i - j) <= WINDOW and documents[i] == documents[j]:
                    table[token, other] += weight / abs(i - j)
    return table


def test_pairs_are_counted_within_documents_the_nearer_the_more():
    found = blocks()
    order = np.argsort(-counts(found), kind="stable")
    table = cooccurrence._counted(found, counts(found))
    np.testing.assert_allclose(table.numpy(), by_hand(found)[:, order], rtol=1e-5)


def test_only_the_commonest_count_as_neighbours(monkeypatch):
    found = blocks()
    monkeypatch.setattr(cooccurrence, "CELLS", 5 * VOCABULARY)
    table = cooccurrence._counted(found, counts(found))
    order = np.argsort(-counts(found), kind="stable")[:5]
    np.testing.assert_allclose(table.numpy(), by_hand(found)[:, order], rtol=1e-5)


def test_the_vectors_are_the_decomposition():
    """All directions kept: their products are those of the matrix' own decomposition, and their length is 1."""
    found = blocks()
    table = by_hand(found)
    chance = table.sum(0) ** SMOOTHING
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(table / np.maximum(table.sum(1, keepdims=True), 1e-9) / (chance / chance.sum()))
    information = np.where(np.isfinite(information), np.maximum(information, 0), 0)
    left, values, _ = np.linalg.svd(information)
    wanted = left * np.sqrt(values)
    seen = table.sum(1) >= MIN_COUNT
    assert 8 < seen.sum() < VOCABULARY
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True).clip(1e-9)
    vectors = word_vectors(found, counts(found), VOCABULARY).numpy()
    np.testing.assert_allclose((vectors @ vectors.T)[seen][:, seen], (wanted @ wanted.T)[seen][:, seen], atol=2e-3)
    assert not vectors[~seen].any()


def test_words_used_alike_point_alike_and_the_same_text_gives_the_same_vectors():
    draw = np.random.default_rng(0)
    # 0 and 1 stand among 4 to 6, 2 and 3 among 7 to 9
    sides = [([0, 1], [4, 5, 6]), ([2, 3], [7, 8, 9])]
    texts = [[draw.choice(words), *draw.choice(around, 3)] for _ in range(400) for words, around in sides]
    ids = np.concatenate(texts).astype(np.int32)
    found = [(ids, np.repeat(np.arange(len(texts)), 4), 1.0)]
    vectors = word_vectors(found, np.bincount(ids), 4, seed=3)
    near = vectors @ vectors.T
    assert near[0, 1] > 0.9 > 0.3 > near[0, 2]
    assert near[2, 3] > 0.9
    before = torch.get_rng_state()
    assert torch.equal(vectors, word_vectors(found, np.bincount(ids), 4, seed=3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("width", [3, 64])
def test_any_width_will_do(width):
    found = blocks()
    vectors = word_vectors(found, counts(found), width)
    assert vectors.shape == (VOCABULARY, width)
    assert vectors.isfinite().all()
    lengths = vectors.norm(dim=1)
    assert ((lengths - 1).abs() < 1e-5)[:-1].sum() >= 8
    assert lengths[-1] == 0  # never met
