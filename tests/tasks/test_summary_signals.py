"""A summary's settings: its length in words, and weights beside the model, kept where ROUGE on other texts rises."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from filbert.metrics.overlap import words
from filbert.records import FloatArray
from filbert.tasks import summarization
from filbert.tasks.summarization.length import Settings, length_in_words
from filbert.tasks.summarization.outputs import rule
from filbert.tasks.summarization.selection import word_centrality
from filbert.tasks.summarization.signals import Document, chosen_by, probabilities, signals


def readable_centrality(texts: list[str]) -> FloatArray:
    """PageRank over the cosines of TF-IDF vectors, all of them in one matrix."""
    counts = [Counter(words(text)) for text in texts]
    names = sorted(set().union(*counts))
    inverse = {name: math.log(1 + len(texts) / sum(name in each for each in counts)) for name in names}
    vectors_SV = np.array([[each[name] * inverse[name] for name in names] for each in counts])
    lengths_S1 = np.linalg.norm(vectors_SV, axis=1, keepdims=True)
    unit_SV = vectors_SV / np.where(lengths_S1 > 0, lengths_S1, 1)
    cosines_SS, count = unit_SV @ unit_SV.T, len(texts)
    np.fill_diagonal(cosines_SS, 0)
    sums_S1 = cosines_SS.sum(axis=1, keepdims=True)
    moves_SS = np.where(sums_S1 > 1e-9, cosines_SS / np.where(sums_S1 > 1e-9, sums_S1, 1), 1 / count)
    found_S = np.full(count, 1 / count)
    for _ in range(200):
        found_S = 0.15 / count + 0.85 * found_S @ moves_SS
    return np.asarray(found_S)


def documents(count: int, *, known: bool) -> list[Document]:
    """Texts whose summary is the two sentences that share their words; the model's logits know it, or are noise."""
    random = np.random.default_rng(3)
    found = []
    for n in range(count):
        shared = [f"the fund of group{n} rose in town{n}", f"group{n} says the fund of town{n} rose"]
        other = [f"noise{n}a{i} noise{n}b{i} noise{n}c{i} noise{n}d{i} noise{n}e{i}" for i in range(6)]
        texts = [f"{each}." for each in (*other, *shared)]
        order = random.permutation(len(texts)).tolist()
        true_S = np.array([float(i >= len(other)) for i in order])
        logits_S = 8 * true_S - 4 if known else random.normal(size=len(texts))
        found.append(Document([texts[i] for i in order], logits_S, true_S, ". ".join(shared)))
    return found


@pytest.mark.parametrize(
    "texts", [["a b", "b c", "c d d"], ["a", "!"], ["a b", "a b", "c"], ["!", "?"], ["它增长", "增长了"]]
)
def test_word_centrality_is_that_of_all_cosines(texts: list[str]) -> None:
    assert word_centrality(texts) == pytest.approx(readable_centrality(texts), abs=1e-6)


def test_a_model_that_knows_nothing_yields_to_what_needs_no_training() -> None:
    settings, _, tried = chosen_by(documents(20, known=False), Settings(2))
    assert len(tried) == 4
    assert abs(settings.weights[0]) < settings.weights[1]
    for each in documents(20, known=False):
        scores_S = probabilities(each.logits_S, each.texts, settings.weights)
        assert set(np.argsort(-scores_S)[:2]) == set(np.flatnonzero(each.true_S))


def test_a_model_that_knows_all_stays_alone() -> None:
    found = documents(20, known=True)
    settings, scores_M, _ = chosen_by(found, Settings(2))
    assert settings.weights == ()
    assert scores_M == pytest.approx(1 / (1 + np.exp(-np.concatenate([each.logits_S for each in found]))))


def test_a_score_that_speaks_against_its_sentences_is_left_out() -> None:
    found = [Document(each.texts, -each.logits_S, each.true_S, each.reference) for each in documents(9, known=True)]
    assert chosen_by(found, Settings(2))[0].weights[0] == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_texts(count: int) -> None:
    settings, scores_M, tried = chosen_by(documents(count, known=False), Settings(2))
    assert len(scores_M) == 8 * count
    assert (settings == Settings(2)) if count == 1 else tried
    assert np.isfinite(settings.weights).all()


def test_probabilities_are_those_of_the_weights() -> None:
    (each,) = documents(1, known=False)
    weights = (0.5, 1.0, 0.2, 0.1, -1.0)
    wanted = 1 / (1 + np.exp(-(signals(each.logits_S, each.texts) @ weights[:4] - 1.0)))
    assert probabilities(each.logits_S, each.texts, weights) == pytest.approx(wanted)


def test_weights_are_read_back_and_said() -> None:
    told = {"settings": {"length": 2, "unit": "sentences", "weights": [0.5, 2.0, 0.1, 0.8, -1.0]}}
    settings = summarization.reopen(told, {})
    assert settings.weights == (0.5, 2.0, 0.1, 0.8, -1.0)
    assert rule(settings)[1] == {"sentence_weights": {"BERT": 0.5, "TextRank": 2.0, "place": 0.1, "length": 0.8}}
    assert rule(Settings()) == ("", {})


def test_length_is_said() -> None:
    said = [length_in_words(each) for each in (Settings(1), Settings(0.4, "share"), Settings(50, "words"))]
    assert said == ["1 sentence", "40 % of the sentences", "50 words at most"]
