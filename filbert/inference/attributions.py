"""What the words did: integrated gradients, occlusion, and the attention weights of each layer and head, in torch.

    F(x) − F(x₀) = Σ over tokens of (x − x₀) · ∫₀¹ ∇F(x₀ + a(x − x₀)) da        (Sundararajan et al. 2017)

x is what the embeddings give for the text, x₀ for the same text with [MASK] in the place of each word piece; F is a
weighted sum of outputs. The integral is taken by Gauss–Legendre quadrature, with more points until the two sides agree.

Shapes: L tokens of a window, D hidden width, R rows of outputs, O outputs, P points, H heads, K weights kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from filbert.model.attention import split_heads
from filbert.model.network import Network
from filbert.model.packing import pack
from filbert.model.run import tensors_of
from filbert.records import Features, FloatArray, IntArray
from filbert.report.explanation import WITHIN

LEAST = 1e-3  # a change of less than this is none
FEWEST, MOST = 16, 1024  # points
TOKENS = 1024  # of a batch, whose activations are kept for the backward pass: 1.2 GB for BERT-base
KEPT, WHOLE = 16, 64  # attention weights kept of each token; all of them where the window has at most WHOLE tokens


@dataclass(frozen=True)
class Attributed:
    """How much each token did, and what it adds up to."""

    weights_L: FloatArray
    value: float
    """F of the text."""
    start: float
    """F of the text with [MASK] in the place of its words."""
    points: int
    """Gradients taken; 0 for occlusion."""

    @property
    def gap(self) -> float:
        """How far the sum is from the change, as a share of it."""
        change = self.value - self.start
        return abs(float(self.weights_L.sum()) - change) / max(abs(change), LEAST)


def integrated_gradients(
    network: Network, window: Features, masked: Features, factors: FloatArray, device: str
) -> Attributed:
    """Return the integrated gradients of each token, summed over the width of the embeddings.

    `masked` is the window with [MASK] in the place of its word pieces. The points are doubled until the sum is within
    2 % of the change, at most to 1,024.
    """
    network.requires_grad_(False)
    path = _Path(network, window, masked, factors, device)
    start, value = path.values(np.array([0.0, 1.0]))
    points = FEWEST
    while True:
        found = Attributed(path.integral(points), value, start, points)
        if found.gap <= WITHIN or points >= MOST:
            return found
        points *= 2


class _Path:
    """The straight way from the embeddings of the masked window to those of the window."""

    def __init__(self, network: Network, window: Features, masked: Features, factors: FloatArray, device: str) -> None:
        self.network, self.window, self.device = network, window, device
        self.factors = torch.as_tensor(factors, dtype=torch.float32, device=device)
        self.from_LD, self.to_LD = self._embedded(masked), self._embedded(window)

    @torch.no_grad()
    def _embedded(self, window: Features) -> Tensor:
        ids_T, positions_T, segments_T, _ = tensors_of(pack([window]), self.device)
        found: Tensor = self.network.encoder.embeddings(ids_T, positions_T, segments_T)
        return found[: len(window)].float()

    def values(self, places_P: FloatArray) -> list[float]:
        """Return F at these places of the way, 0 to 1."""
        with torch.no_grad():
            return [float(value) for part in self._parts(places_P) for value in self._given(self._at(part), len(part))]

    def integral(self, points: int) -> FloatArray:
        """Return (x − x₀) times the mean gradient, summed over D, by a quadrature of so many points."""
        nodes_P, weights_P = np.polynomial.legendre.leggauss(points)
        total_LD = torch.zeros_like(self.to_LD)
        places_P, weights_P = (nodes_P + 1) / 2, weights_P / 2
        for begin in range(0, points, step := self._at_once()):
            part_P = places_P[begin : begin + step]
            at_PLD = self._at(part_P).requires_grad_()
            with torch.enable_grad():
                value = self._given(at_PLD, len(part_P)).sum()
            (slope_PLD,) = torch.autograd.grad(value, at_PLD)
            share_P = torch.as_tensor(weights_P[begin : begin + step], dtype=torch.float32, device=self.device)
            total_LD += (slope_PLD * share_P[:, None, None]).sum(0)
        return np.asarray(((self.to_LD - self.from_LD) * total_LD).sum(-1).double().cpu().numpy())

    def _at_once(self) -> int:
        return max(1, TOKENS // len(self.window))

    def _parts(self, places_P: FloatArray) -> Iterator[FloatArray]:
        for begin in range(0, len(places_P), self._at_once()):
            yield places_P[begin : begin + self._at_once()]

    def _at(self, places_P: FloatArray) -> Tensor:
        a_P11 = torch.as_tensor(places_P, dtype=torch.float32, device=self.device)[:, None, None]
        return self.from_LD + a_P11 * (self.to_LD - self.from_LD)

    def _given(self, at_PLD: Tensor, texts: int) -> Tensor:
        """Return F_P where the embeddings give these vectors."""
        tensors = tensors_of(pack([self.window] * texts), self.device)
        rows_TD = at_PLD.flatten(0, 1)
        rows_TD = torch.nn.functional.pad(rows_TD, (0, 0, 0, len(tensors[0]) - len(rows_TD)))
        with _embeddings_give(self.network, rows_TD):
            outputs = self.network(*tensors)
        shaped_PRO = outputs.reshape(texts, -1, outputs.shape[-1])
        value_P: Tensor = (shaped_PRO * self.factors.reshape(shaped_PRO.shape[1:])).sum((1, 2))
        return value_P


@contextmanager
def _embeddings_give(network: Network, rows_TD: Tensor) -> Iterator[None]:
    handle = network.encoder.embeddings.register_forward_hook(lambda module, given, found: rows_TD)
    try:
        yield
    finally:
        handle.remove()


def masked_at(window: Features, places: Sequence[int] | npt.NDArray[Any], mask: int) -> Features:
    """Return a window with the id `mask` at some places."""
    ids = window.ids.copy()
    ids[np.asarray(places, dtype=np.int64)] = mask
    return replace(window, ids=ids)


@torch.inference_mode()
def attention_weights(network: Network, window: Features, device: str) -> tuple[IntArray, FloatArray]:
    """Return softmax(QKᵀ/√E) of each layer and head, layers × H × L × K: which tokens are looked at, and how much.

    K is L for a short window; of a longer one the largest 16 weights of each token are kept, largest first.
    """
    found: list[tuple[IntArray, FloatArray]] = []
    length = len(window)
    kept = length if length <= WHOLE else KEPT

    def weigh(qkv_T3D: Tensor, heads: int) -> None:
        q_HLE, k_HLE = split_heads(split_heads(qkv_T3D[:length].float(), 3), heads).permute(1, 2, 0, 3)[:2]
        weights_HLL = (q_HLE @ k_HLE.transpose(-1, -2) / q_HLE.shape[-1] ** 0.5).softmax(-1)
        top = weights_HLL.topk(kept, dim=-1)
        found.append((top.indices.int().cpu().numpy(), top.values.double().cpu().numpy()))

    handles = [
        layer.get_submodule("qkv").register_forward_hook(
            lambda module, given, qkv, heads=layer.heads: weigh(qkv, heads)
        )
        for layer in network.encoder.layers
    ]
    try:
        network.encoder(*tensors_of(pack([window]), device))
    finally:
        for handle in handles:
            handle.remove()
    return np.stack([index for index, _ in found]), np.stack([weight for _, weight in found])
