"""AdamW in C++ against torch's: the same weights, moments and copies, for any precision, rows and number of threads."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from torch import nn

from filbert.config import TrainConfig
from filbert.training import adamw
from filbert.training.adamw import FusedAdamW, able
from filbert.training.optimizer import MasterWeights, Optimizer, parameter_groups

needs_native = pytest.mark.skipif(adamw.native() is None, reason="the C++ part was not built here")
STEPS = 12


class Toy(nn.Module):
    """A table, layers and a head: every kind of weight that `parameter_groups` tells apart."""

    def __init__(self, rows: int = 300) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.encoder = nn.Module()
        self.encoder.embeddings = nn.Embedding(rows, 24)
        self.encoder.layers = nn.ModuleList([nn.Linear(24, 257), nn.Linear(257, 24)])
        self.head = nn.Linear(24, 3)
        self.idle = nn.Linear(3, 3)  # never gets a gradient
        for p in self.parameters():
            p.data.normal_(0, 0.1, generator=generator)


def trained(*, fused: bool, dtype: torch.dtype, rows=None, config=None):
    """Take some steps with drawn gradients → the model, its masters, its optimizer and the norms."""
    model, generator = Toy(), torch.Generator().manual_seed(2)
    masters = MasterWeights(model, dtype, keep=("head",))
    groups = parameter_groups(masters, 2, config or TrainConfig(weight_decay=0.1), 3e-3)
    optimizer = Optimizer(masters, groups, 3e-3, rows, fused=fused)
    norms = []
    for n in range(STEPS):
        masters.zero_grad()
        for _ in range(1 + n % 2):  # one batch, or two that are added up in fp32
            for name, p in model.named_parameters():
                if "idle" in name:
                    continue
                p.grad = torch.randn(p.shape, generator=generator).mul_(10.0 ** (n % 3 - 1)).to(p.dtype)
                if rows and name in rows:
                    p.grad[~torch.isin(torch.arange(len(p)), rows[name])] = 0
            if n % 2:
                masters.collect_gradients()
        norms.append(optimizer.norm())
        optimizer.step(1 - n / STEPS, 0.25)
    return model, masters, optimizer, norms


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_is_the_adamw_of_torch(dtype, optimizer):
    config = TrainConfig(weight_decay=0.1, layer_decay=0.7, optimizer=optimizer)
    ours, theirs = (trained(fused=fused, dtype=dtype, config=config) for fused in (True, False))
    assert ours[2]._fused is not None
    assert theirs[2]._fused is None
    assert ours[3] == pytest.approx(theirs[3], rel=1e-5)
    for name, weight in ours[1].weights.items():
        torch.testing.assert_close(weight, theirs[1].weights[name], rtol=2e-5, atol=2e-6)
        assert torch.equal(ours[0].get_parameter(name), weight.to(ours[0].get_parameter(name).dtype)), name
    mine, other = (side[2].state(side[1].weights) for side in (ours, theirs))
    assert mine.keys() == other.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], other[name], rtol=1e-4, atol=1e-6)


@needs_native
def test_rows_that_are_not_named_stay_and_the_others_are_as_ever():
    name, named = "encoder.embeddings.weight", torch.arange(5, 300, 7)
    part = trained(fused=True, dtype=torch.bfloat16, rows={name: named})
    whole = trained(fused=False, dtype=torch.bfloat16, rows={name: named})
    torch.testing.assert_close(part[1].weights[name][named], whole[1].weights[name][named], rtol=2e-5, atol=2e-6)
    others = ~torch.isin(torch.arange(300), named)
    assert torch.equal(part[1].weights[name][others], Toy().encoder.embeddings.weight.detach()[others])
    assert part[3] == pytest.approx(whole[3], rel=1e-5)


@needs_native
def test_the_number_of_threads_changes_nothing():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            _, masters, _, norms = trained(fused=True, dtype=torch.bfloat16)
            found.append((masters.weights, norms))
    finally:
        torch.set_num_threads(before)
    for weights, norms in found[1:]:
        assert norms == found[0][1]
        assert all(torch.equal(weights[name], found[0][0][name]) for name in weights)


@needs_native
def test_the_state_goes_from_one_to_the_other():
    """A run that began with torch's optimizer goes on with this one."""
    _, masters, optimizer, _ = trained(fused=False, dtype=torch.float32)
    state = optimizer.state(masters.weights)
    groups = parameter_groups(masters, 2, TrainConfig(), 3e-3)
    other = Optimizer(masters, groups, 3e-3)
    other.load(masters.weights, state)
    assert other.state(masters.weights).keys() == state.keys()
    for p in masters.model.parameters():
        p.grad = torch.ones_like(p)
    other.step(1.0, 1.0)
    assert {float(value) for name, value in other.state(masters.weights).items() if name.startswith("step.")} == {
        1.0,
        STEPS + 1.0,
    }


@needs_native
def test_what_is_no_number_is_seen_in_the_norm():
    weight, copy = torch.ones(40), torch.ones(40, dtype=torch.bfloat16)
    copy.grad = torch.ones_like(copy)
    optimizer = FusedAdamW([{"params": [weight]}], 1e-3, {id(weight): copy}, {})
    assert optimizer.squares([weight]) == 40
    copy.grad[17] = math.nan
    assert math.isnan(optimizer.squares([weight]))


def test_without_the_part_torch_does_it(monkeypatch):
    monkeypatch.setattr(adamw, "native", lambda: None)
    assert not able([torch.ones(3)])
    _, _, optimizer, _ = trained(fused=True, dtype=torch.bfloat16)
    assert optimizer._fused is None


def test_the_part_is_there_where_there_is_a_compiler():
    if not shutil.which("g++"):
        pytest.skip("no compiler")
    assert adamw.native() is not None
