"""Muon: momentum, made orthogonal, for the matrices inside the layers (Jordan et al. 2024, Liu et al. 2025).

    gradient → momentum → approximately the nearest orthogonal matrix → weight

An orthogonal update has all singular values alike, where a gradient has a few large ones. torch's Muon is the same but
always multiplies in bf16, which a processor without bf16 does fifty times slower than in fp32: a step of mini takes
nine seconds. Here the products are in the dtype that the machine multiplies fast; in bf16 they are torch's to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the polynomial that brings singular values to 0.7–1.2 in …
STEPS = 5  # … so many iterations
ADAMW_RMS = 0.2  # root mean square of an AdamW update, relative to the learning rate


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; its step has the size of AdamW's, so that one learning rate serves both.

    >>> weight = torch.nn.Parameter(torch.eye(2))
    >>> weight.grad = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    >>> Muon([{"params": [weight], "weight_decay": 0.0}], lr=0.1, dtype=torch.float32).step()
    >>> moved = torch.eye(2) - weight.detach()  # alike in both directions, though one has 50 times the gradient
    >>> [round(x, 3) for x in moved.diagonal().tolist()]
    [0.02, 0.019]
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, dtype: torch.dtype) -> None:
        super().__init__(groups, {"lr": lr})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if not (state := self.state[weight]):
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - MOMENTUM)
                update = orthogonal(weight.grad.lerp(mean, MOMENTUM), self._dtype)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * ADAMW_RMS * math.sqrt(max(weight.shape)))


def orthogonal(matrix_MN: Tensor, dtype: torch.dtype) -> Tensor:
    """Return approximately U·Vᵀ of the singular value decomposition U·S·Vᵀ of a matrix, by Newton–Schulz iteration.

    Singular values, but for the smallest, come out between 0.7 and 1.2: as good here, and much cheaper, than exactly 1.
    """
    a, b, c = COEFFICIENTS
    wide = matrix_MN.shape[0] <= matrix_MN.shape[1]
    x_MN = matrix_MN.to(dtype) if wide else matrix_MN.to(dtype).T
    x_MN = x_MN / x_MN.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        square_MM = x_MN @ x_MN.T
        x_MN = torch.addmm(x_MN, torch.addmm(square_MM, square_MM, square_MM, beta=b, alpha=c), x_MN, beta=a)
    return x_MN if wide else x_MN.T
