"""What an update is made of: fp32 weights behind a bf16 model, learning rates by depth, the schedule.

The optimizer itself is torch's fused AdamW (Loshchilov & Hutter 2019); train.py drives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from filbert.config import TrainConfig


class Masters:
    """The fp32 weights that the optimizer changes; the model works on a copy in `dtype`, made anew after each step.

    Without them an update of 1e-4 would vanish: bf16 has 8 bits, so near 1 its numbers stand 0.004 apart.
    Modules named in `keep` (heads) stay fp32 in the model.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, keep: Sequence[str] = ()) -> None:
        self.model = model
        self.weights = {name: p.detach().clone().float() for name, p in model.named_parameters() if p.requires_grad}
        self.frozen = {name: p.detach().clone().float() for name, p in model.named_parameters() if not p.requires_grad}
        for name, part in model.named_children():
            if name not in keep:
                part.to(dtype)
        self.working = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def take_gradients(self, scale: float) -> None:
        """Move the model's gradients to the masters, times `scale`."""
        for name, p in self.working.items():
            grad, p.grad = p.grad, None
            self.weights[name].grad = None if grad is None else grad.float().mul_(scale)

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy the masters into the model."""
        for name, p in self.working.items():
            p.copy_(self.weights[name])

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Take weights from a checkpoint."""
        for name, master in self.weights.items():
            master.copy_(weights[name])
        self.give_back()

    def to_fp32(self) -> None:
        """End mixed work: the model itself in fp32, with the masters' numbers."""
        self.model.float()
        self.give_back()
        for name, p in self.model.named_parameters():
            if name in self.frozen:
                p.data.copy_(self.frozen[name])


def parameter_groups(masters: Masters, layers: int, config: TrainConfig, rate: float) -> list[dict[str, Any]]:
    """Group weights by depth and decay: the rate falls by `layer_decay` a layer from the top; vectors do not decay."""
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, weight in masters.weights.items():
        depth = layers + 1
        if ".embeddings." in f".{name}":
            depth = 0
        elif ".layers." in f".{name}":
            depth = int(name.split("layers.")[1].split(".")[0]) + 1
        groups.setdefault((depth, weight.ndim > 1), []).append(weight)
    return [
        {
            "params": weights,
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak": rate * config.layer_decay ** (layers + 1 - depth),
        }
        for (depth, decays), weights in sorted(groups.items())
    ]


def default_learning_rate(hidden: int, *, random_start: bool = False) -> float:
    """Peak learning rate by width: 3e-5 at 768, as published for BERT, 1e-4 at 384; higher from a random start."""
    return 5e-4 if random_start else min(1e-4, 1e-4 * (384 / hidden) ** 1.75)


def schedule(progress: float, warmup: float) -> float:
    """Return the factor on the learning rate: a straight rise over `warmup`, then a straight fall to 0.

    >>> [round(schedule(p, 0.1), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return max(0.0, (1 - progress) / (1 - warmup))
