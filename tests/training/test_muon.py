"""Muon against torch's, which multiplies in bf16 whatever the processor."""

from __future__ import annotations

import pytest
import torch

from filbert.training.muon import ADAMW_RMS, Muon, orthogonal

SHAPES = [(24, 24), (24, 72), (96, 24)]


def trained(kind, **settings) -> list[torch.Tensor]:
    """Take six steps with drawn gradients, of a few directions far stronger than the others, and return the weights."""
    generator = torch.Generator().manual_seed(3)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1) for shape in SHAPES]
    idle = torch.nn.Parameter(torch.ones(4, 4))  # never gets a gradient
    optimizer = kind([{"params": [*weights, idle], "weight_decay": 0.1}], lr=1e-2, **settings)
    for _ in range(6):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator) * torch.logspace(0, -2, weight.shape[1])
        optimizer.step()
    assert torch.equal(idle, torch.ones(4, 4))
    return [weight.detach() for weight in weights]


def test_in_bf16_it_is_the_muon_of_torch_to_the_bit():
    ours = trained(Muon, dtype=torch.bfloat16)
    theirs = trained(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_in_fp32_it_is_the_same_but_for_rounding():
    step = 1e-2 * ADAMW_RMS
    for mine, other in zip(trained(Muon, dtype=torch.float32), trained(Muon, dtype=torch.bfloat16), strict=True):
        assert not torch.equal(mine, other)
        assert (mine - other).norm() < 0.05 * step * mine.numel() ** 0.5  # of six steps, each of this size


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_their_vectors_stay(shape):
    matrix_MN = torch.randn(shape, generator=torch.Generator().manual_seed(4)) * torch.logspace(0, -1, shape[1])
    found_MN = orthogonal(matrix_MN, torch.float32)
    u_MM, s_M, v_MN = torch.linalg.svd(matrix_MN, full_matrices=False)
    turned_MM = u_MM.T @ found_MN @ v_MN.T  # diagonal, where the vectors are the same
    strong = s_M > 0.02 * s_M.norm()
    assert turned_MM.diagonal()[strong].min() > 0.6
    assert turned_MM.diagonal().max() < 1.3
    assert (turned_MM - turned_MM.diagonal().diag()).abs().max() < 1e-4


def test_a_matrix_of_zeros_stays():
    assert torch.equal(orthogonal(torch.zeros(3, 5), torch.float32), torch.zeros(3, 5))
