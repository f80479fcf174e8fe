"""The linear model in front of BERT: calibrated on held-out texts, and answering only where it is sure."""

from __future__ import annotations

import numpy as np

from filbert.linear.cascade import Cascade, count_pieces, fit_cascade
from filbert.linear.model import Linear, fit_linear
from filbert.linear.risk import NEVER
from filbert.metrics.calibration import softmax


def pieces(*texts):
    return [np.array(text, dtype=np.int32) for text in texts]


def test_answers_stand_from_the_threshold_on():
    texts = pieces([1, 2], [3, 4], [9], [])
    linear = fit_linear(count_pieces(texts[:2] * 5), [0, 1] * 5, 2)
    logits_NC, none_N = Cascade(linear, NEVER).answer(texts)
    assert not none_N.any()
    sure_N = softmax(logits_NC).max(axis=1)
    some = Cascade(linear, float(sure_N[0]))
    assert some.answer(texts)[1].tolist() == [True, bool(sure_N[1] >= sure_N[0]), False, False]


def test_no_text_has_no_answer():
    linear = Linear(np.arange(1), np.ones(1, np.float32), np.zeros((1, 3), np.float32), np.zeros(3, np.float32))
    logits_NC, sure_N = Cascade(linear, 0.5).answer([])
    assert (logits_NC.shape, sure_N.shape) == ((0, 3), (0,))


def test_many_texts_are_answered_in_parts_as_one_by_one(monkeypatch):
    texts = pieces(*[[i % 7, i % 5] for i in range(30)])
    cascade = Cascade(fit_linear(count_pieces(texts), np.arange(30) % 3, 3), 0.5)
    whole = cascade.answer(texts)[0]
    monkeypatch.setattr("filbert.linear.cascade.BATCH_TEXTS", 4)
    np.testing.assert_allclose(cascade.answer(texts)[0], whole, rtol=1e-6)


def test_it_is_calibrated_on_what_it_did_not_see():
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, 50, 12).astype(np.int32) for _ in range(600)]
    true_N = np.array([int((text < 25).sum() + rng.normal(0, 3) > 6) for text in texts], dtype=np.int32)
    calibrated = fit_cascade(texts[:400], true_N[:400], texts[400:], true_N[400:], 2)
    plain = fit_linear(count_pieces(texts[:400]), true_N[:400], 2)
    counts = count_pieces(texts[400:])

    def loss(model):
        return -np.log(softmax(model.logits(counts))[np.arange(200), true_N[400:]]).mean()

    assert loss(calibrated) < loss(plain)
