"""The optimizer: fp32 master weights of a bf16 model, AdamW and Muon, learning rates by depth, the schedule.

AdamW (Loshchilov & Hutter 2019) is torch's, or on a CPU its equal in adamw.py, which goes through memory once; Muon
(muon.py), where asked for, updates the matrices inside the layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from filbert.config import RunConfig
from filbert.model.device import working_dtype
from filbert.training.adamw import FusedAdamW, able
from filbert.training.muon import Muon

HIGHEST = 1e-3  # peak learning rate of a head


class MasterWeights:
    """A copy of the model's weights in fp32, which the optimizer updates; the model itself is turned to `dtype`.

    Without it an update of 1e-4 would vanish: bf16 has 8 significant bits, so near 1 its numbers are 0.004 apart.
    Modules named in `keep` (heads) stay fp32 in the model. `weights` are the masters, `working` the model's own
    parameters under the same names; both have gradients: the model's are made by `backward`, and `collect_gradients`
    adds them to the masters'.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, keep: Sequence[str] = ()) -> None:
        self.model = model
        self.weights = {name: p.detach().clone().float() for name, p in model.named_parameters() if p.requires_grad}
        self.frozen = {name: p.detach().clone().float() for name, p in model.named_parameters() if not p.requires_grad}
        for name, part in model.named_children():
            if name not in keep:
                part.to(dtype)
        self.working = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def zero_grad(self) -> None:
        """Drop all gradients, those of the masters and of the model."""
        for weight in (*self.weights.values(), *self.working.values()):
            weight.grad = None

    def collect_gradients(self, names: Iterable[str] | None = None) -> None:
        """Move the model's gradients (all, or those named) to the masters, added up in fp32: bf16 loses small ones."""
        for name in self.weights if names is None else names:
            p = self.working[name]
            grad, p.grad = p.grad, None
            if grad is None:
                continue
            weight = self.weights[name]
            weight.grad = grad.float() if weight.grad is None else weight.grad.add_(grad)

    def gradients(self) -> list[Tensor]:
        """Return the masters' gradients in a fixed order, zeros where one has none, without those not trained now."""
        self.collect_gradients()
        found = []
        for name, weight in self.weights.items():
            if self.working[name].requires_grad:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                found.append(weight.grad)
        return found

    @torch.no_grad()
    def copy_to_model(self, names: Iterable[str] | None = None) -> None:
        """Copy the masters, all or those named, into the model, rounded to its precision."""
        for name in self.weights if names is None else names:
            self.working[name].copy_(self.weights[name])

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Set masters and model to the weights of a checkpoint."""
        for name, master in self.weights.items():
            master.copy_(weights[name])
        self.copy_to_model()

    def to_fp32(self) -> None:
        """Turn the model back to fp32, with the masters' exact numbers."""
        self.model.float()
        self.copy_to_model()
        for name, p in self.model.named_parameters():
            if name in self.frozen:
                p.data.copy_(self.frozen[name])


def parameter_groups(
    masters: MasterWeights, layers: int, config: RunConfig, rate: float, head_rates: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Return torch's parameter groups: weights with the same peak learning rate and weight decay together.

    The peak rate of layer i is `rate` · `layer_decay`^(number of layers above it); biases and norms have no weight
    decay. A module named in `head_rates` has the rate given there, and its group is marked `head`. With Muon the groups
    of matrices inside the layers are marked `muon`.
    """
    rates = head_rates or {}
    groups: dict[tuple[int, bool, bool, bool, float], list[Tensor]] = {}
    for name, weight in masters.weights.items():
        depth = layers + 1
        if ".embeddings." in f".{name}":
            depth = 0
        elif ".layers." in f".{name}":
            depth = int(name.split("layers.")[1].split(".")[0]) + 1
        matrix = weight.ndim > 1
        inside = config.optimizer == "muon" and matrix and 0 < depth <= layers
        part = name.split(".")[0]
        peak = rates.get(part, rate * config.layer_decay ** (layers + 1 - depth))
        groups.setdefault((depth, matrix, inside, part in rates, peak), []).append(weight)
    return [
        {
            "params": weights,
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak": peak,
            "muon": inside,
            "head": head,
        }
        for (_, decays, inside, head, peak), weights in sorted(groups.items(), key=lambda group: group[0])
    ]


class Optimizer:
    """AdamW for all weights; or Muon for the matrices inside the layers together with AdamW for the rest.

    Both go by one learning rate: Muon's step is scaled to the size of an AdamW step (Liu et al. 2025). AdamW is the C++
    one (adamw.py) where it was built and the weights are on a CPU, unless `fused` is False; else torch's. `rows` gives
    the rows of an embedding table that the run uses: the C++ AdamW updates these alone.
    """

    STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # keys of torch's optimizer state

    def __init__(
        self,
        masters: MasterWeights,
        groups: Sequence[dict[str, Any]],
        rate: float,
        rows: Mapping[str, Tensor] | None = None,
        *,
        fused: bool = True,
    ) -> None:
        self._masters = masters
        self._parts: list[torch.optim.Optimizer] = []
        self._fused: FusedAdamW | None = None
        adamw = [group for group in groups if not group["muon"]]
        muon = [group for group in groups if group["muon"]]
        if adamw and fused and able((*masters.weights.values(), *masters.working.values())):
            copies = {id(weight): masters.working[name] for name, weight in masters.weights.items()}
            named = {id(masters.weights[name]): found for name, found in (rows or {}).items()}
            self._fused = FusedAdamW(adamw, rate, copies, named)
            self._parts.append(self._fused)
        elif adamw:
            self._parts.append(torch.optim.AdamW(adamw, lr=rate, fused=True))
        if muon:
            self._parts.append(Muon(muon, rate, working_dtype("auto", muon[0]["params"][0].device.type)))
        self.groups = [group for part in self._parts for group in part.param_groups]
        fused_ids = {id(weight) for group in adamw for weight in group["params"]} if self._fused else set()
        self._unfused = [name for name, weight in masters.weights.items() if id(weight) not in fused_ids]

    @property
    def rate(self) -> float:
        """The largest learning rate now; heads with one of their own count while they are trained alone."""
        rates = {head: [float(group["lr"]) for group in self.groups if group["head"] == head] for head in (False, True)}
        return max(rates[False], default=0.0) or max(rates[True], default=0.0)

    def norm(self) -> float:
        """Return the L2 norm of all gradients together."""
        if self._fused is not None:
            return math.sqrt(self._fused.squares(self._masters.weights.values()))
        self._masters.collect_gradients()
        found = [weight.grad for weight in self._masters.weights.values() if weight.grad is not None]
        return float(torch.nn.utils.get_total_norm(found))

    @torch.no_grad()
    def step(self, factor: float, scale: float, head_factor: float | None = None) -> None:
        """Update masters and model by the gradients multiplied by `scale`, with learning rate `factor` · peak.

        Groups marked `head` have the learning rate `head_factor` · peak, where that is given.
        """
        for group in self.groups:
            group["lr"] = group["peak"] * (head_factor if head_factor is not None and group["head"] else factor)
        if self._fused is not None:
            self._fused.step(scale)
        self._masters.collect_gradients(self._unfused)
        for name in self._unfused:
            if (gradient := self._masters.weights[name].grad) is not None:
                gradient.mul_(scale)
        for part in self._parts:
            if part is not self._fused:
                part.step()
        self._masters.copy_to_model(self._unfused)

    def state(self, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the optimizer state of the named weights, as `KEY.NAME` → tensor."""
        states = {
            name: part.state[weight] for part in self._parts for name, weight in names.items() if weight in part.state
        }
        return {f"{key}.{name}": states[name][key] for name in states for key in self.STATE if key in states[name]}

    def load(self, names: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
        """Set the optimizer state to what `state` returned."""
        for part in self._parts:
            mine = {id(weight) for group in part.param_groups for weight in group["params"]}
            for name, weight in names.items():
                keys = [key for key in self.STATE if f"{key}.{name}" in tensors]
                if keys and id(weight) in mine:
                    part.state[weight] = {key: tensors[f"{key}.{name}"].to(weight.device) for key in keys}


def default_learning_rate(hidden: int, *, random_start: bool = False, optimizer: str = "adamw") -> float:
    """Peak learning rate of fine-tuning by width: 3e-5 at 768, as published for BERT, 1e-4 at 384, 4e-4 at 256.

    AdamW from random weights: 5e-4. Muon: 1e-3, less where the encoder is wider than 256.
    """
    if optimizer == "muon":
        return pretraining_rate(hidden, random_start=True)
    return 5e-4 if random_start else min(5e-4, 1e-4 * (384 / hidden) ** (1.75 if hidden >= 384 else 3.42))


def head_rate(rate: float, factor: float) -> float:
    """Peak learning rate of a new head on a trained encoder: so many times the encoder's, at most 1e-3, never less.

    >>> head_rate(1e-4, 10), head_rate(2e-5, 10), head_rate(2e-3, 10)
    (0.001, 0.0002, 0.002)
    """
    return max(rate, min(HIGHEST, rate * factor))


def pretraining_rate(hidden: int, *, random_start: bool) -> float:
    """Peak learning rate of pre-training by width: 1e-3 up to 256, then in inverse proportion; a tenth on a base model.

    >>> pretraining_rate(256, random_start=True), pretraining_rate(256, random_start=False)
    (0.001, 0.0001)
    """
    return min(1e-3, 1e-3 * 256 / hidden) * (1.0 if random_start else 0.1)


def schedule(progress: float, warmup: float, decay: float = 1.0) -> float:
    """Return the factor on the peak learning rate: linear warmup, constant, linear decay to 0 over the share `decay`.

    With `decay` 1 the decay begins right after the warmup; with less there is a constant part (Hu et al. 2024).

    >>> [round(schedule(p, 0.1), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    >>> [round(schedule(p, 0.1, 0.2), 2) for p in (0.05, 0.5, 0.8, 0.9, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return min(1.0, max(0.0, (1 - progress) / min(decay, 1 - warmup)))
