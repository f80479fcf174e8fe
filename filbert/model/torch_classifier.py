"""A classifier for scoring by torch: on a GPU, and where the C++ part cannot run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from filbert.model.classifier import Classifier
from filbert.model.forward import outputs, working_dtype
from filbert.records import Features, FloatArray


class TorchClassifier:
    """`Classifier` on a device, in fp32, bf16 or `auto`."""

    def __init__(self, model: Classifier, device: str, precision: str) -> None:
        self.model = model.to(device).eval()
        self.model.encoder.to(working_dtype(precision, device))
        self.device = device

    def logits(self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return one row of logits per text (N × C); `done` hears how many texts are ready."""
        return outputs(self.model, features, self.device, done=done)
