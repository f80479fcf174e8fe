"""Pre-training: what is hidden, by chance and by rule; that every token hidden and every pair moves the loss."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small import VOCAB, each_native_training, same_weights, shape, spread, tokenizer

from filbert.corpus.pool import Pool
from filbert.corpus.shards import write_shards
from filbert.model.encoder import Encoder, sinusoids
from filbert.model.native_training import able
from filbert.model.run import tensors_of
from filbert.pretraining import network as task
from filbert.pretraining.network import Masking, PreTrainer
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.records import PackedBatch
from filbert.text.chinese import word_starts
from filbert.text.tokenizer import SPECIALS, Tokenizer

WORDS = tokenizer()
PLAIN = Masking.of(WORDS, 0.15, False)
WHOLE = Masking.of(WORDS, 0.15, True)


def pool(tokens: int = 60_000, sentence: int = 20, document: int = 200, **changes: Any) -> Pool:
    """Random words in documents of equal sentences; a third of the tokens go on with the word before."""
    random = np.random.default_rng(0)
    ids = random.integers(5, len(VOCAB), tokens).astype(np.uint16)
    begins = (random.random(tokens) > 1 / 3).astype(np.uint8)
    begins[::sentence] = 1
    sentences = np.arange(0, tokens + 1, sentence)
    documents = np.arange(0, len(sentences), document // sentence)
    return Pool([SimpleNamespace(ids_T=ids, begins_T=begins, sentences_S=sentences, documents_D=documents)], **changes)


def model(seed: int = 0, **changes: Any) -> PreTrainer:
    generator = torch.Generator().manual_seed(seed)
    made = PreTrainer(Encoder(shape(max_positions=128, **changes), generator), generator)
    return spread(made, seed).eval()  # type: ignore[return-value]


def batch(masking: Masking = PLAIN, key: int = 0, count: int = 40, length: int = 64, pairs: bool = True) -> PackedBatch:
    source = pool()
    rows = source.plan(length, pairs=pairs, seed=0, epoch=0)[:count]
    return task.features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=masking, key=key)


@torch.no_grad()
def values(net: PreTrainer, packed: PackedBatch) -> torch.Tensor:
    return losses(net, packed)


def losses(net: PreTrainer, packed: PackedBatch) -> torch.Tensor:
    masked_M, originals_M, targets_B = task.tensors_of_targets(packed, "cpu")
    return task.loss(net, *net(*tensors_of(packed, "cpu"), masked_M), originals_M, targets_B)


# -- features ---------------------------------------------------------------------------------------------------------


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
        assert packed.targets_B[b] == (row[4] if pairs else task.IGNORED)
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
    packed = task.features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=masking, key=7)
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
    packed = task.features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=PLAIN, key=1)
    shown = packed.ids_T[packed.masked_M]
    changed = shown[(shown != 4) & (shown != packed.originals_M)]
    found = np.bincount(changed, minlength=len(VOCAB)) / len(changed)
    assert found[:5].sum() == 0
    assert found[5:] == pytest.approx(1 / 6, abs=0.02)


def test_whole_words_are_hidden_whole():
    source = pool()
    rows = source.plan(64, pairs=True, seed=0, epoch=0)[:40]
    packed = task.features(source, rows, np.arange(40), tokenizer=WORDS, masking=WHOLE, key=0)
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
    packed = task.features(source, rows, np.arange(len(rows)), tokenizer=chinese, masking=masking, key=0)
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
    together = task.features(source, rows, np.arange(12), **options)
    for n in range(12):
        alone = task.features(source, rows[n : n + 1], np.arange(n, n + 1), **options)
        b = together.order_B.tolist().index(n)
        assert alone.ids_T.tolist() == together.ids_T[together.starts_B[b] : together.starts_B[b + 1]].tolist()


# -- head and loss ----------------------------------------------------------------------------------------------------


def test_the_fast_loss_equals_the_readable_one():
    torch.manual_seed(0)
    tokens, table, bias = torch.randn(600, 8), torch.randn(50, 8), torch.randn(50)
    targets = torch.randint(0, 50, (600,))
    grads = []
    for function in (task.vocabulary_loss_readable, task.vocabulary_loss):
        inputs = [x.clone().requires_grad_() for x in (tokens, table, bias)]
        value = function(*inputs, targets)
        (value * 0.5).backward()
        grads.append([value, *(x.grad for x in inputs)])
    for readable, fast in zip(*grads, strict=True):
        torch.testing.assert_close(fast, readable, rtol=1e-5, atol=1e-5)


@each_native_training
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("vocabulary", [50, 64, 1000])  # the last numbers of a row fill a vector, or not
def test_the_loss_as_it_is_made_equals_the_readable_one(monkeypatch, vocabulary, native, dtype):
    """There is no number of bf16 that both could be equal to: each gradient is as near to fp64's as rounding allows."""
    torch.manual_seed(0)
    assert able(torch.zeros(1, dtype=dtype))
    tokens, table, bias = torch.randn(2100, 16), torch.randn(vocabulary, 16), torch.randn(vocabulary)
    rounded, targets = [x.to(dtype) for x in (tokens, table, bias)], torch.randint(0, vocabulary, (2100,))
    near = 0.01 if dtype == torch.bfloat16 else 2e-6
    results = []
    monkeypatch.setattr(task, "able", lambda *tensors: native and able(*tensors))
    for function, kind in ((task.vocabulary_loss_readable, torch.float64), (task.vocabulary_loss, dtype)):
        inputs = [x.clone().to(kind).requires_grad_() for x in rounded]
        value = function(*inputs, targets)
        value.backward()
        results.append([value.detach(), *(x.grad.double() for x in inputs)])
        with torch.inference_mode():
            assert torch.equal(function(*inputs, targets), value)
    assert abs(results[1][0] / results[0][0] - 1) < near / 10
    for exact, found in zip(results[0][1:], results[1][1:], strict=True):
        assert (found - exact).norm() < near * exact.norm()


@each_native_training
def test_logits_far_apart_have_an_exact_loss(dtype):
    """A token's loss is a difference of numbers of 10,000, and none of it is lost."""
    generator = torch.Generator().manual_seed(0)
    tokens, table = (torch.randn(rows, 16, generator=generator) * 50 for rows in (40, 100))
    tokens, table, bias = tokens.to(dtype), table.to(dtype), torch.zeros(100, dtype=dtype)
    logits = torch.nn.functional.linear(tokens, table)
    targets = logits.argsort(-1)[:, -2]  # the second best: neither 0 nor as large as the numbers
    exact = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum")
    found = task.vocabulary_loss(tokens, table, bias, targets)
    assert exact > 1000
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@each_native_training
@pytest.mark.parametrize("target", [-1, 50])
def test_a_target_outside_the_vocabulary_is_refused(target, dtype):
    tokens, table, bias = (torch.zeros(size, dtype=dtype) for size in ((2, 16), (50, 16), (50,)))
    with pytest.raises(ValueError, match=f"a target is {target}, the vocabulary has 50 tokens"):
        task.vocabulary_loss(tokens, table, bias, torch.tensor([3, target]))


@each_native_training
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 7, 990, 999])
def test_a_logit_that_is_no_number_is_not_hidden_by_the_loss(place, broken, dtype):
    generator = torch.Generator().manual_seed(0)
    tokens, table = (torch.randn(rows, 16, generator=generator).to(dtype) for rows in (3, 1000))
    bias = torch.zeros(1000, dtype=dtype)
    bias[place] = broken
    leaves = [x.requires_grad_() for x in (tokens, table, bias)]
    value = task.vocabulary_loss(*leaves, torch.tensor([1, 2, 3]))
    value.backward()
    assert not value.isfinite()
    assert not tokens.grad.isfinite().any()


def test_known_words_are_taken_and_the_others_keep_their_direction():
    net = model()
    before = net.encoder.embeddings.token.weight.detach().clone()
    words = torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    words[[0, 3]] = 0
    net.know(words)
    after = net.encoder.embeddings.token.weight.detach()
    met = words.any(1)
    assert torch.equal(after[met], words[met])
    torch.testing.assert_close(after[~met], before[~met] / before[~met].norm(dim=1, keepdim=True))


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_learned_positions_begin_as_waves_where_a_distance_is_a_rotation(position):
    """Of the same length as a word's vector; the fixed table stays what its formula says."""
    net = PreTrainer(Encoder(shape(max_positions=128, position=position)))
    net.know(torch.zeros_like(net.encoder.embeddings.token.weight))
    table = net.encoder.embeddings.position.weight.detach()
    if position == "sinusoidal":
        assert torch.equal(table, sinusoids(*table.shape))
        return
    torch.testing.assert_close(table.norm(dim=1), torch.ones(len(table)))
    near = table[:-5] @ table[5:].T  # row i beside row j + 5
    torch.testing.assert_close(near.diagonal(), near.diagonal().mean().expand(len(near)), rtol=1e-4, atol=1e-4)
    assert near.diagonal().mean() < 1


def test_each_hidden_token_moves_the_loss():
    net, packed = model(), batch(count=4)
    before = values(net, packed)
    for m in range(len(packed.masked_M)):
        originals = packed.originals_M.copy()
        originals[m] = 5 + (originals[m] - 4) % 6
        after = values(net, replace(packed, originals_M=originals))
        assert abs(float(after[0] - before[0])) > 1e-4
        assert after[1] == before[1]


def test_each_pair_moves_the_loss_whatever_its_label():
    net, packed = model(), batch(count=12)
    before = values(net, packed)
    assert set(packed.targets_B) == {0, 1}
    for b in range(12):
        targets = packed.targets_B.copy()
        targets[b] = 1 - targets[b]
        after = values(net, replace(packed, targets_B=targets))
        assert after[0] == before[0]
        assert abs(float(after[1] - before[1])) > 1e-6
    for label in (0, 1):
        net.zero_grad()
        only = np.where(packed.targets_B == label, packed.targets_B, task.IGNORED)
        losses(net, replace(packed, targets_B=only))[1].backward()
        assert float(net.next.weight.grad.abs().sum()) > 0


def test_no_text_sees_another():
    net, packed = model(), batch(count=6)
    masked_M, *_ = task.tensors_of_targets(packed, "cpu")
    whole_MD, whole_B2 = net(*tensors_of(packed, "cpu"), masked_M)
    changed = packed.ids_T.copy()
    changed[packed.starts_B[3] + 1 : packed.starts_B[4] - 1] = 5
    other_MD, other_B2 = net(*tensors_of(replace(packed, ids_T=changed), "cpu"), masked_M)
    outside = (packed.masked_M < packed.starts_B[3]) | (packed.masked_M >= packed.starts_B[4])
    assert torch.equal(whole_MD[torch.as_tensor(outside)], other_MD[torch.as_tensor(outside)])
    rest = [0, 1, 2, 4, 5]
    assert torch.equal(whole_B2[rest], other_B2[rest])
    assert not torch.equal(whole_B2[3], other_B2[3])


def test_the_head_reads_the_embedding_table():
    net, packed = model(), batch(count=4)
    losses(net, packed).sum().backward()
    unseen = sorted({*range(len(VOCAB))} - {*packed.ids_T.tolist()})
    assert unseen == [0, 1]
    assert (net.encoder.embeddings.token.weight.grad[unseen].abs().sum(1) > 0).all()  # through the head alone


def test_learns_a_language_of_one_rule():
    """Every word is followed by the same next word: a masked one can be told from its neighbours."""
    tokens = np.tile(np.array([5, 6, 7, 8, 9, 10], np.uint16), 2000)
    sentences = np.arange(0, len(tokens) + 1, 12)
    source = Pool([SimpleNamespace(ids_T=tokens, begins_T=np.ones(len(tokens)), sentences_S=sentences,
                                   documents_D=np.arange(0, len(sentences), 5))])  # fmt: skip
    torch.manual_seed(0)
    net = PreTrainer(Encoder(shape(hidden=32, intermediate=64, dropout=0.0), torch.Generator().manual_seed(0)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    rows = source.plan(32, pairs=True, seed=0, epoch=0)
    curve = []
    for step in range(250):
        some = rows[(step * 16) % 160 : (step * 16) % 160 + 16]
        packed = task.features(source, some, np.arange(16), tokenizer=WORDS, masking=PLAIN, key=step)
        mlm, nsp = losses(net, packed)
        loss = mlm / len(packed.masked_M) + nsp / 16
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(mlm.detach()) / len(packed.masked_M))
    assert np.mean(curve[:5]) > 1.5
    assert np.mean(curve[-5:]) < 0.5


# -- decode and score -------------------------------------------------------------------------------------------------


def test_decode_names_the_most_probable():
    logits = torch.full((len(VOCAB),), -5.0)
    logits[5], logits[6] = 3.0, 2.0
    (first, p), (second, q) = task.decode(logits, WORDS, 2)
    assert (first, second) == ("good", "bad")
    assert p / q == pytest.approx(np.e, rel=1e-4)


def test_score_has_intervals_and_leaves_out_pairs_that_are_none():
    random = np.random.default_rng(0)
    right, text = random.random(2000) < 0.4, np.repeat(np.arange(200), 10)
    found = task.score(random.random(2000) + 1, right, text, random.random(500) < 0.9)
    for name, value in (("mlm_accuracy", 0.4), ("mlm_perplexity", np.exp(1.5)), ("nsp_accuracy", 0.9)):
        one = found[name]
        assert one["low"] < one["value"] < one["high"]
        assert one["value"] == pytest.approx(value, rel=0.1)
    assert "nsp_accuracy" not in task.score(np.ones(4), right[:4], text[:4], np.empty(0, bool))


def test_saved_heads_come_back_and_open_in_transformers(tmp_path):
    from transformers import BertForPreTraining

    from filbert.pretraining.folder import load_pretrained, save_pretrained

    net = model(segments=2)
    save_pretrained(tmp_path, net, WORDS, {"max_length": 128})
    again = load_pretrained(tmp_path)
    assert again.has == {"mlm", "nsp", "pooler"}
    assert same_weights(again.model.state_dict(), net.state_dict())
    theirs = BertForPreTraining.from_pretrained(tmp_path).eval()
    packed = batch(count=1)
    masked_M, *_ = task.tensors_of_targets(packed, "cpu")
    with torch.inference_mode():
        token_MD, next_B2 = net(*tensors_of(packed, "cpu"), masked_M)
        ids, segments = (torch.as_tensor(x[None].astype(np.int64)) for x in (packed.ids_T, packed.segments_T))
        said = theirs(input_ids=ids, token_type_ids=segments)
        logits_MV = net.token_logits(token_MD)
    torch.testing.assert_close(logits_MV, said.prediction_logits[0, masked_M], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(next_B2, said.seq_relationship_logits, rtol=1e-4, atol=1e-4)
