"""AdamW in one pass through memory: gradient → moments → weight in fp32 → the model's copy.

The C++ part is native/training/adamw.cpp; torch's AdamW, with the copies and scaled gradients around it, is the
readable twin (optimizer.py), and a test compares them. It pays where texts are short: a step of 32 questions of TREC
takes 0.8 of the time, one of IMDb 0.99.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from filbert.native import library

INTERFACE = 1  # what `filbert_adamw_interface` says
KINDS = {torch.float32: 0, torch.bfloat16: 1}


class Weight(ctypes.Structure):
    """The C++ `Weight`, field by field: pointers and numbers for one weight's update."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("grad", "weight", "mean", "square", "copy", "rows")),
        *((name, ctypes.c_int64) for name in ("count", "width")),
        *((name, ctypes.c_int32) for name in ("grad_bf16", "copy_bf16")),
        *((name, ctypes.c_float) for name in ("rate", "decay", "correction1", "correction2")),
    ]


@cache
def native() -> ctypes.CDLL | None:
    """Return the C++ library, or None where it was not built."""
    found = library("_adamw", "filbert_adamw_interface", INTERFACE)
    if found is not None:
        found.filbert_pool.restype = ctypes.c_void_p
        found.filbert_squares.restype = ctypes.c_double
    return found


@cache
def pool(threads: int) -> ctypes.c_void_p:
    """Return this process's C++ thread pool, which lives to its end."""
    made = ctypes.c_void_p(_native().filbert_pool(threads))
    if not made:
        raise MemoryError("no memory for the optimizer")
    return made


def able(tensors: Iterable[Tensor]) -> bool:
    """Say whether the C++ AdamW can update such weights: contiguous fp32 or bf16 on a CPU."""
    fit = all(x.device.type == "cpu" and x.dtype in KINDS and x.is_contiguous() for x in tensors)
    return fit and native() is not None


class FusedAdamW(torch.optim.Optimizer):
    """AdamW for fp32 weights on a CPU that also writes each new weight to the model's copy of it.

    `copies` maps the id of a weight to its copy. The gradient is the weight's own, or else the copy's. `rows` maps the
    id of an embedding table to the rows that can have a gradient: only they are updated, where torch would let the
    others decay.
    """

    def __init__(
        self, groups: list[dict[str, Any]], rate: float, copies: Mapping[int, Tensor], rows: Mapping[int, Tensor]
    ) -> None:
        super().__init__(groups, {"lr": rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01})
        self._copies = copies
        self._rows = {key: found.to(torch.int32).contiguous() for key, found in rows.items()}

    def squares(self, weights: Iterable[Tensor]) -> float:
        """Return the sum of the squares of the weights' gradients."""
        entries, keep = self._entries(weights)
        found = float(_native().filbert_squares(pool(torch.get_num_threads()), entries, len(entries)))
        del keep
        if found < 0:
            raise MemoryError("no memory for the norm of the gradients")
        return found

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:  # type: ignore[override]
        """Update weights and copies by their gradients multiplied by `scale`."""
        for group in self.param_groups:
            for weight in group["params"]:
                if not self.state[weight] and self._gradient(weight) is not None:
                    state = {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
                    self.state[weight].update(step=torch.tensor(0.0), **state)
        groups = self.param_groups
        entries, keep = self._entries([weight for group in groups for weight in group["params"]])
        (beta1, beta2), epsilon = groups[0]["betas"], groups[0]["eps"]
        for entry, (group, weight) in zip(entries, ((g, w) for g in groups for w in g["params"]), strict=True):
            if not entry.count:
                continue
            state = self.state[weight]
            state["step"] += 1
            steps = float(state["step"])
            entry.mean, entry.square = state["exp_avg"].data_ptr(), state["exp_avg_sq"].data_ptr()
            entry.rate, entry.decay = group["lr"], group["lr"] * group["weight_decay"]
            entry.correction1, entry.correction2 = 1 - beta1**steps, 1 - beta2**steps
        constants = (ctypes.c_float(x) for x in (scale, beta1, beta2, epsilon))
        done = _native().filbert_adamw(pool(torch.get_num_threads()), entries, len(entries), *constants)
        del keep
        if not done:
            raise MemoryError("no memory for the optimizer's step")

    def _gradient(self, weight: Tensor) -> Tensor | None:
        return weight.grad if weight.grad is not None else self._copies[id(weight)].grad

    def _entries(self, weights: Iterable[Tensor]) -> tuple[ctypes.Array[Weight], list[Tensor]]:
        """Return the C++ entries, empty ones for weights without a gradient, and the tensors they point to."""
        weights = list(weights)
        entries, keep = (Weight * len(weights))(), []
        for entry, weight in zip(entries, weights, strict=True):
            gradient, copy = self._gradient(weight), self._copies[id(weight)]
            if gradient is None:
                entry.count, entry.width = 0, 1
                continue
            gradient = gradient.contiguous()
            keep.append(gradient)
            entry.grad, entry.grad_bf16 = gradient.data_ptr(), KINDS[gradient.dtype]
            entry.weight, entry.copy, entry.copy_bf16 = weight.data_ptr(), copy.data_ptr(), KINDS[copy.dtype]
            rows = self._rows.get(id(weight))
            entry.count, entry.width = weight.numel(), 1
            if rows is not None:
                entry.rows, entry.count, entry.width = rows.data_ptr(), len(rows), weight.shape[1]
        return entries, keep


def _native() -> ctypes.CDLL:
    found = native()
    assert found is not None
    return found
