"""BERT's encoder for inference in int8, with one scale per token; or in bf16, by the same code.

    token x, rotated ≈ scale_x · q_x + low_x,  row w of a weight, rotated ≈ scale_w · q_w,
    x · w ≈ scale_x scale_w (q_x · q_w) + low_x · Σw,  and q_x · q_w is a sum of integers, so exact

Both factors are rotated by a Hadamard matrix before rounding, which leaves the product unchanged and spreads outliers,
which would set the scale of all values (QuaRot: Ashkboos et al. 2024). With a scale per token a text's score does not
depend on its batch; with one scale per batch a probability changed by 0.30. `encode_readable` is the definition;
native_encoder.py gives the same numbers from C++. Attention takes queries, keys and values rounded to bf16, and in int8
rounds them further.

Shapes: T tokens in the batch, B texts, D hidden width, K inputs, N outputs of a weight; in attention H heads of width
E, L tokens of a text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from filbert.model.attention import Spans, split_heads
from filbert.model.encoder import Encoder, Layer


def rotated(x: Tensor) -> Tensor:
    """Multiply each 64 values, the last 16 negated, by the Hadamard matrix: products of two rows grow 64-fold.

    >>> x, w = torch.randn(2, 128)
    >>> torch.allclose(rotated(x) @ rotated(w) / 64, x @ w, atol=1e-4)
    True
    >>> rotated(torch.eye(64)).abs().unique().tolist()  # an outlier becomes 64 values of equal size
    [1.0]
    """
    blocks = x.reshape(-1, 64) * torch.tensor([1.0] * 48 + [-1.0] * 16)
    for half in (32, 16, 8, 4, 2, 1):
        first, second = blocks.reshape(-1, 2, half).unbind(1)
        blocks = torch.stack((first + second, first - second), dim=1)
    return blocks.reshape(x.shape)


def rounded_tokens(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Round each row to integers from 0 to 255 → q (same shape), scale, low (rows, 1): x ≈ scale · q + low.

    >>> q, scale, low = rounded_tokens(torch.tensor([[0.5, -1.0, 1.55]]))
    >>> q.tolist(), round(scale.item(), 4), low.item()
    ([[150.0, 0.0, 255.0]], 0.01, -1.0)
    """
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    inverse = torch.where(high > low, 255 / (high - low), 0)
    return ((x - low) * inverse).round(), (high - low) / 255, low


def rounded_weight(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to integers from -127 to 127 → q_NK, scale_N: w ≈ scale · q.

    >>> q_NK, scale_N = rounded_weight(torch.tensor([[0.25, -1.0], [10.0, 40.0]]))
    >>> q_NK.tolist()
    [[32.0, -127.0], [32.0, 127.0]]
    """
    largest_N = weight_NK.abs().amax(-1).clamp(min=1e-20)
    inverse_N = torch.tensor(127.0) / largest_N  # `127 / x` is 127 · (1 / x): a bf16 number is often half the largest
    return (weight_NK.double() * inverse_N[..., None]).round().float(), largest_N / 127


def linear_readable(x: Tensor, weight_NK: Tensor, bias_N: Tensor) -> Tensor:
    """Multiply int8 values exactly and apply the scales → rows × N in fp32."""
    q_x, scale_x, low_x = rounded_tokens(rotated(x))
    q_NK, scale_N = rounded_weight(rotated(weight_NK) / 64)
    whole = (q_x.double() @ q_NK.double().T).float()
    return whole * (scale_N * scale_x) + low_x * (scale_N * q_NK.sum(-1)) + bias_N


def linear_bf16(x: Tensor, weight_NK: Tensor, bias_N: Tensor) -> Tensor:
    """Multiply bf16 values and sum in fp32 → rows × N."""
    return F.linear(x.bfloat16().float(), weight_NK.bfloat16().float(), bias_N)


def encode_readable(
    encoder: Encoder,
    ids_T: Tensor,
    positions_T: Tensor,
    segments_T: Tensor,
    spans: Spans,
    *,
    precision: str = "int8",
    first_only: bool = False,
) -> Tensor:
    """Encode packed tokens → hidden_TD, or hidden_BD of the first tokens: products in int8, or in bf16.

    The first layer's queries, keys and values are sums in bf16 in either precision.
    """
    hidden_TD = encoder.embeddings(ids_T, positions_T, segments_T)
    linear, attend = (linear_bf16, attend_bf16) if precision == "bf16" else (linear_readable, attend_int8)
    for number, layer in enumerate(encoder.layers, 1):
        assert isinstance(layer, Layer)
        if first_only and number == len(encoder.layers):
            context_TD, hidden_TD = attend_first(layer, hidden_TD, spans, linear), hidden_TD[spans.first_B]
        else:
            if number == 1:
                qkv_TN = first_queries(encoder, ids_T, positions_T, segments_T)
            else:
                qkv_TN = linear(hidden_TD, layer.qkv.weight, layer.qkv.bias).bfloat16()
            context_TD = _within_texts(attend, split_heads(qkv_TN.float(), 3), spans, layer.heads)
        out_TD = linear(context_TD, layer.out.weight, layer.out.bias)
        hidden_TD = layer.attention_norm(out_TD + hidden_TD)
        up_TF = F.gelu(linear(hidden_TD, layer.up.weight, layer.up.bias))
        hidden_TD = layer.norm(linear(up_TF, layer.down.weight, layer.down.bias) + hidden_TD)
    return hidden_TD[: spans.tokens]  # type: ignore[no-any-return]


def first_queries(encoder: Encoder, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor) -> Tensor:
    """Return the first layer's qkv_TN in bf16, as sums of parts of the token, the position and the segment.

    The LayerNorm before that layer is (e - mean e) / σ · γ + β of a sum e of embeddings, and the layer is linear, so
    each embedding can be multiplied by W γ separately, in bf16. C++ caches these products.
    """
    parts, layer = encoder.embeddings, encoder.layers[0]
    assert isinstance(layer, Layer)
    scaled_ND = layer.qkv.weight * parts.norm.weight
    embedded_TD, qkv_TN = torch.zeros(len(ids_T), scaled_ND.shape[1]), torch.zeros(len(ids_T), len(scaled_ND))
    for table, rows_T in ((parts.token, ids_T), (parts.position, positions_T), (parts.segment, segments_T)):
        summand_TD = table(rows_T)
        embedded_TD += summand_TD
        centred_TD = summand_TD - summand_TD.mean(-1, keepdim=True)
        qkv_TN += linear_bf16(centred_TD, scaled_ND, torch.zeros(len(scaled_ND))).bfloat16().float()
    deviation_T1 = (embedded_TD.var(-1, unbiased=False, keepdim=True) + parts.norm.eps).sqrt()
    return (qkv_TN / deviation_T1 + layer.qkv.weight @ parts.norm.bias + layer.qkv.bias).bfloat16()


def attend_first(layer: Layer, hidden_TD: Tensor, spans: Spans, linear: Callable[..., Tensor]) -> Tensor:
    """Attend from each text's first token only → context_BD; keys and values are not computed.

    q · (K x) = (Kᵀ q) · x and Σ w (V x) = V (Σ w x): the one query of a head is multiplied by K, and the weighted mean
    of the tokens by V, both in bf16. The keys' bias adds a constant to all scores of a query, which softmax ignores.
    """
    query_DD, key_DD, value_DD = layer.qkv.weight.chunk(3)
    query_D, _, value_D = layer.qkv.bias.chunk(3)
    key_HED, value_HED = (x_DD.bfloat16().float().reshape(layer.heads, -1, len(x_DD)) for x_DD in (key_DD, value_DD))
    q_BD = linear(hidden_TD[spans.first_B], query_DD, query_D).bfloat16().float()
    q_BHE = q_BD.reshape(len(q_BD), layer.heads, -1)
    key_query_BHD = torch.einsum("bhe,hed->bhd", q_BHE, key_HED)
    contexts = []
    for key_query_HD, (first, last) in zip(key_query_BHD, spans.bounds, strict=True):
        weights_HL = (key_query_HD @ hidden_TD[first:last].T / q_BHE.shape[-1] ** 0.5).softmax(-1)
        mean_HD = (weights_HL @ hidden_TD[first:last]).bfloat16().float()
        contexts.append(torch.einsum("hd,hed->he", mean_HD, value_HED).flatten() + value_D)
    return torch.stack(contexts)


def attend_bf16(q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor) -> Tensor:
    """Attend within a text → context_HLE; the weights are rounded to bf16 before they are divided by their sum."""
    weights_HLL = _weights(q_HLE @ k_HLE.transpose(-1, -2) / q_HLE.shape[-1] ** 0.5)
    return weights_HLL.bfloat16().float() @ v_HLE / weights_HLL.sum(-1, keepdim=True)


def attend_int8(q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor) -> Tensor:
    """Attend within a text, with integers in both products → context_HLE.

    A query or a key has one scale per token and head, a value one per column. The largest weight is 255, and in a long
    text many weights may be below 1: what rounding removes is given to the mean of the values.

    >>> q_HLE, k_HLE, v_HLE = torch.randn(3, 2, 300, 32)
    >>> (attend_int8(q_HLE, k_HLE, v_HLE) - attend_bf16(q_HLE, k_HLE, v_HLE)).abs().mean() < 0.01
    tensor(True)
    """
    (q_HLE, scale_q_HL), (k_HLE, scale_k_HL) = rounded_weight(q_HLE), rounded_weight(k_HLE)
    v_HEL, scale_v_HE = rounded_weight(v_HLE.transpose(-1, -2))
    whole_HLL = q_HLE @ k_HLE.transpose(-1, -2)
    scores_HLL = whole_HLL * scale_q_HL[..., None] * scale_k_HL[:, None] / q_HLE.shape[-1] ** 0.5
    weights_HLL = 255 * _weights(scores_HLL)
    rounded_HLL, all_HL1 = weights_HLL.round(), weights_HLL.sum(-1, keepdim=True)
    rest_HL1 = all_HL1 - rounded_HLL.sum(-1, keepdim=True)
    context_HLE = rounded_HLL @ v_HEL.transpose(-1, -2) + rest_HL1 * v_HEL.mean(-1)[:, None]
    return context_HLE * scale_v_HE[:, None] / all_HL1


def _weights(scores_HLL: Tensor) -> Tensor:
    """Return the attention weights before division by their sum: 1 where a query's score is largest."""
    return (scores_HLL - scores_HLL.amax(-1, keepdim=True)).exp()


def _within_texts(attend: Callable[..., Tensor], qkv_T3D: Tensor, spans: Spans, heads: int) -> Tensor:
    contexts = []
    for first, last in spans.bounds:
        context_HLE = attend(*split_heads(qkv_T3D[first:last], heads).permute(1, 2, 0, 3))
        contexts.append(context_HLE.transpose(0, 1).flatten(1))
    return torch.cat([*contexts, qkv_T3D[spans.tokens :, 0] * 0])
