"""Many texts through the model: in their order, within the budget, and as `transformers` has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import LABELS, classifier, encoder, needs_minilm, padded, reviews, rows, save, spread
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel

from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.folder.torch_parts import network_of
from filbert.inference.model import open_model
from filbert.model.device import native_bf16, working_dtype
from filbert.model.head import Head
from filbert.model.network import Network
from filbert.model.packing import pack
from filbert.model.run import outputs, tensors_of, token_outputs
from filbert.records import Features
from filbert.tasks.framing import framed

LENGTHS = [9, 3, 30, 3, 12, 64, 5]


def test_one_row_per_text_in_their_order():
    model, features = classifier(), rows(LENGTHS)
    found = outputs(model, features, "cpu")
    assert found.dtype == np.float64
    with torch.no_grad():
        for i, row in enumerate(features):
            alone = model(*tensors_of(pack([row]), "cpu"))[0].numpy()
            np.testing.assert_allclose(found[i], alone, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 20, 64, 10_000])
def test_any_budget_gives_the_same_rows(tokens):
    model, told = classifier(), []
    found = outputs(model, rows(LENGTHS), "cpu", tokens=tokens, done=told.append)
    np.testing.assert_allclose(found, outputs(model, rows(LENGTHS), "cpu"), atol=1e-5)
    assert told[-1] == len(LENGTHS)


def test_nothing_in_nothing_out():
    assert outputs(classifier(), [], "cpu").size == 0


def test_a_row_for_every_token_where_the_head_reads_them_all():
    generator = torch.Generator().manual_seed(0)
    model = spread(Network(encoder(), Head(outputs=2, rows="tokens", pooled=False), generator))
    features, told = rows(LENGTHS), list[int]()
    found = token_outputs(model, features, "cpu", tokens=20, done=told.append)
    assert [row.shape for row in found] == [(length, 2) for length in LENGTHS]
    assert told[-1] == len(LENGTHS)
    with torch.no_grad():
        for row, outputs_LO in zip(features, found, strict=True):
            alone = model(*tensors_of(pack([row]), "cpu"))[: len(row)].numpy()
            np.testing.assert_allclose(outputs_LO, alone, atol=1e-5)
    assert token_outputs(model, [], "cpu") == []


def test_dropout_is_off():
    model = classifier().train()
    assert np.array_equal(outputs(model, rows(LENGTHS), "cpu"), outputs(model, rows(LENGTHS), "cpu"))


def test_working_dtype():
    assert working_dtype("fp32", "cpu") == torch.float32
    assert working_dtype("bf16", "cpu") == torch.bfloat16
    assert working_dtype("auto", "cpu") == (torch.bfloat16 if native_bf16() else torch.float32)


def test_tensors_of_keeps_the_texts_apart():
    batch = pack(rows(LENGTHS))
    ids, positions, segments, spans = tensors_of(batch, "cpu")
    count = sum(LENGTHS)
    assert [len(x) for x in (ids, positions, segments)] == [-(-count // 64) * 64] * 3  # rounded up
    assert ids[:count].tolist() == batch.ids_T.tolist()
    assert not ids[count:].any()
    assert [last - first for first, last in spans.bounds] == sorted(LENGTHS)


@torch.no_grad()
def test_bf16_stays_near_fp32():
    exact, rough = encoder(), encoder().bfloat16()
    inputs = tensors_of(pack(rows(LENGTHS)), "cpu")
    assert (exact(*inputs) - rough(*inputs)).abs().mean() < 0.05


# -- a real model -----------------------------------------------------------------------------------------------------


def review_features(texts: list[str], max_length: int) -> tuple[list[Features], BertModel, Network]:
    folder = find_base("minilm").folder
    ours, words, heads = load_base(folder)
    model = Network(ours.eval(), Head(outputs=len(LABELS)), torch.Generator().manual_seed(0))
    model.pooler.load_state_dict({kind: heads[f"pooler.dense.{kind}"] for kind in ("weight", "bias")})
    model.last.weight.data.mul_(10)  # logits of a trained model's size
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    return [framed([one], words, max_length) for one in words.encode(texts)], theirs, model.eval()


@torch.no_grad()
def furthest_hidden(features: list[Features], theirs: BertModel, model: Network, at_once: int) -> float:
    """The largest difference of any number of any token's vector."""
    furthest, by_length = 0.0, sorted(features, key=len)
    for begin in range(0, len(by_length), at_once):
        some = by_length[begin : begin + at_once]
        hidden_TD = model.encoder(*tensors_of(pack(some), "cpu"))
        inputs = padded(some)
        expected_TD = theirs(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
        furthest = max(furthest, float((hidden_TD - expected_TD).abs().max()))
    return furthest


@needs_minilm
def test_minilm_on_50_reviews_as_transformers(real_data):
    texts = reviews(real_data("imdb"), 1000)[::20]
    features, theirs, model = review_features(texts, 96)
    assert len(features) == 50
    assert furthest_hidden(features, theirs, model, 10) <= 1e-4
    features, theirs, model = review_features([max(texts, key=len)], 512)
    assert len(features[0]) == 512
    assert furthest_hidden(features, theirs, model, 1) <= 1e-4


@needs_minilm
@pytest.mark.slow
def test_minilm_on_1000_reviews_as_transformers(real_data):
    features, theirs, model = review_features(reviews(real_data("imdb"), 1000), 512)
    assert len(features) == 1000
    assert furthest_hidden(features, theirs, model, 16) <= 1e-4


@needs_minilm
@pytest.mark.slow
@torch.no_grad()
def test_saved_minilm_classifier_on_1000_reviews_as_transformers(real_data, tmp_path):
    texts = reviews(real_data("imdb"), 1000)
    features, _, model = review_features(texts, 512)
    save(tmp_path, model, LABELS, load_base(find_base("minilm").folder)[1], max_length=512)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    words = AutoTokenizer.from_pretrained(tmp_path)
    opened = open_model(tmp_path)
    saved = network_of(opened.config, opened.weights, opened.head, opened.arrays)
    found = outputs(saved, features, "cpu")
    furthest, flips = 0.0, 0
    for i in sorted(range(len(features)), key=lambda i: len(features[i])):
        if not features[i].cut:
            assert words(texts[i], split_special_tokens=True)["input_ids"] == features[i].ids.tolist()
        expected_C = theirs(**padded([features[i]])).logits[0].numpy()
        furthest = max(furthest, float(np.abs(found[i] - expected_C).max()))
        flips += int(found[i].argmax() != expected_C.argmax())
    assert furthest <= 1e-5
    assert flips == 0
    assert np.ptp(found, axis=0).min() > 0.5
