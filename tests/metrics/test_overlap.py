"""ROUGE: rouge-score's figures for English, Chinese by characters, and the quick count agrees with it."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from filbert.metrics import overlap

SUMMARY = ("Quarterly profits jumped 76% to $1.13bn.", "The firm's sales weren't buoyed; AOL fell.")
REFERENCE = ("Profits at TimeWarner jumped 76%.", "Its AOL sales fell, the firm said.", "It was buoyed by sales.")


def test_english_is_scored_as_rouge_score_does() -> None:
    theirs = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)
    found = theirs.score("\n".join(REFERENCE), "\n".join(SUMMARY))
    wanted = [found[key].fmeasure for key in ("rouge1", "rouge2", "rougeLsum")]
    assert overlap.rouge(SUMMARY, REFERENCE) == pytest.approx(wanted)
    assert overlap._Words().tokenize(SUMMARY[1]) == DefaultTokenizer(use_stemmer=True).tokenize(SUMMARY[1])


def test_the_quick_count_is_the_same_without_stems() -> None:
    theirs = RougeScorer(["rouge1", "rouge2"], use_stemmer=False)
    for sentence in SUMMARY:
        found = theirs.score(" ".join(REFERENCE), sentence)
        wanted = [found[key].fmeasure for key in ("rouge1", "rouge2")]
        assert overlap.counted([sentence], " ".join(REFERENCE)) == pytest.approx(wanted)


def test_chinese_is_scored_by_characters() -> None:
    assert overlap.words("GDP增长3%。") == ["gdp", "增", "长", "3"]
    one, two, long = overlap.rouge(("它增长了",), ("它下降了",))
    assert (one, two, long) == pytest.approx((0.5, 0, 0.5))


def test_a_missing_blank_between_sentences_changes_nothing() -> None:
    """As in references made of a text's sentences: "… from $10.9bn.For the full-year …"."""
    assert overlap.counted(["It fell.", "We won."], "It fell.We won.")[0] == 1
    assert overlap.counted(["It fell."], "It fell.We won.") == overlap.counted(["It fell."], "It fell. We won.")


def test_nothing_scores_nothing() -> None:
    assert overlap.counted([], "a") == overlap.counted(["a"], "!") == (0, 0)
    assert overlap.rouge((), ("a",)) == overlap.rouge(("a",), ("!",)) == (0, 0, 0)


def test_intervals_hold_the_mean_and_shrink() -> None:
    values = np.random.default_rng(0).random((400, 3))
    few, many = overlap.means(values[:40])["rouge2"], overlap.means(values)["rouge2"]
    for found, rows in ((few, values[:40]), (many, values)):
        assert found["value"] == pytest.approx(rows[:, 1].mean())
        assert found["low"] < found["value"] < found["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    alone = overlap.means(np.full((1, 3), 0.5))["rouge1"]
    assert (alone["low"], alone["high"]) == (0, 1)  # one text says nothing
