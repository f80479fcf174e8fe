"""A classifier for scoring without torch: the encoder in C++, pooler and last layer in numpy.

Shapes: B texts, D hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from filbert.batching import TOKENS, by_budget, pack
from filbert.config import EncoderConfig
from filbert.model.native_encoder import NativeEncoder
from filbert.records import Features, FloatArray

ROWS = 32  # of the head's products: a BLAS sums up in another order for another number of them


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
        self.encoder = NativeEncoder(config, weights, precision)
        self._pooler_DD, self._pooler_D = head["pooler.weight"].T.copy(), head["pooler.bias"]
        self._last_DC, self._last_C = head["classifier.weight"].T.copy(), head["classifier.bias"]

    def logits(self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return one row of logits per text (N × C); `done` hears how many texts are ready."""
        found, ready = np.empty((len(features), len(self._last_C))), 0
        for chosen in by_budget([len(row) for row in features], TOKENS):
            batch = pack(features, chosen)
            packed = (batch.ids_T, batch.positions_T, batch.segments_T, batch.starts_B)
            found[batch.order_B] = self.head(self.encoder(*packed, first_only=True))
            ready += len(chosen)
            done(ready)
        return found

    def head(self, first_BD: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[CLS] vectors → logits_BC, always so many rows at once."""
        whole = np.pad(first_BD, ((0, -len(first_BD) % ROWS), (0, 0)))
        blocks = [whole[begin : begin + ROWS] for begin in range(0, len(whole), ROWS)]
        logits = [np.tanh(block @ self._pooler_DD + self._pooler_D) @ self._last_DC + self._last_C for block in blocks]
        return np.concatenate(logits)[: len(first_BD)]
