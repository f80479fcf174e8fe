"""The linear model on hashed word pieces: what is counted, and that it answers as scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from filbert.linear.cascade import count_pieces
from filbert.linear.model import fit_linear
from filbert.metrics.calibration import softmax


def pieces(*texts):
    return [np.array(text, dtype=np.int32) for text in texts]


# -- features ---------------------------------------------------------------------------------------------------------


def test_runs_of_one_to_three_pieces_are_counted():
    counts = count_pieces(pieces([5, 6, 7, 5, 6], [], [5]))
    assert counts.starts.tolist() == [0, 9, 9, 10]  # 5 6 7, 56 67 75, 567 675 756 … of which 5, 6 and 56 twice
    assert sorted(counts.counts_K[:9].tolist()) == [1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert counts.buckets_K[9] in counts.buckets_K[:9]


def test_no_run_goes_from_one_text_into_the_next():
    alone = [count_pieces(pieces(text)) for text in ([1, 2], [3], [4, 5, 6])]
    together = count_pieces(pieces([1, 2], [3], [4, 5, 6]))
    assert together.buckets_K.tolist() == [b for each in alone for b in each.buckets_K.tolist()]
    many = count_pieces(pieces(*[[1, 2]] * 5000))  # in several parts
    assert np.unique(many.buckets_K).tolist() == alone[0].buckets_K.tolist()
    assert many.starts[-1] == 15_000


def test_order_and_length_of_a_run_matter():
    found = [count_pieces(pieces(text)).buckets_K.tolist() for text in ([1, 2], [2, 1], [1, 1])]
    assert found[0] != found[1]
    assert len(found[2]) == 2


# -- the linear model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
def test_it_answers_as_scikit_learn_does(classes):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 40, rng.integers(1, 30)).astype(np.int32) for _ in range(200)]
    true_N = np.array([int(text.sum()) % classes for text in texts])
    counts = count_pieces(texts)
    ours = softmax(fit_linear(counts, true_N, classes).logits(counts))
    known = np.unique(counts.buckets_K)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(counts.matrix()[:, known])
    theirs = LogisticRegression(C=10.0, tol=1e-5, max_iter=150).fit(weighed, true_N).predict_proba(weighed)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert (ours.argmax(1) == theirs.argmax(1)).all()


def test_classes_that_never_came_are_never_said():
    counts = count_pieces(pieces([1], [2], [1], [2]))
    chances = softmax(fit_linear(counts, [3, 1, 3, 1], 5).logits(counts))
    assert chances.argmax(1).tolist() == [3, 1, 3, 1]
    assert (chances[:, [0, 2, 4]] == 0).all()
    only = softmax(fit_linear(counts, [2, 2, 2, 2], 3).logits(count_pieces(pieces([9], []))))
    assert only.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_a_text_of_nothing_known_gets_the_bias():
    counts = count_pieces(pieces([1, 2], [3, 4], [1], [4]))
    model = fit_linear(counts, [0, 1, 0, 1], 2)
    found = model.logits(count_pieces(pieces([], [77], [1])))
    np.testing.assert_allclose(found[:2], [model.bias_C, model.bias_C])
    assert (found[2] != model.bias_C).any()
