"""Classification: what is cut, what moves the loss, which class wins a tie."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small import LABELS, classifier, needs_native, rows, tokenizer

from filbert.inference.scorer import NativeClassifier
from filbert.model.network import cross_entropy
from filbert.model.packing import pack
from filbert.model.run import outputs, tensors_of
from filbert.records import Encoding
from filbert.tasks.single_label import outputs as classify


def encoding(length: int) -> Encoding:
    return Encoding(np.arange(100, 100 + length, dtype=np.int32), np.empty((0, 2), np.int32))


# -- features ---------------------------------------------------------------------------------------------------------


def test_a_text_is_framed():
    row = classify.features(tokenizer().encode(["a badly film"])[0], tokenizer(), 16, target=2)
    assert row.ids.tolist() == [2, 10, 6, 9, 7, 3]
    assert row.segments.tolist() == [0] * 6
    assert (row.target, row.cut, row.ids.dtype) == (2, 0, np.int32)


@pytest.mark.parametrize("length", [0, 1, 13, 14])
def test_a_text_that_fits_is_whole(length):
    row = classify.features(encoding(length), tokenizer(), 16)
    assert row.ids.tolist() == [2, *range(100, 100 + length), 3]
    assert (row.cut, row.target) == (0, None)


@pytest.mark.parametrize("length", [15, 16, 200])
def test_a_long_text_keeps_head_and_tail(length):
    row = classify.features(encoding(length), tokenizer(), 16)
    head, tail = range(100, 103), range(100 + length - 11, 100 + length)  # 14 places: a quarter, and the rest
    assert row.ids.tolist() == [2, *head, *tail, 3]
    assert row.cut == length - 14


@pytest.mark.parametrize("max_length", range(8, 40))
def test_a_cut_text_is_exactly_as_long_as_allowed(max_length):
    row = classify.features(encoding(1000), tokenizer(), max_length)
    assert len(row) == max_length
    assert row.cut == 1000 - (max_length - 2)
    assert len(set(row.ids.tolist())) == max_length  # nothing stands there twice


# -- head and loss ----------------------------------------------------------------------------------------------------


def test_logits_are_fp32_whatever_the_encoder_is():
    model, batch = classifier(), pack(rows([5, 9]))
    model.encoder.bfloat16()
    assert model(*tensors_of(batch, "cpu")).dtype == torch.float32


def test_loss_is_the_summed_cross_entropy():
    logits_BC = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    by_hand = -math.log(math.e / (math.e + 2)) + math.log(3)
    assert cross_entropy(logits_BC, torch.tensor([0, 1])).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("text", range(4))
@pytest.mark.parametrize("target", range(len(LABELS)))
def test_each_label_moves_the_loss(text, target):
    """No class and no row is ignored: another target is another loss, and a gradient that pulls towards it."""
    model, batch = classifier(), pack(rows([5, 9, 3, 7]))
    logits_BC = model(*tensors_of(batch, "cpu")).detach().requires_grad_()
    targets_B = torch.tensor([0, 1, 2, 0])
    losses = []
    for other in range(len(LABELS)):
        targets_B[text] = other
        losses.append(cross_entropy(logits_BC, targets_B).item())
    assert len({round(loss, 6) for loss in losses}) == len(LABELS)
    targets_B[text] = target
    (gradient_BC,) = torch.autograd.grad(cross_entropy(logits_BC, targets_B), logits_BC)
    assert (gradient_BC[text] < 0).tolist() == [c == target for c in range(len(LABELS))]


def test_every_weight_has_a_part_in_the_loss():
    model, batch = classifier(dropout=0.0).train(), pack(rows([5, 9, 3, 7], targets=[0, 1, 2, 0]))
    cross_entropy(model(*tensors_of(batch, "cpu")), torch.as_tensor(batch.targets_B).long()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


# -- decode and score -------------------------------------------------------------------------------------------------


def test_decode_names_the_most_probable():
    found = classify.decode([0.2, 0.5, 0.3], LABELS, truncated=True)
    assert (found.label, found.probabilities, found.truncated, found.error) == ("fine", (0.2, 0.5, 0.3), True, None)


@pytest.mark.parametrize(
    ("probabilities", "label"), [((0.4, 0.4, 0.2), "dull"), ((0.2, 0.4, 0.4), "fine"), ((1 / 3,) * 3, "dull")]
)
def test_of_equal_classes_the_first_wins(probabilities, label):
    assert classify.decode(probabilities, LABELS).label == label


def test_score_counts_right_answers():
    found = classify.score(np.array([0, 1, 2, 2], np.int32), np.eye(3)[[0, 1, 2, 0]] * 0.9 + 0.1 / 3, LABELS)
    assert found["accuracy"]["value"] == 0.75


@needs_native
@pytest.mark.parametrize("classes", [2, 5, 150])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_in_cpp_it_is_the_model_and_a_text_has_the_same_bits_in_any_company(classes, precision):
    model = classifier(classes=classes, hidden=64, intermediate=128).eval()
    texts = rows([*range(2, 60)])
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("encoder."): array for name, array in state.items()}
    ours = NativeClassifier(model.encoder.config, encoder, state, precision)
    wanted, whole = outputs(model, texts, "cpu"), ours.logits(texts)
    assert whole.shape == (58, classes)
    error = np.abs(whole - wanted)
    assert error.max() < 1e-4 if precision == "fp32" else error.mean() < 0.1 * wanted.std()
    for first, last in ((0, 1), (3, 4), (31, 33), (40, 58)):
        assert np.array_equal(ours.logits(texts[first:last]), whole[first:last])
