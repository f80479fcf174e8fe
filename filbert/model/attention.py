"""Packed self-attention: softmax(QKᵀ/√E)V inside each text, over texts packed end to end without padding.

`attend_readable` is the definition; `attend` gives the same numbers faster, and a test compares the two.

- CPU, with the C++ extension for the dtype: one text and head at a time, forward and backward (native_training.py).
- CPU otherwise: texts of similar length are attended to as one batched product; the softmax is kept for the backward
  pass. torch's own flash attention takes 3–8 × longer for forward and backward on a CPU (docs/log.md), and its mask
  would need padding.
- CUDA in bf16 or fp16: torch's variable-length flash attention.

Where only some rows are needed: `attend_from` has queries of chosen rows only, `attend_first` of the first rows.

Shapes: T tokens in the batch, B texts, R chosen rows of T, M of them not first rows, H heads, E width of a head,
D = H · E, G texts of a group, L its longest length, N its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from filbert.model.native_training import Attend, AttendFrom, Starts, can_attend
from filbert.records import IntArray, Marks

MAX_PADDING = 1.15  # rows of a group per real token, at most, apart from the rounding of lengths
STEP = 64  # the number of chosen rows is rounded up to a multiple, so that the last layer's products have few shapes
GROUP_TOKENS = 1024  # rows of a group, at most, so that its products stay in the processor's cache


def rounded(length: int) -> int:
    """Round a text's length up to a multiple of 8, 16 or 32: from 128 on by an eighth at most.

    oneDNN compiles a product for every new shape: 1.4 ms and half a megabyte for one that takes 0.2 ms, and more shapes
    than its cache holds are compiled again and again.

    >>> [rounded(n) for n in (5, 24, 65, 246, 300)]
    [8, 24, 80, 256, 320]
    """
    step = 8 if length <= 64 else 16 if length <= 256 else 32
    return -(-length // step) * step


@dataclass(frozen=True)
class Group:
    """Consecutive texts of similar length: rows `first` to `last` of the batch, padded to G × L."""

    first: int
    last: int
    texts: int
    longest: int
    pick_GL: Tensor | None = None  # the row in each slot, 0 for padding; None where all lengths are equal
    keep_N: Tensor | None = None  # which slots are real
    bias_G11L: Tensor | None = None  # 0 for a real key, -inf for a padded one


class Spans:
    """Start and end of each text of a packed batch, in the forms that attention needs."""

    def __init__(
        self,
        starts_B: IntArray,
        device: torch.device | str = "cpu",
        rows: int | None = None,
        marks: Marks | None = None,
    ) -> None:
        self.starts = np.asarray(starts_B, dtype=np.int64)
        self.device = torch.device(device)
        self.marks = marks  # the rows of a head with marks
        self.rows = self.tokens if rows is None else rows  # T or more: rows beyond T belong to no text

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def tokens(self) -> int:
        """T: the number of rows that belong to a text."""
        return int(self.starts[-1])

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Start and end row of each text."""
        return list(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True))

    @cached_property
    def first_B(self) -> Tensor:
        """Row of each text's [CLS]."""
        return torch.as_tensor(self.starts[:-1], device=self.device)

    @cached_property
    def text_T(self) -> Tensor:
        """Text of each row."""
        return torch.as_tensor(np.repeat(np.arange(len(self)), np.diff(self.starts)), device=self.device)

    @cached_property
    def cumulative(self) -> tuple[Tensor, int]:
        """`starts_B` as int32 on the device, and the longest length, for flash attention."""
        return torch.as_tensor(self.starts, dtype=torch.int32, device=self.device), int(np.diff(self.starts).max())

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of 1, 2, 4, … consecutive texts of similar length; sort texts by length before packing."""
        lengths = [rounded(length) for length in np.diff(self.starts).tolist()]
        groups, begin = [], 0
        while begin < len(lengths):
            texts = 1
            while begin + 2 * texts <= len(lengths):
                more = lengths[begin : begin + 2 * texts]
                slots = len(more) * max(more)
                if slots > GROUP_TOKENS or slots > MAX_PADDING * sum(more):
                    break
                texts *= 2
            groups.append(self._group(begin, begin + texts, max(lengths[begin : begin + texts])))
            begin += texts
        return groups

    def _group(self, begin: int, end: int, longest: int) -> Group:
        first, last = int(self.starts[begin]), int(self.starts[end])
        if (end - begin) * longest == last - first:
            return Group(first, last, end - begin, longest)
        lengths_G1 = np.diff(self.starts[begin : end + 1])[:, None]
        real_GL = np.arange(longest)[None, :] < lengths_G1
        pick_GL = np.where(real_GL, self.starts[begin:end, None] - first + np.arange(longest)[None, :], 0)
        bias_GL = torch.zeros(real_GL.shape, device=self.device).masked_fill_(
            ~torch.as_tensor(real_GL, device=self.device), float("-inf")
        )
        keep_N = torch.as_tensor(np.flatnonzero(real_GL), device=self.device)
        pick = torch.as_tensor(pick_GL.reshape(-1), device=self.device)
        return Group(first, last, end - begin, longest, pick, keep_N, bias_GL[:, None, None, :])


@dataclass(frozen=True)
class Chosen:
    """Chosen rows of a packed batch, in its order: each text's [CLS], and some of its other tokens."""

    rows_R: Tensor
    """Rows of T; on a CPU their number is rounded up by repeating row 0."""
    first_B: Tensor
    """Index in R of each text's [CLS]."""
    others_M: Tensor
    """Index in R of the other rows, in the order they were given."""
    begins_B: Tensor
    """Index in R of each text's first row, and the end of the last text's."""

    @classmethod
    def of(cls, spans: Spans, others_M: Tensor) -> Chosen:
        """Choose each text's first row and `others_M`, which are distinct and not first rows."""
        given_R = torch.cat((spans.first_B, others_M))
        rows_R, order_R = given_R.sort(stable=True)
        place_R = torch.empty_like(order_R).scatter_(0, order_R, torch.arange(len(order_R), device=spans.device))
        begins_B = torch.searchsorted(rows_R, torch.as_tensor(spans.starts, device=spans.device))
        more = 0 if spans.device.type != "cpu" else -len(rows_R) % STEP
        return cls(F.pad(rows_R, (0, more)), place_R[: len(spans)], place_R[len(spans) :], begins_B)

    @cached_property
    def starts(self) -> Starts:
        """`begins_B` as a numpy array."""
        return self.begins_B.cpu().numpy()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split the last dimension into heads: (…, D) → (…, H, E)."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads)


def attend_readable(qkv_T3D: Tensor, spans: Spans, heads: int) -> Tensor:
    """Attend within each text, one text at a time: the definition (Vaswani et al. 2017, equation 1) → context_TD."""
    contexts = []
    for first, last in spans.bounds:
        q_HLE, k_HLE, v_HLE = split_heads(qkv_T3D[first:last], heads).permute(1, 2, 0, 3)
        scores_HLL = q_HLE @ k_HLE.transpose(-1, -2) / q_HLE.shape[-1] ** 0.5
        contexts.append((scores_HLL.softmax(-1) @ v_HLE).transpose(0, 1).flatten(1))
    rest_TD = qkv_T3D[spans.tokens :, 0] * 0
    return torch.cat([*contexts, rest_TD])


def attend(qkv_T3D: Tensor, spans: Spans, heads: int) -> Tensor:
    """Attend within each text, the fastest way on this hardware: qkv_T3D → context_TD, equal to `attend_readable`."""
    if _can_flash(qkv_T3D):
        return _flash(qkv_T3D.unbind(1), spans.cumulative[0], spans, heads)
    if can_attend(qkv_T3D, heads):
        return Attend.apply(qkv_T3D, spans.starts, heads)  # type: ignore[no-any-return, no-untyped-call]
    return _Grouped.apply(qkv_T3D, spans, heads)  # type: ignore[no-any-return, no-untyped-call]


def attend_from(q_RD: Tensor, kv_T2D: Tensor, spans: Spans, chosen: Chosen, heads: int) -> Tensor:
    """Attend from the chosen rows only: q_RD, kv_T2D → context_RD, equal to `attend`'s; padding rows of R are 0."""
    if _can_flash(q_RD):
        return _flash((q_RD, *kv_T2D.unbind(1)), chosen.begins_B.int(), spans, heads)
    if can_attend(q_RD, heads, kv_T2D):
        return AttendFrom.apply(q_RD, kv_T2D, (chosen.starts, spans.starts), heads)  # type: ignore[no-any-return, no-untyped-call]
    count = len(chosen.first_B) + len(chosen.others_M)
    q_TD = torch.zeros_like(kv_T2D[:, 0]).index_copy(0, chosen.rows_R[:count], q_RD[:count])
    context_TD = attend(torch.cat((q_TD[:, None], kv_T2D), 1), spans, heads)
    return F.pad(context_TD[chosen.rows_R[:count]], (0, 0, 0, len(q_RD) - count))


def _can_flash(x: Tensor) -> bool:
    return x.is_cuda and x.dtype in (torch.bfloat16, torch.float16)


def _flash(parts: Sequence[Tensor], query_starts: Tensor, spans: Spans, heads: int) -> Tensor:
    """Return the context of queries, given (queries, keys, values); no text has more queries than tokens."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (split_heads(x, heads) for x in parts)
    starts, longest = spans.cumulative
    context = varlen_attn(q, k, v, query_starts, starts, longest, longest)
    assert isinstance(context, Tensor)
    return context.flatten(1)


def _pad_group(rows_ND: Tensor, group: Group, parts: int, heads: int) -> Tensor:
    """Pad the rows of a group → (parts, G, H, L, E)."""
    if group.pick_GL is not None:
        rows_ND = rows_ND[group.pick_GL]
    return rows_ND.view(group.texts, group.longest, parts, heads, -1).permute(2, 0, 3, 1, 4)


def _unpad_group(parts_PGHLE: Tensor, group: Group) -> Tensor:
    """Remove the padding: (parts, G, H, L, E) → (rows, parts · D), the inverse of `_pad_group`."""
    rows_ND = parts_PGHLE.permute(1, 3, 0, 2, 4).reshape(group.texts * group.longest, -1)
    return rows_ND if group.keep_N is None else rows_ND[group.keep_N]


class _Grouped(torch.autograd.Function):
    """Attention over groups of texts; the softmax is kept, as recomputing it costs a fifth of the backward pass."""

    @staticmethod
    def forward(ctx: Any, qkv_T3D: Tensor, spans: Spans, heads: int) -> Tensor:
        """Return context_TD for qkv_T3D."""
        scale = (qkv_T3D.shape[-1] // heads) ** -0.5
        context_TD = torch.empty_like(qkv_T3D[:, 0])
        context_TD[spans.tokens :] = 0
        kept = []
        for group in spans.groups:
            q, k, v = _pad_group(qkv_T3D[group.first : group.last], group, 3, heads)
            scores_GHLL = torch.matmul(q * scale, k.transpose(-1, -2))
            if group.bias_G11L is not None:
                scores_GHLL += group.bias_G11L
            p_GHLL = scores_GHLL.softmax(-1)
            context_TD[group.first : group.last] = _unpad_group(torch.matmul(p_GHLL, v)[None], group)
            kept.append(p_GHLL)
        if qkv_T3D.requires_grad:
            ctx.save_for_backward(qkv_T3D, *kept)
            ctx.spans, ctx.heads, ctx.scale = spans, heads, scale
        return context_TD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of qkv_T3D for that of context_TD."""
        (grad_TD,) = gradients
        qkv_T3D, *kept = ctx.saved_tensors
        grad_qkv_T3D = torch.empty_like(qkv_T3D)
        grad_qkv_T3D[ctx.spans.tokens :] = 0
        for group, p_GHLL in zip(ctx.spans.groups, kept, strict=True):
            rows = slice(group.first, group.last)
            q, k, v = _pad_group(qkv_T3D[rows], group, 3, ctx.heads)
            (grad_GHLE,) = _pad_group(grad_TD[rows], group, 1, ctx.heads)
            if group.keep_N is not None:  # padding repeats another row's gradient
                grad_GHLE = grad_GHLE * torch.isfinite(group.bias_G11L).transpose(-1, -2)
            grad_v = torch.matmul(p_GHLL.transpose(-1, -2), grad_GHLE)
            grad_p = torch.matmul(grad_GHLE, v.transpose(-1, -2))
            grad_s = torch._softmax_backward_data(grad_p, p_GHLL, -1, p_GHLL.dtype)
            grad_q = torch.matmul(grad_s, k) * ctx.scale
            grad_k = torch.matmul(grad_s.transpose(-1, -2), q) * ctx.scale
            parts = torch.stack((grad_q, grad_k, grad_v))
            grad_qkv_T3D[rows] = _unpad_group(parts, group).view(group.last - group.first, 3, -1)
        return grad_qkv_T3D, None, None


def attend_first(q_BD: Tensor, kv_T2D: Tensor, spans: Spans, heads: int) -> Tensor:
    """Attend from each text's first token only → context_BD, in fp32 without the C++ extension.

    A classifier uses only [CLS], so its last layer needs one query per text, which saves a sixth of MiniLM-L6's work.
    """
    if can_attend(q_BD, heads, kv_T2D):
        return AttendFrom.apply(q_BD, kv_T2D, (np.arange(len(spans) + 1), spans.starts), heads)  # type: ignore[no-any-return, no-untyped-call]
    q_BHE = split_heads(q_BD.float(), heads)
    k_THE, v_THE = split_heads(kv_T2D[: spans.tokens].float(), heads).unbind(1)
    text_T = spans.text_T
    query_THE = q_BHE.index_select(0, text_T)  # the gradient of q_BHE[text_T] is summed by threads in any order
    scores_TH = (query_THE * k_THE).sum(-1) / k_THE.shape[-1] ** 0.5
    index_TH = text_T[:, None].expand_as(scores_TH)
    empty_BH = scores_TH.new_zeros(len(spans), heads)
    largest_BH = empty_BH.scatter_reduce(0, index_TH, scores_TH.detach(), "amax", include_self=False)
    weights_TH = (scores_TH - largest_BH[text_T]).exp()
    total_BH = empty_BH.index_add(0, text_T, weights_TH)
    context_BHE = torch.zeros_like(q_BHE).index_add(0, text_T, weights_TH[..., None] * v_THE)
    context_BD: Tensor = (context_BHE / total_BH[..., None]).flatten(1)
    return context_BD.to(q_BD.dtype)
