"""Packed attention and its gradient in bf16 on a CPU, in C++ (native/attention.cpp): a twin of attention.py's own.

Torch's batched products, which stay for other processors and for fp32, pad texts of like length to one shape, copy
heads apart and keep the softmax for the way back; here nothing is padded, copied or kept.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from filbert.native import library

INTERFACE = 1  # what `filbert_attention_interface` says
WIDTH = 32  # a head's width is a multiple of it


class Texts(Protocol):
    """Where each text begins and ends: `Spans` of attention.py."""

    starts: npt.NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """T: rows that belong to a text."""


@cache
def native() -> ctypes.CDLL | None:
    """Return the C++ part, or None where there is none."""
    return library("_attention", "filbert_attention_interface", INTERFACE)


def able(qkv_T3D: Tensor, heads: int) -> bool:
    """Say whether the C++ part can attend over such numbers, here."""
    fit = qkv_T3D.device.type == "cpu" and qkv_T3D.dtype == torch.bfloat16
    return fit and qkv_T3D.shape[-1] % (heads * WIDTH) == 0 and native() is not None


class Native(torch.autograd.Function):
    """Attention in C++; for the way back it keeps the logarithm of each query's sum of weights."""

    @staticmethod
    def forward(ctx: Any, qkv_T3D: Tensor, spans: Texts, heads: int) -> Tensor:
        """qkv_T3D → context_TD."""
        qkv_T3D = qkv_T3D.contiguous()
        context_TD = torch.empty_like(qkv_T3D[:, 0])
        context_TD[spans.tokens :] = 0
        logs_TH = torch.empty(spans.tokens, heads) if ctx.needs_input_grad[0] else None
        _call("filbert_attend", qkv_T3D, spans, heads, pointers=(context_TD, logs_TH))
        if logs_TH is not None:
            ctx.save_for_backward(qkv_T3D, logs_TH)
            ctx.spans, ctx.heads = spans, heads
        return context_TD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """grad_TD → grad_T3D."""
        qkv_T3D, logs_TH = ctx.saved_tensors
        grad_TD = gradients[0].contiguous()
        grad_T3D = torch.empty_like(qkv_T3D)
        grad_T3D[ctx.spans.tokens :] = 0
        _call("filbert_attend_back", qkv_T3D, ctx.spans, ctx.heads, before=(grad_TD, logs_TH), pointers=(grad_T3D,))
        return grad_T3D, None, None


def _call(
    name: str,
    qkv_T3D: Tensor,
    spans: Texts,
    heads: int,
    *,
    before: tuple[Tensor, ...] = (),
    pointers: tuple[Tensor | None, ...],
) -> None:
    found, starts = native(), spans.starts
    assert found is not None
    done = getattr(found, name)(
        *(ctypes.c_void_p(x.data_ptr()) for x in (qkv_T3D, *before)),
        ctypes.c_void_p(starts.ctypes.data),
        len(starts) - 1,
        heads,
        qkv_T3D.shape[-1] // heads,
        torch.get_num_threads(),
        *(None if x is None else ctypes.c_void_p(x.data_ptr()) for x in pointers),
    )
    if not done:
        raise MemoryError("no memory for attention")
