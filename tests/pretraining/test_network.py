"""Every masked token and every pair moves the loss, and the fast loss equals the readable one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pairs import PLAIN, WORDS, batch
from small import VOCAB, each_native_training, same_weights, shape, spread

from filbert.corpus.pool import Pool
from filbert.model.encoder import Encoder, sinusoids
from filbert.model.native_training import supported
from filbert.model.run import tensors_of
from filbert.pretraining import network
from filbert.pretraining.evaluation import score
from filbert.pretraining.fill_mask import decode
from filbert.pretraining.masking import IGNORED, features
from filbert.pretraining.network import (
    PreTrainer,
    loss,
    target_tensors,
    vocabulary_loss,
    vocabulary_loss_readable,
)
from filbert.records import PackedBatch


def model(seed: int = 0, **changes: Any) -> PreTrainer:
    generator = torch.Generator().manual_seed(seed)
    made = PreTrainer(Encoder(shape(max_positions=128, **changes), generator), generator)
    return spread(made, seed).eval()  # type: ignore[return-value]


@torch.no_grad()
def values(net: PreTrainer, packed: PackedBatch) -> torch.Tensor:
    return losses(net, packed)


def losses(net: PreTrainer, packed: PackedBatch) -> torch.Tensor:
    masked_M, originals_M, targets_B = target_tensors(packed, "cpu")
    return loss(net, *net(*tensors_of(packed, "cpu"), masked_M), originals_M, targets_B)


def test_the_fast_loss_equals_the_readable_one():
    torch.manual_seed(0)
    tokens, table, bias = torch.randn(600, 8), torch.randn(50, 8), torch.randn(50)
    targets = torch.randint(0, 50, (600,))
    grads = []
    for function in (vocabulary_loss_readable, vocabulary_loss):
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
    assert supported(torch.zeros(1, dtype=dtype))
    tokens, table, bias = torch.randn(2100, 16), torch.randn(vocabulary, 16), torch.randn(vocabulary)
    rounded, targets = [x.to(dtype) for x in (tokens, table, bias)], torch.randint(0, vocabulary, (2100,))
    near = 0.01 if dtype == torch.bfloat16 else 2e-6
    results = []
    monkeypatch.setattr(network, "supported", lambda *tensors: native and supported(*tensors))
    for function, kind in ((vocabulary_loss_readable, torch.float64), (vocabulary_loss, dtype)):
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
    found = vocabulary_loss(tokens, table, bias, targets)
    assert exact > 1000
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@each_native_training
@pytest.mark.parametrize("target", [-1, 50])
def test_a_target_outside_the_vocabulary_is_refused(target, dtype):
    tokens, table, bias = (torch.zeros(size, dtype=dtype) for size in ((2, 16), (50, 16), (50,)))
    with pytest.raises(ValueError, match=f"a target is {target}, the vocabulary has 50 tokens"):
        vocabulary_loss(tokens, table, bias, torch.tensor([3, target]))


@each_native_training
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 7, 990, 999])
def test_a_logit_that_is_no_number_is_not_hidden_by_the_loss(place, broken, dtype):
    generator = torch.Generator().manual_seed(0)
    tokens, table = (torch.randn(rows, 16, generator=generator).to(dtype) for rows in (3, 1000))
    bias = torch.zeros(1000, dtype=dtype)
    bias[place] = broken
    leaves = [x.requires_grad_() for x in (tokens, table, bias)]
    value = vocabulary_loss(*leaves, torch.tensor([1, 2, 3]))
    value.backward()
    assert not value.isfinite()
    assert not tokens.grad.isfinite().any()


def test_known_words_are_taken_and_the_others_keep_their_direction():
    net = model()
    before = net.encoder.embeddings.token.weight.detach().clone()
    words = torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    words[[0, 3]] = 0
    net.init_embeddings(words)
    after = net.encoder.embeddings.token.weight.detach()
    met = words.any(1)
    assert torch.equal(after[met], words[met])
    torch.testing.assert_close(after[~met], before[~met] / before[~met].norm(dim=1, keepdim=True))


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_learned_positions_begin_as_waves_where_a_distance_is_a_rotation(position):
    """Of the same length as a word's vector; the fixed table stays what its formula says."""
    net = PreTrainer(Encoder(shape(max_positions=128, position=position)))
    net.init_embeddings(torch.zeros_like(net.encoder.embeddings.token.weight))
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
        only = np.where(packed.targets_B == label, packed.targets_B, IGNORED)
        losses(net, replace(packed, targets_B=only))[1].backward()
        assert float(net.next.weight.grad.abs().sum()) > 0


def test_no_text_sees_another():
    net, packed = model(), batch(count=6)
    masked_M, *_ = target_tensors(packed, "cpu")
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
        packed = features(source, some, np.arange(16), tokenizer=WORDS, masking=PLAIN, key=step)
        mlm, nsp = losses(net, packed)
        loss = mlm / len(packed.masked_M) + nsp / 16
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(float(mlm.detach()) / len(packed.masked_M))
    assert np.mean(curve[:5]) > 1.5
    assert np.mean(curve[-5:]) < 0.5


def test_decode_names_the_most_probable():
    logits = torch.full((len(VOCAB),), -5.0)
    logits[5], logits[6] = 3.0, 2.0
    (first, p), (second, q) = decode(logits, WORDS, 2)
    assert (first, second) == ("good", "bad")
    assert p / q == pytest.approx(np.e, rel=1e-4)


def test_score_has_intervals_and_leaves_out_pairs_that_are_none():
    random = np.random.default_rng(0)
    right, text = random.random(2000) < 0.4, np.repeat(np.arange(200), 10)
    found = score(random.random(2000) + 1, right, text, random.random(500) < 0.9)
    for name, value in (("mlm_accuracy", 0.4), ("mlm_perplexity", np.exp(1.5)), ("nsp_accuracy", 0.9)):
        one = found[name]
        assert one["low"] < one["value"] < one["high"]
        assert one["value"] == pytest.approx(value, rel=0.1)
    assert "nsp_accuracy" not in score(np.ones(4), right[:4], text[:4], np.empty(0, bool))


def test_saved_heads_come_back_and_open_in_transformers(tmp_path):
    from transformers import BertForPreTraining

    from filbert.pretraining.folder import load_pretrained, save_pretrained

    net = model(segments=2)
    save_pretrained(tmp_path, net, WORDS, {"max_length": 128})
    again = load_pretrained(tmp_path)
    assert again.heads == {"mlm", "nsp", "pooler"}
    assert same_weights(again.model.state_dict(), net.state_dict())
    theirs = BertForPreTraining.from_pretrained(tmp_path).eval()
    packed = batch(count=1)
    masked_M, *_ = target_tensors(packed, "cpu")
    with torch.inference_mode():
        token_MD, next_B2 = net(*tensors_of(packed, "cpu"), masked_M)
        ids, segments = (torch.as_tensor(x[None].astype(np.int64)) for x in (packed.ids_T, packed.segments_T))
        said = theirs(input_ids=ids, token_type_ids=segments)
        logits_MV = net.token_logits(token_MD)
    torch.testing.assert_close(logits_MV, said.prediction_logits[0, masked_M], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(next_B2, said.seq_relationship_logits, rtol=1e-4, atol=1e-4)
