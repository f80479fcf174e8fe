"""A linear model of texts: the features it counts are scikit-learn's, and a text is answered alike in any batch."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from filbert.linear import texts as texts_module
from filbert.linear.baseline import fit_texts
from filbert.linear.texts import Vectorizer
from filbert.linear.units import MAX_TEXT_LENGTH
from filbert.records import Example

TEXTS = ("A good  film, a GOOD one!", "", "…", "not good  at all?", "不好看。 不好", "x" * 30)
THEIRS = {
    "words": {"token_pattern": r"(?u)\b\w+\b|[?!]", "ngram_range": (1, 2)},
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
}


@pytest.mark.parametrize("units", THEIRS)
def test_it_counts_what_scikit_learn_counts(units):
    counts = Vectorizer(units, {"words": 2, "characters": 3}[units], False).counts([(text,) for text in TEXTS])
    theirs = CountVectorizer(**THEIRS[units]).fit_transform(TEXTS)
    assert np.diff(counts.starts).tolist() == np.diff(theirs.indptr).tolist()
    for n in range(len(TEXTS)):
        ours = counts.counts_K[counts.starts[n] : counts.starts[n + 1]]
        assert sorted(ours.tolist()) == sorted(theirs[n].data.tolist())


def test_the_end_of_a_very_long_text_is_not_read():
    one, other = ("a " * (MAX_TEXT_LENGTH // 2) + more for more in ("", "good"))
    counts = Vectorizer("words", 1, False).counts([(one,), (other,)])
    assert counts.counts_K[0] == counts.counts_K[1]


def test_half_a_surrogate_is_a_character_like_others():
    for units in THEIRS:
        assert len(Vectorizer(units, 1, False).counts([("\ud800 a",)])) == 1


@pytest.mark.parametrize("pairs", [False, True], ids=["texts", "pairs"])
def test_a_text_has_the_same_bits_in_any_batch(pairs, monkeypatch):
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(30)]
    inputs = [tuple(" ".join(rng.choice(words, rng.integers(0, 20))) for _ in range(1 + pairs)) for _ in range(60)]
    model = fit_texts([Example(each) for each in inputs], rng.integers(0, 3, 60), {}, 3).model
    whole = model.outputs(inputs)
    for size in (1, 7):
        monkeypatch.setattr(texts_module, "BATCH_TEXTS", size)
        assert np.array_equal(model.outputs(inputs), whole)
    assert np.array_equal(model.outputs(inputs[5:6])[0], whole[5])
    assert model.outputs([]).shape == (0, 3)


def test_scaled_outputs_are_finite_and_so_many_times_as_large():
    model = fit_texts([Example((text,)) for text in ("good", "bad") * 5], np.array([2, 1] * 5), {}, 3).model
    before = model.outputs([("good",)])
    linear = model.linear.scaled(0.5, 2.0)
    after = type(model)(model.vectorizer, linear).outputs([("good",)])
    np.testing.assert_allclose(after[0, 1:], before[0, 1:] / 2 + 2, rtol=1e-6)
    assert before[0, 0] == -np.inf
    assert after[0, 0] == -13
