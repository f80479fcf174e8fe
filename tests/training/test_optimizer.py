"""Master weights keep what bf16 loses; parameter groups have the rate of their depth."""

from __future__ import annotations

import pytest
import torch
from loops import Job
from small import classifier, same_weights
from torch import nn

from filbert.config import TrainConfig
from filbert.model.encoder import sinusoids
from filbert.training.optimizer import MasterWeights, Optimizer, parameter_groups


def test_master_weights_keep_what_bf16_loses():
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.data.fill_(1.0)
    masters = MasterWeights(model, torch.bfloat16)
    assert model[0].weight.dtype == torch.bfloat16
    for _ in range(100):
        masters.weights["0.weight"].add_(1e-4)
        masters.copy_to_model()
    assert masters.weights["0.weight"].mean().item() == pytest.approx(1.01, abs=1e-5)
    assert model[0].weight.float().mean().item() == pytest.approx(1.01, abs=0.004)
    assert (model[0].weight != 1).all()
    without = torch.ones(4, dtype=torch.bfloat16)
    for _ in range(100):
        without.add_(1e-4)
    assert (without == 1).all()
    masters.to_fp32()
    assert torch.equal(model[0].weight, masters.weights["0.weight"])
    assert model[0].weight.dtype == torch.float32


def test_master_weights_keep_heads_in_fp32_and_take_gradients():
    job = Job()
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    masters = MasterWeights(job.model, torch.bfloat16, keep=("pooler", "last"))
    assert {p.dtype for p in job.model.encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in (*job.model.pooler.parameters(), *job.model.last.parameters())} == {torch.float32}
    for p in job.model.parameters():
        p.grad = torch.ones_like(p)
    masters.collect_gradients()
    assert all((weight.grad == 1).all() and weight.grad.dtype == torch.float32 for weight in masters.weights.values())
    assert all(p.grad is None for p in job.model.parameters())
    masters.to_fp32()
    assert same_weights(job.model.state_dict(), before)


def test_master_weights_leave_fixed_positions_exact():
    """The sinusoidal table is not trained, but turned to bf16 with the rest: it must come back exactly."""
    model = classifier(position="sinusoidal")
    model.encoder.embeddings.position.weight.data.copy_(sinusoids(64, 8))
    MasterWeights(model, torch.bfloat16, keep=("pooler", "last")).to_fp32()
    assert torch.equal(model.encoder.embeddings.position.weight, sinusoids(64, 8))


def test_parameter_groups_by_depth_and_decay():
    masters = MasterWeights(Job().model, torch.float32)
    config = TrainConfig(layer_decay=0.5, weight_decay=0.1)
    peak, decay = {}, {}
    names = {id(weight): name for name, weight in masters.weights.items()}
    for group in parameter_groups(masters, 2, config, 1.0):
        for weight in group["params"]:
            peak[names[id(weight)]], decay[names[id(weight)]] = group["peak"], group["weight_decay"]
    assert peak.keys() == masters.weights.keys()
    for name in peak:
        expected = 1.0
        if "embeddings" in name:
            expected = 0.125
        elif "layers.0" in name:
            expected = 0.25
        elif "layers.1" in name:
            expected = 0.5
        assert peak[name] == expected, name
        assert decay[name] == (0.0 if "norm" in name or name.endswith("bias") else 0.1), name


def test_a_part_can_have_a_rate_of_its_own():
    masters = MasterWeights(Job().model, torch.float32)
    names = {id(weight): name for name, weight in masters.weights.items()}
    groups = parameter_groups(masters, 2, TrainConfig(), 2e-5, {"last": 2e-4})
    peaks = {names[id(weight)]: group["peak"] for group in groups for weight in group["params"]}
    assert {name for name, peak in peaks.items() if peak == 2e-4} == {
        "last.weight",
        "last.bias",
    }
    assert {peak for name, peak in peaks.items() if "last" not in name} == {2e-5}


def test_without_layer_decay_every_rate_is_the_peak():
    groups = parameter_groups(MasterWeights(Job().model, torch.float32), 2, TrainConfig(), 2e-5)
    assert {group["peak"] for group in groups} == {2e-5}


def test_the_log_tells_the_rate_of_the_encoder_and_the_head_has_its_own():
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "last": torch.nn.Linear(2, 2)})
    masters = MasterWeights(model, torch.float32)
    optimizer = Optimizer(masters, parameter_groups(masters, 2, TrainConfig(), 1e-4, {"last": 1e-3}), 1e-4)
    for weight in masters.weights.values():
        weight.grad = torch.ones_like(weight)
    before = {name: weight.clone() for name, weight in masters.weights.items()}
    optimizer.step(1.0, 1.0)
    moved = {name: float((weight - before[name]).abs().max()) for name, weight in masters.weights.items()}
    assert optimizer.rate == pytest.approx(1e-4)
    assert moved["encoder.bias"] == pytest.approx(1e-4, rel=1e-3)
    assert moved["last.bias"] == pytest.approx(1e-3, rel=1e-3)
