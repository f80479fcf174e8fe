"""Score texts: in C++ on a CPU that supports it, else in onnxruntime or in torch, imported only then.

Shapes: N texts, T tokens in the batch, O outputs of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

import numpy as np

from filbert.config import EncoderConfig
from filbert.errors import ConfigError
from filbert.inference.model import Model
from filbert.inference.onnx_scorer import OnnxScorer, installed
from filbert.model.device import working_dtype
from filbert.model.native_encoder import NativeEncoder, unsupported
from filbert.model.numpy_head import NumpyHead
from filbert.model.packing import TOKENS, by_budget, pack, scored
from filbert.records import Features, FloatArray, IntArray, PackedBatch

if TYPE_CHECKING:
    from filbert.model.network import Network

Done = Callable[[int], None]
Rows = FloatArray | list[FloatArray]  # N × O, or L × O per text, for its tokens or marks


class Scorer(Protocol):
    """Encoder and head, in C++, onnxruntime or torch."""

    def outputs(self, features: Sequence[Features], done: Done = ...) -> Rows:
        """Return the head's outputs for each text; `done` is called with the number of texts scored."""


def scorer_of(model: Model, device: str, precision: str) -> Scorer:
    """Return a scorer for a device and a precision.

    Raises ConfigError where the machine cannot do it, or lacks what it takes.
    """
    if precision == "int8" and device != "cpu":
        raise ConfigError(f"int8 is for the CPU, and the device is {device} — use bf16, or --device cpu")
    if precision == "int8" or _in_cpp(model.config, device):
        return NativeScorer(model, "bf16" if precision == "auto" else precision)
    if _in_onnxruntime(device, precision):
        return OnnxScorer(model)
    if not installed("torch"):
        if device != "cpu" or precision == "bf16":
            raise ConfigError(f"{precision} on {device} needs torch, which is not installed — use --precision fp32")
        raise ConfigError("scoring on this processor needs onnxruntime — pip install onnxruntime")
    from filbert.folder.torch_parts import network_of  # imports torch: 1.5 s

    return TorchScorer(network_of(model.config, model.weights, model.head, model.arrays), device, precision)


def _in_cpp(config: EncoderConfig, device: str) -> bool:
    return device == "cpu" and unsupported(config) is None


def _in_onnxruntime(device: str, precision: str) -> bool:
    """Return whether onnxruntime scores: it starts in a third of torch's time, and "auto" may be bf16 in torch."""
    exact = precision == "fp32" or (precision == "auto" and not installed("torch"))
    return device == "cpu" and exact and installed("onnxruntime")


def scored_by(config: EncoderConfig, device: str, precision: str) -> str:
    """Return what computes the outputs, with its version where it is a library: its last bits may be its own."""
    if precision == "int8" or _in_cpp(config, device):
        return "C++"
    library = "onnxruntime" if _in_onnxruntime(device, precision) else "torch"
    return f"{library} {version(library)}"


class NativeScorer:
    """Encoder and head in C++; a text gets the same bits in any batch. Raises ConfigError as NativeEncoder does."""

    def __init__(self, model: Model, precision: str) -> None:
        joined = model.head.joined(model.arrays)
        pooled_first = model.head.rows == "first" and model.head.pooled
        head = {name.replace("last.", "classifier."): array for name, array in joined.items()}
        self.encoder = NativeEncoder(model.config, model.weights, precision, head=head if pooled_first else None)
        self._head, self._pooled_first = NumpyHead(model.head, model.config, model.arrays), pooled_first

    def outputs(self, features: Sequence[Features], done: Done = lambda texts: None) -> Rows:
        """Return the head's outputs for each text; `done` is called with the number of texts scored."""
        found: list[FloatArray] = [np.empty(0)] * len(features)
        ready = 0

        def score(chosen: Sequence[int] | IntArray) -> tuple[PackedBatch, FloatArray | list[FloatArray]]:
            batch = pack(features, chosen)
            return batch, self._rows(batch)

        for chosen, (batch, each) in scored(by_budget([len(row) for row in features], TOKENS), score):
            for i, rows in zip(batch.order_B, each, strict=True):
                found[i] = rows
            ready += len(chosen)
            done(ready)
        head = self._head.head
        return np.array(found).reshape(len(found), head.width) if head.one_row else found

    def _rows(self, batch: PackedBatch) -> FloatArray | list[FloatArray]:
        given = batch.ids_T, batch.positions_T, batch.segments_T, batch.starts_B
        if self._pooled_first:
            return self.encoder.logits(*given).astype(np.float64)
        if self._head.head.rows == "first":
            return self._head.first(self.encoder(*given, first_only=True))
        return self._head.by_text(self.encoder(*given), batch)


class TorchScorer:
    """Encoder and head in torch, in fp32, bf16 or `auto`; with precision None the network keeps its dtype."""

    def __init__(self, model: Network, device: str, precision: str | None) -> None:
        self.model, self.device = model, device
        if precision is not None:
            model.to(device).eval()
            model.encoder.to(working_dtype(precision, device))

    def outputs(self, features: Sequence[Features], done: Done = lambda texts: None) -> Rows:
        """Return the head's outputs for each text; `done` is called with the number of texts scored."""
        from filbert.model.run import outputs, token_outputs

        give = outputs if self.model.head.one_row else token_outputs
        return give(self.model, features, self.device, done=done)
