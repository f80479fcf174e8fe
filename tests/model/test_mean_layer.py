"""The layer that begins as the mean of a text's vectors."""

from __future__ import annotations

import pytest
import torch
from small import encoder, rows

from filbert.model.head import Head
from filbert.model.mean_layer import SCALE, pass_on, pool_by_mean
from filbert.model.network import Network
from filbert.model.packing import pack
from filbert.model.run import tensors_of

TEXTS = tensors_of(pack(rows([3, 5, 8, 40])), "cpu")


@torch.no_grad()
def test_it_begins_as_the_mean_of_each_text_beside_its_cls():
    plain, more = encoder(), encoder()
    pool_by_mean(more, torch.Generator().manual_seed(0))
    assert (more.config, len(more.layers)) == (plain.config, 2)
    del plain.layers[-1]
    hidden_TD, spans = plain(*TEXTS), TEXTS[3]
    wanted_BD = torch.stack([hidden_TD[first] + SCALE * hidden_TD[first:last].mean(0) for first, last in spans.bounds])
    wanted_BD = torch.nn.functional.layer_norm(wanted_BD, (8,))
    for found_BD in (more(*TEXTS, first_only=True), more(*TEXTS)[spans.first_B]):
        torch.testing.assert_close(found_BD, wanted_BD, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_pooler_begins_as_the_identity_before_its_tanh():
    network = Network(encoder(), Head(outputs=3, last=""), torch.Generator().manual_seed(0)).eval()
    pass_on(network.pooler)
    torch.testing.assert_close(network(*TEXTS), torch.tanh(network.encoder(*TEXTS, first_only=True)))


def test_all_of_it_can_learn():
    more = encoder()
    pool_by_mean(more, torch.Generator().manual_seed(0))
    network = Network(more, Head(outputs=3), torch.Generator().manual_seed(0)).eval()
    steps = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):  # in the first step keys and the way up wait for queries and the way down
        steps.zero_grad()
        network(*TEXTS).square().sum().backward()
        steps.step()
    layer = more.layers[-1]
    width = more.config.hidden
    query, key, value = layer.qkv.weight.grad.split(width)
    for part in (query, key, value, layer.out.weight.grad, layer.up.weight.grad, layer.down.weight.grad):
        assert part.abs().max() > 0


def test_the_same_seed_draws_the_same_layer():
    first, again, other = (encoder() for _ in range(3))
    for each, seed in ((first, 0), (again, 0), (other, 1)):
        pool_by_mean(each, torch.Generator().manual_seed(seed))
    assert torch.equal(first.layers[-1].up.weight, again.layers[-1].up.weight)
    assert not torch.equal(first.layers[-1].up.weight, other.layers[-1].up.weight)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_as_in_the_rest(training):
    more = encoder().train(training)
    pool_by_mean(more)
    assert more.layers[-1].dropout.training == training
