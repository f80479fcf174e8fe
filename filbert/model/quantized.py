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
import importlib.util
import weakref
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert.config import EncoderConfig
from filbert.errors import ConfigError
from filbert.model.attention import Spans, split_heads
from filbert.model.encoder import Encoder, Layer

LIBRARY = "filbert._native"  # built at installation where there is a compiler for it
STEP = 64  # widths are multiples of it, those of heads of half of it


def rounded_tokens(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round each row to whole numbers from 0 to 255 → q (same shape), scale, low (rows, 1): x ≈ scale · q + low.

    >>> q, scale, low = rounded_tokens(torch.tensor([[0.5, -1.0, 1.55]]))
    >>> q.tolist(), scale.item(), (scale * q + low).tolist()
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
    exact = (q_x.double() @ q_NK.double().T).float()
    return exact * (scale_N * scale_x) + low_x * (scale_N * q_NK.sum(-1)) + bias_N


def linear_bf16(x: Tensor, weight_NK: Tensor, bias_N: Tensor) -> Tensor:
    """Multiply bf16 numbers and sum up in fp32 → rows × N."""
    return F.linear(x.bfloat16().float(), weight_NK.bfloat16().float(), bias_N)


def encode_readable(
    encoder: Encoder, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, exact: int = 0
) -> Tensor:
    """Encode packed tokens → hidden_TD: BERT's layers, the first `exact` with products in bf16, the others in int8."""
    hidden_TD = encoder.embeddings(ids_T, positions_T, segments_T)
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        linear = linear_bf16 if number < exact else linear_readable
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
    found = importlib.util.find_spec(LIBRARY)
    if found is None or found.origin is None:
        return None
    native = ctypes.CDLL(found.origin)
    if not native.filbert_supported():
        return None
    native.filbert_new.restype = ctypes.c_void_p
    return native


def why_not(config: EncoderConfig) -> str | None:
    """Say why a model cannot run in int8 here; None where it can."""
    if importlib.util.find_spec(LIBRARY) is None:
        return "Filbert was installed without its C++ part (no compiler was there)"
    if library() is None:
        return "this processor has no AVX-512 with VNNI and bf16"
    if config.hidden % STEP or config.intermediate % STEP or config.hidden // config.heads % (STEP // 2):
        return f"its widths ({config.hidden}, {config.intermediate}) are no multiples of {STEP}"
    return None


class NativeEncoder(nn.Module):
    """An encoder in C++, its first `exact` layers in bf16, the others in int8; on a CPU, and it never trains.

    It takes what `Encoder` takes. Weights are copied and rounded when it is made. Raises ConfigError where `why_not`
    says that it cannot be.

    >>> NativeEncoder(encoder)(ids_T, positions_T, segments_T, spans).shape  # doctest: +SKIP
    torch.Size([7, 384])
    """

    def __init__(self, encoder: Encoder, exact: int = 0, threads: int | None = None) -> None:
        super().__init__()
        self.config = encoder.config
        if reason := why_not(self.config):
            raise ConfigError(f"int8 is not to be had: {reason} — use bf16 or fp32")
        self._native = library()
        assert self._native is not None
        self._handle = ctypes.c_void_p(
            self._native.filbert_new(
                self.config.layers,
                self.config.hidden,
                self.config.heads,
                self.config.intermediate,
                ctypes.c_float(self.config.norm_eps),
                threads or torch.get_num_threads(),
            )
        )
        weakref.finalize(self, self._native.filbert_free, self._handle)
        parts = encoder.embeddings
        tables = (parts.token, parts.position, parts.segment)
        self._tables = [_floats(table.weight) for table in tables]  # read where they lie
        norm = [_floats(parts.norm.weight), _floats(parts.norm.bias)]
        self._native.filbert_embeddings(self._handle, *map(_address, (*self._tables, *norm)))
        for number, layer in enumerate(encoder.layers):
            assert isinstance(layer, Layer)
            self._take(number, layer, exact=number < exact)

    def _take(self, number: int, layer: Layer, *, exact: bool) -> None:
        assert self._native is not None
        for part, linear in enumerate((layer.qkv, layer.out, layer.up, layer.down)):
            weight_NK, bias_N = _floats(linear.weight), _floats(linear.bias)
            addresses = _address(weight_NK), _address(bias_N)
            self._native.filbert_linear(self._handle, number, part, *addresses, *weight_NK.shape, int(exact))
        for part, norm in enumerate((layer.attention_norm, layer.norm)):
            weight_D, bias_D = _floats(norm.weight), _floats(norm.bias)
            self._native.filbert_norm(self._handle, number, part, _address(weight_D), _address(bias_D), len(weight_D))

    def forward(
        self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, *, first_only: bool = False
    ) -> Tensor:
        """Return hidden_TD in fp32, or hidden_BD, the [CLS] vectors alone."""
        assert self._native is not None
        rows = len(spans) if first_only else spans.tokens
        out = torch.empty(rows, self.config.hidden)
        packed = [_ints(x[: spans.tokens].numpy()) for x in (ids_T, positions_T, segments_T)]
        packed.append(_ints(spans.starts))
        addresses = [array.ctypes.data_as(ctypes.c_void_p) for array in packed]
        self._native.filbert_run(self._handle, *addresses, len(spans), int(first_only), _address(out))
        return out


def _floats(x: Tensor) -> Tensor:
    return x.detach().float().contiguous()


def _ints(x: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(x, dtype=np.int32)


def _address(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())
