"""What scores packed texts: C++ on a CPU where that can be, else torch, loaded only then.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from filbert.config import EncoderConfig
from filbert.errors import ConfigError
from filbert.folder.open import ClassifierParts
from filbert.model.device import working_dtype
from filbert.model.native_encoder import NativeEncoder, why_not
from filbert.model.packing import TOKENS, by_budget, pack
from filbert.records import Features, FloatArray

if TYPE_CHECKING:
    from filbert.model.network import Classifier


class Scorer(Protocol):
    """A classifier that gives logits, in whatever way."""

    def logits(self, features: Sequence[Features], done: Callable[[int], None] = ...) -> FloatArray:
        """Return one row of logits per text (N × C); `done` hears how many texts are ready."""


def scorer(parts: ClassifierParts, device: str, precision: str) -> Scorer:
    """Make a classifier for a device: on a CPU in C++ where that can be, else by torch, loaded only then."""
    if precision == "int8" and device != "cpu":
        raise ConfigError(f"int8 is for the CPU, and the device is {device} — use bf16, or --device cpu")
    if precision == "int8" or (device == "cpu" and why_not(parts.config) is None):
        how = "bf16" if precision == "auto" else precision
        return NativeClassifier(parts.config, parts.weights, parts.head, how)
    from filbert.folder.save import classifier_of  # a second and a half

    return TorchClassifier(classifier_of(parts), device, precision)


class NativeClassifier:
    """`Classifier` for scoring: the same text gets the same bits in any batch.

    `weights` are the encoder's, `head` the pooler's and the classifier's, both under our names. Raises as NativeEncoder
    does.
    """

    def __init__(
        self,
        config: EncoderConfig,
        weights: Mapping[str, npt.NDArray[np.float32]],
        head: Mapping[str, npt.NDArray[np.float32]],
        precision: str,
    ) -> None:
        self.encoder = NativeEncoder(config, weights, precision, head=head)

    def logits(self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return one row of logits per text (N × C); `done` hears how many texts are ready."""
        found, ready = np.empty((len(features), self.encoder.classes)), 0
        for chosen in by_budget([len(row) for row in features], TOKENS):
            batch = pack(features, chosen)
            found[batch.order_B] = self.encoder.logits(batch.ids_T, batch.positions_T, batch.segments_T, batch.starts_B)
            ready += len(chosen)
            done(ready)
        return found


class TorchClassifier:
    """`Classifier` on a device, in fp32, bf16 or `auto`."""

    def __init__(self, model: Classifier, device: str, precision: str) -> None:
        self.model = model.to(device).eval()
        self.model.encoder.to(working_dtype(precision, device))
        self.device = device

    def logits(self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return one row of logits per text (N × C); `done` hears how many texts are ready."""
        from filbert.model.run import outputs

        return outputs(self.model, features, self.device, done=done)
