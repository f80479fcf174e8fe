"""Which tokens are masked, by rule and by chance, and what they become."""

from __future__ import annotations

import numpy as np
import pytest
from pairs import PLAIN, WHOLE, WORDS, batch, pool
from small import VOCAB

from filbert.corpus.pool import Pool
from filbert.corpus.shards import write_shards
from filbert.pretraining.masking import IGNORED, Masking, features
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.text.chinese import word_starts
from filbert.text.tokenizer import SPECIALS, Tokenizer


@pytest.mark.parametrize("pairs", [True, False])
def test_a_text_is_framed_and_its_parts_are_told_apart(pairs):
    source = pool()
    rows = source.plan(64, pairs=pairs, seed=0, epoch=0)[:40]
    packed = batch(pairs=pairs)
    for b, (begin, end) in enumerate(zip(packed.starts_B[:-1], packed.starts_B[1:], strict=True)):
        ids, row = packed.ids_T[begin:end].copy(), rows[packed.order_B[b]]
        here = (packed.masked_M >= begin) & (packed.masked_M < end)
        ids[packed.masked_M[here] - begin] = packed.originals_M[here]
        a, second = source.take(np.arange(row[0], row[1]))[0], source.take(np.arange(row[2], row[3]))[0]
        expected = [2, *a, 3, *second, 3] if pairs else [2, *a, 3]
        assert ids.tolist() == expected
        assert packed.segments_T[begin:end].tolist() == [0] * (len(a) + 2) + [1] * (len(expected) - len(a) - 2)
        assert packed.positions_T[begin:end].tolist() == list(range(len(expected)))
        assert packed.targets_B[b] == (row[4] if pairs else IGNORED)
        assert len(expected) <= 64


def test_special_tokens_are_never_hidden():
    packed = batch()
    assert set(packed.originals_M) <= set(range(5, len(VOCAB)))
    assert len(set(packed.masked_M)) == len(packed.masked_M)


def test_the_share_hidden_is_exact_in_each_text():
    packed = batch()
    text_T = np.repeat(np.arange(40), np.diff(packed.starts_B))
    words_B = np.diff(packed.starts_B) - 3
    assert (
        np.bincount(text_T[packed.masked_M], minlength=40).tolist() == np.maximum(1, np.rint(0.15 * words_B)).tolist()
    )


def counts(masking: Masking) -> dict[str, float]:
    """What became of the hidden tokens of a few thousand texts."""
    source = pool(400_000)
    rows = source.plan(64, pairs=False, seed=0, epoch=0)
    packed = features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=masking, key=7)
    shown = packed.ids_T[packed.masked_M]
    return {
        "tokens": len(packed.masked_M),
        "share": len(packed.masked_M) / (len(packed.ids_T) - 2 * len(rows)),
        "mask": float((shown == 4).mean()),
        "same": float((shown == packed.originals_M).mean()),
        "places": float(packed.positions_T[packed.masked_M].mean() - packed.positions_T[packed.ids_T != 3].mean()),
    }


@pytest.mark.parametrize(("whole_words", "rate"), [(False, 0.15), (False, 0.3), (True, 0.15), (True, 0.3)])
def test_of_the_hidden_tokens_eight_tenths_are_masks_one_is_random_one_stays(whole_words, rate):
    found = counts(Masking.of(WORDS, rate, whole_words))
    spread_ = 4 * 0.5 / found["tokens"] ** 0.5  # four standard errors at most
    kinds = len(VOCAB) - 5
    # whole words are not begun that would hide too much
    assert rate * (0.9 if whole_words else 1) - 0.005 < found["share"] < rate + 0.005
    assert found["mask"] == pytest.approx(0.8, abs=spread_)
    assert found["same"] == pytest.approx(0.1 + 0.1 / kinds, abs=spread_)  # a random token may be the old one
    assert found["places"] == pytest.approx(0.0, abs=1.0)  # no place in the text is preferred


def test_random_tokens_are_any_words_and_no_special_ones():
    source = pool(400_000)
    rows = source.plan(64, pairs=False, seed=0, epoch=0)
    packed = features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=PLAIN, key=1)
    shown = packed.ids_T[packed.masked_M]
    changed = shown[(shown != 4) & (shown != packed.originals_M)]
    found = np.bincount(changed, minlength=len(VOCAB)) / len(changed)
    assert found[:5].sum() == 0
    assert found[5:] == pytest.approx(1 / 6, abs=0.02)


def test_whole_words_are_hidden_whole():
    source = pool()
    rows = source.plan(64, pairs=True, seed=0, epoch=0)[:40]
    packed = features(source, rows, np.arange(40), tokenizer=WORDS, masking=WHOLE, key=0)
    hidden = np.zeros(len(packed.ids_T), bool)
    hidden[packed.masked_M] = True
    begins = np.ones(len(packed.ids_T), bool)
    for b, begin in enumerate(packed.starts_B[:-1]):
        row = rows[packed.order_B[b]]
        a, second = row[1] - row[0], row[3] - row[2]
        for first, count, at in ((row[0], a, begin + 1), (row[2], second, begin + 2 + a)):
            begins[at : at + count] = source.take(np.arange(first, first + count))[1]
            begins[at] = True
    word_T = np.cumsum(begins)
    for word in np.unique(word_T[packed.masked_M]):
        assert hidden[word_T == word].all()
    text_T = np.repeat(np.arange(40), np.diff(packed.starts_B))
    counted = np.bincount(text_T[packed.masked_M], minlength=40)
    share = np.maximum(1, np.rint(0.15 * (np.diff(packed.starts_B) - 3)))
    assert (counted >= 1).all()
    assert (counted <= np.maximum(share, counted.min(initial=9))).mean() > 0.9
    assert counted.sum() > 0.8 * share.sum()


def test_chinese_words_are_hidden_whole_from_text_to_batch(tmp_path):
    pytest.importorskip("jieba")
    text = "北京大学的学生改变计划。"
    chinese = Tokenizer.from_vocab([*SPECIALS, *sorted(set(text))])
    (tmp_path / "texts.txt").write_text("\n\n".join(text + "的" * n for n in range(200)), encoding="utf-8")
    corpus = open_corpus(tmp_path / "texts.txt")
    made = write_shards(
        corpus, tmp_path / "shards", tokenizer=chinese, sentences=lambda x: [x], watch=Silent(), word_starts=word_starts
    )
    source = Pool([made])
    rows = source.plan(64, pairs=False, seed=0, epoch=0)
    masking = Masking.of(chinese, 0.15, True)
    packed = features(source, rows, np.arange(len(rows)), tokenizer=chinese, masking=masking, key=0)
    hidden = np.zeros(len(packed.ids_T), bool)
    hidden[packed.masked_M] = True
    ids_T = packed.ids_T.copy()
    ids_T[packed.masked_M] = packed.originals_M
    word = chinese.encode(["北京大学"])[0].ids.tolist()
    found = [int(hidden[at : at + 4].sum()) for at in range(len(ids_T)) if ids_T[at : at + 4].tolist() == word]
    assert len(found) > 100
    assert set(found) == {0, 4}


def test_masks_are_drawn_anew_by_key_and_the_same_for_the_same_text():
    first, again, other = batch(key=0), batch(key=0), batch(key=1)
    assert np.array_equal(first.masked_M, again.masked_M)
    assert np.array_equal(first.ids_T, again.ids_T)
    assert not np.array_equal(first.masked_M, other.masked_M)
    both = np.intersect1d(first.masked_M, other.masked_M)
    assert len(both) / len(first.masked_M) == pytest.approx(0.15, abs=0.08)


def test_a_text_is_hidden_the_same_alone_and_among_others():
    source = pool()
    rows = source.plan(64, pairs=True, seed=0, epoch=0)[:12]
    options = {"tokenizer": WORDS, "masking": WHOLE, "key": 3}
    together = features(source, rows, np.arange(12), **options)
    for n in range(12):
        alone = features(source, rows[n : n + 1], np.arange(n, n + 1), **options)
        b = together.order_B.tolist().index(n)
        assert alone.ids_T.tolist() == together.ids_T[together.starts_B[b] : together.starts_B[b + 1]].tolist()
