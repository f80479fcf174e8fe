"""A classifier for scoring without torch: encoder and head in C++.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from filbert.batching import TOKENS, by_budget, pack
from filbert.config import EncoderConfig
from filbert.model.native_encoder import NativeEncoder
from filbert.records import Features, FloatArray


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
