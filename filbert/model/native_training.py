"""Training operations in C++ on a CPU: attention, GELU, dropout, LayerNorm and the vocabulary loss, as torch functions.

In bf16 where the processor has AVX-512 with bf16, in fp32 where it has AVX2: the same files, compiled twice. No double
backward. The readable versions are in attention.py, encoder.py and pretraining/network.py.

Torch's batched products, used on other processors, pad texts of similar length to one shape, copy the heads and keep
the softmax for the backward pass. Here (native/training/attention.h) a head of a text stays in the cache, and one
number per query is kept. GELU with bias (gelu.h), dropout, sum and LayerNorm (norm.h) and the loss over the vocabulary
(vocabulary.h) take one pass through memory each, forward and backward; torch takes two to seven.

Shapes: T tokens in the batch, R some rows of them, H heads, D hidden width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from filbert.native import library

INTERFACE = 3  # the number that `filbert_training_interface` returns
WIDTH = 32  # heads must be a multiple of it wide
VECTOR = 16  # rows must be a multiple of it wide, and for dropout the size of the tensor
PARTS = {torch.bfloat16: "_training", torch.float32: "_training_fp32"}  # the C++ library of each dtype

Starts = npt.NDArray[np.int64]  # the start of each text, and the end of the last


@cache
def native(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the C++ library for a dtype, or None where there is none."""
    return library(PARTS[dtype], "filbert_training_interface", INTERFACE) if dtype in PARTS else None


def supported(x: Tensor, *others: Tensor) -> bool:
    """Return whether C++ supports these tensors: on a CPU, of one supported dtype, and without autocast."""
    alike = all(y.device.type == "cpu" and y.dtype == x.dtype for y in (x, *others))
    return alike and native(x.dtype) is not None and not torch.is_autocast_enabled("cpu")


def can_attend(x: Tensor, heads: int, *others: Tensor) -> bool:
    """Return whether C++ supports attention with heads of that width."""
    return x.shape[-1] % (heads * WIDTH) == 0 and supported(x, *others)


def can_drop(x: Tensor) -> bool:
    """Return whether C++ supports dropout on x."""
    return x.numel() % VECTOR == 0 and supported(x)


def can_activate(x: Tensor, bias_F: Tensor | None) -> bool:
    """Return whether C++ supports GELU(linear(x)) with this bias."""
    return bias_F is not None and x.ndim == 2 and len(bias_F) % VECTOR == 0 and supported(x, bias_F)


def kept_scale(dropped: int) -> float:
    """Return the factor of the kept values where bytes below `dropped` drop one."""
    return 256 / (256 - dropped)


def can_add_norm(x: Tensor, residual: Tensor, parameters: Sequence[Tensor | None]) -> bool:
    """Return whether C++ supports the LayerNorm of residual + x + bias; `parameters` are bias, weight and shift."""
    width = residual.shape[-1]
    rows = [part for part in parameters if part is not None and part.shape == (width,)]
    shapes = len(rows) == len(parameters) and residual.shape == (len(x), width) and width % VECTOR == 0
    return shapes and supported(x, residual, *rows)


class Attend(torch.autograd.Function):
    """Attention in C++; it keeps the log-sum-exp of each query's scores for the backward pass."""

    @staticmethod
    def forward(ctx: Any, qkv_T3D: Tensor, starts: Starts, heads: int) -> Tensor:
        """Return context_TD."""
        qkv_T3D = qkv_T3D.contiguous()
        context_TD, lse_TH = _attend(qkv_T3D.unbind(1), (starts, starts), heads, keep=ctx.needs_input_grad[0])
        if lse_TH is not None:
            ctx.save_for_backward(qkv_T3D, lse_TH)
            ctx.starts, ctx.heads = starts, heads
        return context_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of qkv_T3D."""
        qkv_T3D, lse_TH = ctx.saved_tensors
        grad_T3D, both = torch.empty_like(qkv_T3D), (ctx.starts, ctx.starts)
        _attend_back(qkv_T3D.unbind(1), both, ctx.heads, (gradients[0], lse_TH), grad_T3D.unbind(1))
        return grad_T3D, None, None


class AttendFrom(torch.autograd.Function):
    """The same for some queries of each text; `both` are the starts of the texts in q_RD, and in kv_T2D."""

    @staticmethod
    def forward(ctx: Any, q_RD: Tensor, kv_T2D: Tensor, both: tuple[Starts, Starts], heads: int) -> Tensor:
        """Return context_RD."""
        q_RD, kv_T2D = q_RD.contiguous(), kv_T2D.contiguous()
        context_RD, lse_RH = _attend((q_RD, *kv_T2D.unbind(1)), both, heads, keep=any(ctx.needs_input_grad))
        if lse_RH is not None:
            ctx.save_for_backward(q_RD, kv_T2D, lse_RH)
            ctx.both, ctx.heads = both, heads
        return context_RD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients of q_RD and kv_T2D."""
        q_RD, kv_T2D, lse_RH = ctx.saved_tensors
        grad_q_RD, grad_T2D = torch.empty_like(q_RD), torch.empty_like(kv_T2D)
        given, results = (q_RD, *kv_T2D.unbind(1)), (grad_q_RD, *grad_T2D.unbind(1))
        _attend_back(given, ctx.both, ctx.heads, (gradients[0], lse_RH), results)
        return grad_q_RD, grad_T2D, None, None


class _Given(ctypes.Structure):
    """`Given` of native/training/attention.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "query_starts", "starts")),
        *((name, ctypes.c_int) for name in ("q_stride", "stride", "texts", "heads", "width", "threads")),
    )


def _attend(
    parts: Sequence[Tensor], both: tuple[Starts, Starts], heads: int, *, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the context of (queries, keys, values), 0 in rows of no text, and with `keep` the log-sum-exps."""
    q, count = parts[0], int(both[0][-1])
    context = torch.empty(q.shape, dtype=q.dtype, device="cpu")
    context[count:] = 0
    lse = torch.empty(count, heads, dtype=torch.float32, device="cpu") if keep else None
    _call("filbert_attend", parts, both, heads, (context, lse))
    return context, lse


def _attend_back(
    parts: Sequence[Tensor],
    both: tuple[Starts, Starts],
    heads: int,
    before: tuple[Tensor, Tensor],
    results: Sequence[Tensor],
) -> None:
    """Write the gradients of queries, keys and values to `results`; `before`: the context's, and the log-sum-exps."""
    grad, lse = before
    for part, starts in zip(results, (both[0], both[1], both[1]), strict=True):
        part[int(starts[-1]) :] = 0
    _call("filbert_attend_back", parts, both, heads, (grad.contiguous(), lse, *results))


def _call(
    name: str,
    parts: Sequence[Tensor],
    both: tuple[Starts, Starts],
    heads: int,
    tensors: Sequence[Tensor | None],
) -> None:
    q, k, v = parts
    assert q.dtype == k.dtype == v.dtype
    found = native(q.dtype)
    assert found is not None
    begins = [np.ascontiguousarray(starts, dtype=np.int64) for starts in both]
    for starts, rows in zip(begins, (q, k), strict=True):
        assert starts[0] >= 0
        assert starts[-1] <= len(rows)
    given = _Given(
        *(x.data_ptr() for x in (q, k, v)),
        *(starts.ctypes.data for starts in begins),
        q.stride(0),
        k.stride(0),
        len(begins[1]) - 1,
        heads,
        q.shape[-1] // heads,
        torch.get_num_threads(),
    )
    pointers = (None if x is None else ctypes.c_void_p(x.data_ptr()) for x in tensors)
    if not getattr(found, name)(ctypes.byref(given), *pointers):
        raise MemoryError("no memory for attention")


class Drop(torch.autograd.Function):
    """Dropout in C++: a value is kept, and scaled, where its random byte is at least `dropped`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, dropped: int) -> Tensor:
        """Return dropout(x)."""
        ctx.save_for_backward(noise)
        ctx.dropped = dropped
        return _drop(x, noise, dropped)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of x."""
        (noise,) = ctx.saved_tensors
        return _drop(gradients[0], noise, ctx.dropped), None, None


def _drop(x: Tensor, noise: Tensor, dropped: int) -> Tensor:
    found, x = native(x.dtype), x.contiguous()
    assert found is not None
    out = torch.empty_like(x)
    found.filbert_drop(
        *(ctypes.c_void_p(y.data_ptr()) for y in (x, noise)),
        dropped,
        ctypes.c_float(kept_scale(dropped)),
        ctypes.c_int64(x.numel()),
        torch.get_num_threads(),
        ctypes.c_void_p(out.data_ptr()),
    )
    return out


class BiasGelu(torch.autograd.Function):
    """GELU(x + bias) in C++; the backward pass sums the bias's gradient."""

    @staticmethod
    def forward(ctx: Any, x_TF: Tensor, bias_F: Tensor) -> Tensor:
        """Return out_TF."""
        x_TF, out_TF = x_TF.contiguous(), torch.empty_like(x_TF)
        ctx.save_for_backward(x_TF, bias_F)
        _call_on_rows("filbert_gelu", (x_TF, bias_F), x_TF.shape, (out_TF,))
        return out_TF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of x_TF and bias_F."""
        x_TF, bias_F = ctx.saved_tensors
        grad_x_TF, grad_bias_F = torch.empty_like(x_TF), torch.zeros(len(bias_F), dtype=torch.float32, device="cpu")
        _call_on_rows(
            "filbert_gelu_back", (x_TF, bias_F, gradients[0].contiguous()), x_TF.shape, (grad_x_TF, grad_bias_F)
        )
        return grad_x_TF, grad_bias_F.to(bias_F.dtype)


class AddNorm(torch.autograd.Function):
    """LayerNorm of residual + dropout(x + bias) in C++; `noise` is None where nothing is dropped."""

    @staticmethod
    def forward(ctx: Any, noise: Tensor | None, dropped: int, eps: float, *parts: Tensor) -> Tensor:
        """Return out_TD; `parts` are x_TD, bias_D, residual_TD, and the norm's weight_D and shift_D."""
        x_TD, bias_D, residual_TD, weight_D, shift_D = (part.contiguous() for part in parts)
        sum_TD, out_TD = torch.empty_like(x_TD), torch.empty_like(x_TD)
        moments_T2 = torch.empty(len(x_TD), 2, dtype=torch.float32, device="cpu")
        numbers = (ctypes.c_int(dropped), ctypes.c_float(kept_scale(dropped)), ctypes.c_float(eps))
        given = (x_TD, bias_D, residual_TD, weight_D, shift_D, noise)
        _call_on_rows("filbert_add_norm", given, x_TD.shape, (sum_TD, out_TD, moments_T2), numbers)
        ctx.save_for_backward(sum_TD, weight_D, moments_T2, noise)
        ctx.dropped = dropped
        return out_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `parts`."""
        sum_TD, weight_D, moments_T2, noise = ctx.saved_tensors
        grad_residual_TD = torch.empty_like(sum_TD)
        grad_x_TD = None if noise is None else torch.empty_like(sum_TD)
        grads_3D = torch.zeros(3, len(weight_D), dtype=torch.float32, device="cpu")
        numbers = (ctypes.c_int(ctx.dropped), ctypes.c_float(kept_scale(ctx.dropped)))
        given = (sum_TD, weight_D, moments_T2, noise, gradients[0].contiguous())
        _call_on_rows("filbert_add_norm_back", given, sum_TD.shape, (grad_residual_TD, grad_x_TD, grads_3D), numbers)
        grad_bias_D, grad_weight_D, grad_shift_D = grads_3D.to(weight_D.dtype)
        grad_x_TD = grad_residual_TD if grad_x_TD is None else grad_x_TD
        return None, None, None, grad_x_TD, grad_bias_D, grad_residual_TD, grad_weight_D, grad_shift_D


def cross_entropy_in_place(
    products_RV: Tensor, bias_V: Tensor, targets_R: Tensor, grad_bias_V: Tensor | None
) -> Tensor:
    """Return the cross-entropy losses_R of the targets, where the logits are products_RV + bias_V.

    With `grad_bias_V` the logits' gradient is written over products_RV, and its sum over R is added to grad_bias_V.
    Raises ValueError where a target is not in the vocabulary.
    """
    rows, vocabulary = products_RV.shape
    assert products_RV.is_contiguous()
    assert bias_V.shape == (vocabulary,)
    assert bias_V.dtype == products_RV.dtype
    assert targets_R.shape == (rows,)
    assert targets_R.dtype == torch.int64
    assert grad_bias_V is None or (grad_bias_V.shape == (vocabulary,) and grad_bias_V.dtype == torch.float32)
    if rows:
        first, last = (int(x) for x in targets_R.aminmax())
        if first < 0 or last >= vocabulary:
            wrong = first if first < 0 else last
            raise ValueError(f"a target is {wrong:,}, the vocabulary has {vocabulary:,} tokens — take the model's own")
    losses_R = torch.empty(rows, dtype=torch.float32, device="cpu")
    given = (products_RV, bias_V.contiguous(), targets_R.contiguous())
    _call_on_rows("filbert_cross_entropy", given, products_RV.shape, (losses_R, grad_bias_V))
    return losses_R


def _call_on_rows(
    name: str,
    given: Sequence[Tensor | None],
    shape: torch.Size,
    outputs: Sequence[Tensor | None],
    numbers: Sequence[Any] = (),
) -> None:
    """Call a C++ function on rows: pointers, number of rows, width, threads, `numbers`, pointers to the results."""
    (rows, width), first = shape, given[0]
    assert first is not None
    found = native(first.dtype)
    assert found is not None
    done = getattr(found, name)(
        *(None if x is None else ctypes.c_void_p(x.data_ptr()) for x in given),
        ctypes.c_int64(rows),
        ctypes.c_int64(width),
        torch.get_num_threads(),
        *numbers,
        *(None if x is None else ctypes.c_void_p(x.data_ptr()) for x in outputs),
    )
    if not done:
        raise MemoryError(f"no memory for {name}")
