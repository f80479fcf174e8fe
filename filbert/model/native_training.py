"""What a bf16 model does in C++ on a CPU (native/attention.cpp, dropout.cpp): twins of attention.py and encoder.py.

Torch's batched products, which stay for other processors and for fp32, pad texts of like length to one shape, copy
heads apart and keep the softmax for the way back. Here a head of a text is laid out in the cache, and of a query one
number is kept. Dropout and the sum after it take one pass through memory instead of five.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from filbert.native import library

INTERFACE = 2  # what `filbert_training_interface` says
WIDTH = 32  # a head's is a multiple of it
VECTOR = 16  # a tensor's numbers, for dropout, are a multiple of it


class Texts(Protocol):
    """Where each text begins and ends: `Spans` of attention.py."""

    starts: npt.NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """T: rows that belong to a text."""


@cache
def native() -> ctypes.CDLL | None:
    """Return the C++ part, or None where there is none."""
    return library("_training", "filbert_training_interface", INTERFACE)


def able(x: Tensor) -> bool:
    """Say whether the C++ part can work on such numbers, here."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and native() is not None


def can_attend(qkv_T3D: Tensor, heads: int) -> bool:
    """Say whether it can attend with heads of that width."""
    return qkv_T3D.shape[-1] % (heads * WIDTH) == 0 and able(qkv_T3D)


def can_drop(x: Tensor, residual: Tensor | None) -> bool:
    """Say whether it can drop out of so many numbers and add them to such ones."""
    alike = residual is None or (residual.shape == x.shape and able(residual))
    return alike and x.numel() % VECTOR == 0 and able(x)


class Attend(torch.autograd.Function):
    """Attention in C++; for the way back it keeps the log-sum-exp of each query's scores."""

    @staticmethod
    def forward(ctx: Any, qkv_T3D: Tensor, spans: Texts, heads: int) -> Tensor:
        """qkv_T3D → context_TD."""
        qkv_T3D = qkv_T3D.contiguous()
        context_TD = torch.empty_like(qkv_T3D[:, 0])
        context_TD[spans.tokens :] = 0
        lse_TH = (
            torch.empty(spans.tokens, heads, dtype=torch.float32, device="cpu") if ctx.needs_input_grad[0] else None
        )
        _call("filbert_attend", qkv_T3D, spans, heads, outputs=(context_TD, lse_TH))
        if lse_TH is not None:
            ctx.save_for_backward(qkv_T3D, lse_TH)
            ctx.spans, ctx.heads = spans, heads
        return context_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """grad_TD → grad_T3D."""
        qkv_T3D, lse_TH = ctx.saved_tensors
        grad_TD = gradients[0].contiguous()
        grad_T3D = torch.empty_like(qkv_T3D)
        grad_T3D[ctx.spans.tokens :] = 0
        _call("filbert_attend_back", qkv_T3D, ctx.spans, ctx.heads, before=(grad_TD, lse_TH), outputs=(grad_T3D,))
        return grad_T3D, None, None


def _call(
    name: str,
    qkv_T3D: Tensor,
    spans: Texts,
    heads: int,
    *,
    before: tuple[Tensor, ...] = (),
    outputs: tuple[Tensor | None, ...],
) -> None:
    found, starts = native(), np.ascontiguousarray(spans.starts, dtype=np.int64)
    assert found is not None
    assert starts[0] >= 0
    assert starts[-1] <= len(qkv_T3D)
    done = getattr(found, name)(
        *(ctypes.c_void_p(x.data_ptr()) for x in (qkv_T3D, *before)),
        ctypes.c_void_p(starts.ctypes.data),
        len(starts) - 1,
        heads,
        qkv_T3D.shape[-1] // heads,
        torch.get_num_threads(),
        *(None if x is None else ctypes.c_void_p(x.data_ptr()) for x in outputs),
    )
    if not done:
        raise MemoryError("no memory for attention")


class Drop(torch.autograd.Function):
    """Dropout in C++, and the sum with `residual`: x stays, scaled, where its drawn byte is at least `dropped`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, drawn: Tensor, dropped: int) -> Tensor:
        """Return residual + dropped(x); without a residual, dropped(x)."""
        ctx.save_for_backward(drawn)
        ctx.dropped, ctx.added = dropped, residual is not None
        return _drop(x, residual, drawn, dropped)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """Return the gradients of x and of the residual."""
        (drawn,) = ctx.saved_tensors
        return _drop(gradients[0], None, drawn, ctx.dropped), gradients[0] if ctx.added else None, None, None


def _drop(x: Tensor, residual: Tensor | None, drawn: Tensor, dropped: int) -> Tensor:
    found, x = native(), x.contiguous()
    residual = None if residual is None else residual.contiguous()
    assert found is not None
    out = torch.empty_like(x)
    found.filbert_drop(
        *(None if y is None else ctypes.c_void_p(y.data_ptr()) for y in (x, residual, drawn)),
        dropped,
        ctypes.c_float(256 / (256 - dropped)),
        ctypes.c_int64(x.numel()),
        torch.get_num_threads(),
        ctypes.c_void_p(out.data_ptr()),
    )
    return out
