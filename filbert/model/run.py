"""Run a model over many texts: Features → one row of outputs per text, in the given order.

Validation, inference and evaluation all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from filbert.model.attention import Spans
from filbert.model.packing import TOKENS, by_budget, pack, scored
from filbert.records import Features, FloatArray, IntArray, PackedBatch

Tensors = tuple[Tensor, Tensor, Tensor, Spans]


def tensors_of(batch: PackedBatch, device: str) -> Tensors:
    """Put a packed batch on the device.

    On a CPU the number of rows is rounded up, by less than 64 (256 above 2,048), with rows that belong to no text:
    a product of a new shape takes 1.7 × as long as one of a shape seen before (see `attention.rounded`).
    """
    count = len(batch.ids_T)
    step = 64 if count <= 2048 else 256
    rows = count if device != "cpu" else -(-count // step) * step
    ids, positions, segments = (
        torch.as_tensor(np.pad(x, (0, rows - count)), device=device)
        for x in (batch.ids_T, batch.positions_T, batch.segments_T)
    )
    return ids, positions, segments, Spans(batch.starts_B, device, rows, batch.marks)


@torch.inference_mode()
def outputs(
    model: nn.Module,
    features: Sequence[Features],
    device: str,
    *,
    tokens: int = TOKENS,
    done: Callable[[int], None] = lambda texts: None,
) -> FloatArray:
    """Return one row per text (N × O) as float64, in evaluation mode; `done` gets the number of texts done."""
    rows = _each(model, features, device, tokens=tokens, done=done, by_token=False)
    return np.stack(rows) if rows else np.empty((0, 0))


@torch.inference_mode()
def token_outputs(
    model: nn.Module,
    features: Sequence[Features],
    device: str,
    *,
    tokens: int = TOKENS,
    done: Callable[[int], None] = lambda texts: None,
) -> list[FloatArray]:
    """Return outputs_LO of each text, for a model with a row per token (special ones included) or per mark."""
    return _each(model, features, device, tokens=tokens, done=done, by_token=True)


def _each(
    model: nn.Module,
    features: Sequence[Features],
    device: str,
    *,
    tokens: int,
    done: Callable[[int], None],
    by_token: bool,
) -> list[FloatArray]:
    model.eval()
    rows: list[FloatArray] = [np.empty(0)] * len(features)
    ready = 0

    def score(chosen: Sequence[int] | IntArray) -> tuple[PackedBatch, FloatArray]:
        batch = pack(features, chosen)
        return batch, model(*tensors_of(batch, device)).double().cpu().numpy()

    for chosen, (batch, found) in scored(by_budget([len(f) for f in features], tokens), score):
        starts_B = batch.starts_B if batch.marks is None else batch.marks.starts_B
        parts = np.split(found, starts_B[1:-1]) if by_token else found
        for i, row in zip(batch.order_B, parts, strict=True):
            rows[i] = row
        ready += len(chosen)
        done(ready)
    return rows
