"""BERT's encoder for inference in int8, 8 bits a number, with one scale for each token; or in bf16, by the same path.

    token x ≈ scale_x · q_x + low_x,  row w of a weight ≈ scale_w · q_w,
    x · w ≈ scale_x scale_w (q_x · q_w) + low_x · Σw,  and q_x · q_w is a sum of whole numbers, so exact

A scale that belongs to one token alone keeps a text's score free of the texts beside it; with one scale for a whole
batch a probability moved by 0.30. `encode_readable` is the definition. `NativeEncoder` gives the same numbers from C++
(native/encoder.cpp), for processors with AVX-512 VNNI and bf16; attention is in bf16 in both, the sums in fp32.

Shapes: T tokens in the batch, B texts, D hidden width, K inputs, N outputs of a weight.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert import native
from filbert.config import EncoderConfig
from filbert.errors import ConfigError, ModelError
from filbert.model.attention import Spans, split_heads
from filbert.model.encoder import Encoder, Layer

PART, INTERFACE = "_native", 1  # the C++ part, and what its `filbert_supported` says


def rounded_tokens(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round each row to whole numbers from 0 to 255 → q (same shape), scale, low (rows, 1): x ≈ scale · q + low.

    >>> q, scale, low = rounded_tokens(torch.tensor([[0.5, -1.0, 1.55]]))
    >>> q.tolist(), round(scale.item(), 4), low.item()
    ([[150.0, 0.0, 255.0]], 0.01, -1.0)
    """
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    inverse = torch.where(high > low, 255 / (high - low), 0)
    return ((x - low) * inverse).round(), (high - low) / 255, low


def rounded_weight(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to whole numbers from -127 to 127 → q_NK, scale_N: w ≈ scale · q.

    >>> q_NK, scale_N = rounded_weight(torch.tensor([[0.5, -1.0], [20.0, 40.0]]))
    >>> q_NK.tolist()
    [[64.0, -127.0], [64.0, 127.0]]
    """
    largest_N = weight_NK.abs().amax(-1)
    inverse_N = torch.where(largest_N > 0, 127 / largest_N, 0)
    return (weight_NK * inverse_N[:, None]).round(), largest_N / 127


def linear_readable(x: Tensor, weight_NK: Tensor, bias_N: Tensor) -> Tensor:
    """Multiply whole numbers, exactly, and give the result its scales back → rows × N in fp32."""
    q_x, scale_x, low_x = rounded_tokens(x)
    q_NK, scale_N = rounded_weight(weight_NK)
    whole = (q_x.double() @ q_NK.double().T).float()
    return whole * (scale_N * scale_x) + low_x * (scale_N * q_NK.sum(-1)) + bias_N


def linear_bf16(x: Tensor, weight_NK: Tensor, bias_N: Tensor) -> Tensor:
    """Multiply bf16 numbers and sum up in fp32 → rows × N."""
    return F.linear(x.bfloat16().float(), weight_NK.bfloat16().float(), bias_N)


def encode_readable(
    encoder: Encoder, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, *, bf16_layers: int = 0
) -> Tensor:
    """Encode packed tokens → hidden_TD: products in bf16 in the first `bf16_layers`, in int8 in the others."""
    hidden_TD = encoder.embeddings(ids_T, positions_T, segments_T)
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        linear = linear_bf16 if number < bf16_layers else linear_readable
        qkv_TN = linear(hidden_TD, layer.qkv.weight, layer.qkv.bias).bfloat16()
        context_TD = _attend(split_heads(qkv_TN.float(), 3), spans, layer.heads)
        out_TD = linear(context_TD, layer.out.weight, layer.out.bias)
        hidden_TD = layer.attention_norm(out_TD + hidden_TD)
        up_TF = F.gelu(linear(hidden_TD, layer.up.weight, layer.up.bias))
        hidden_TD = layer.norm(linear(up_TF, layer.down.weight, layer.down.bias) + hidden_TD)
    return hidden_TD[: spans.tokens]  # type: ignore[no-any-return]


def _attend(qkv_T3D: Tensor, spans: Spans, heads: int) -> Tensor:
    """Attend within each text; the weights, before they are divided by their sum, are rounded to bf16."""
    contexts = []
    for first, last in spans.bounds:
        q_HLE, k_HLE, v_HLE = split_heads(qkv_T3D[first:last], heads).permute(1, 2, 0, 3)
        scores_HLL = q_HLE @ k_HLE.transpose(-1, -2) / q_HLE.shape[-1] ** 0.5
        weights_HLL = (scores_HLL - scores_HLL.amax(-1, keepdim=True)).exp()
        context_HLE = weights_HLL.bfloat16().float() @ v_HLE / weights_HLL.sum(-1, keepdim=True)
        contexts.append(context_HLE.transpose(0, 1).flatten(1))
    return torch.cat([*contexts, qkv_T3D[spans.tokens :, 0] * 0])


@cache
def library() -> ctypes.CDLL | None:
    """Return the C++ part, or None where it was not built or the processor lacks the instructions."""
    found = native.library(PART, "filbert_supported", INTERFACE)
    if found is not None:
        found.filbert_new.restype = ctypes.c_void_p
    return found


def why_not(config: EncoderConfig) -> str | None:
    """Say why a model cannot run in int8 here; None where it can."""
    if native.built(PART) is None:
        return "the C++ part of Filbert was not built at installation (it takes gcc 10 or clang 9, on x86-64)"
    if library() is None:
        return "this processor has no AVX-512 with VNNI and bf16"
    head = config.hidden // config.heads
    if config.hidden % 64 or config.intermediate % 64 or head % 32:
        return (
            f"layers must be multiples of 64 wide and heads of 32, and they are {config.hidden}, "
            f"{config.intermediate} and {head}"
        )
    return None


class NativeEncoder(nn.Module):
    """An encoder in C++, its first `bf16_layers` in bf16, the others in int8; on a CPU, and it never trains.

    It takes what `Encoder` takes, from one thread at a time: others wait. Layers are copied and rounded when it is
    made, the embeddings are read where they lie. Raises ConfigError where `why_not` says that it cannot be, ModelError
    for weights that are no numbers.

    >>> NativeEncoder(encoder)(ids_T, positions_T, segments_T, spans).shape  # doctest: +SKIP
    torch.Size([7, 384])
    """

    def __init__(self, encoder: Encoder, bf16_layers: int = 0, threads: int | None = None) -> None:
        super().__init__()
        self.config = encoder.config
        if reason := why_not(self.config):
            raise ConfigError(f"int8 is not to be had: {reason} — use bf16 or fp32")
        found = library()
        assert found is not None
        self._native, self._turn = found, threading.Lock()
        shape = (self.config.layers, self.config.hidden, self.config.heads, self.config.intermediate)
        epsilon = ctypes.c_float(self.config.norm_eps)
        self._handle = ctypes.c_void_p(found.filbert_new(*shape, epsilon, threads or torch.get_num_threads()))
        _held(bool(self._handle))
        # not at the end of the process: a thread may still be in it
        weakref.finalize(self, found.filbert_free, self._handle).atexit = False
        parts = encoder.embeddings
        self._tables = [_floats(each.weight) for each in (parts.token, parts.position, parts.segment)]
        norm = [_floats(parts.norm.weight), _floats(parts.norm.bias)]
        _held(found.filbert_embeddings(self._handle, *map(_address, (*self._tables, *norm))))
        for number, layer in enumerate(encoder.layers):
            assert isinstance(layer, Layer)
            self._take(number, layer, in_bf16=number < bf16_layers)

    def _take(self, number: int, layer: Layer, *, in_bf16: bool) -> None:
        place = (self._handle, number)
        for part, linear in enumerate((layer.qkv, layer.out, layer.up, layer.down)):
            weight_NK, bias_N = _floats(linear.weight), _floats(linear.bias)
            shape = (*weight_NK.shape, int(in_bf16))
            _held(self._native.filbert_linear(*place, part, _address(weight_NK), _address(bias_N), *shape))
        for part, norm in enumerate((layer.attention_norm, layer.norm)):
            weight_D, bias_D = _floats(norm.weight), _floats(norm.bias)
            _held(self._native.filbert_norm(*place, part, _address(weight_D), _address(bias_D), len(weight_D)))

    def forward(
        self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, *, first_only: bool = False
    ) -> Tensor:
        """Return hidden_TD in fp32, or hidden_BD, the [CLS] vectors alone."""
        packed = [_ints(x[: spans.tokens].numpy()) for x in (ids_T, positions_T, segments_T)]
        for array, table in zip(packed, self._tables, strict=True):
            if len(array) != spans.tokens or (len(array) and not 0 <= array.min() <= array.max() < len(table)):
                raise IndexError(f"an id, position or segment is outside its table of {len(table):,} rows")
        if (np.diff(spans.starts) < 1).any():
            raise ValueError("a text has no tokens")
        packed.append(_ints(spans.starts))
        addresses = [array.ctypes.data_as(ctypes.c_void_p) for array in packed]
        rows = len(spans) if first_only else spans.tokens
        out = torch.empty(rows, self.config.hidden, dtype=torch.float32, device="cpu")
        with self._turn:
            _held(self._native.filbert_run(self._handle, *addresses, len(spans), int(first_only), _address(out)))
        return out


def _held(done: bool | int) -> None:
    if not done:
        raise MemoryError("no memory for the encoder")


def _floats(x: Tensor) -> Tensor:
    found = x.detach().float().cpu().contiguous()
    if not torch.isfinite(found).all():
        raise ModelError("the model has NaN or infinite weights — they are damaged; fit it again")
    return found


def _ints(x: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(x, dtype=np.int32)


def _address(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())
