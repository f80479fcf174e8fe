"""Running a model over many texts: features in, one output row per text out, in the order they were given.

Training validation, the engine and the report all come through here, so that one text has one way to its score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from filbert.batching import TOKENS, by_budget, pack
from filbert.model.attention import Spans
from filbert.records import Features, FloatArray, PackedBatch

Tensors = tuple[Tensor, Tensor, Tensor, Spans]


def native_bf16() -> bool:
    """Say whether this processor multiplies bf16 in hardware; emulated it is slower than fp32."""
    probes = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(probe is not None and probe() for probe in probes)


def working_dtype(precision: str, device: str) -> torch.dtype:
    """Resolve `fp32`, `bf16` or `auto` on a device."""
    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.startswith("cuda") else native_bf16()
        return torch.bfloat16 if native else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


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
    return ids, positions, segments, Spans(batch.starts_B, device, rows)


@torch.inference_mode()
def outputs(
    model: nn.Module,
    features: Sequence[Features],
    device: str,
    *,
    tokens: int = TOKENS,
    done: Callable[[int], None] = lambda texts: None,
) -> FloatArray:
    """Run `model` in evaluation mode → one row per text (N × C) as float64; `done` hears how many texts are ready."""
    model.eval()
    rows: list[FloatArray] = [np.empty(0)] * len(features)
    ready = 0
    for chosen in by_budget([len(f) for f in features], tokens):
        batch = pack(features, chosen)
        batch_rows = model(*tensors_of(batch, device)).double().cpu().numpy()
        for i, row in zip(batch.order_B, batch_rows, strict=True):
            rows[i] = row
        ready += len(chosen)
        done(ready)
    return np.stack(rows) if rows else np.empty((0, 0))
