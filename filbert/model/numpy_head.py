"""A head in numpy, for vectors of the C++ encoder: the same as in Network (network.py); a test compares them.

Each text is computed separately, so that it gets the same bits in any batch: matrix products of another shape may sum
in another order.

Shapes: T tokens of a batch, B texts, S marks of one text, D hidden width, F feed-forward width, E width of a head,
O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from filbert.config import EncoderConfig
from filbert.model.head import PLACES, Head
from filbert.records import FloatArray, PackedBatch

Array = npt.NDArray[np.float32]


class NumpyHead:
    """A head applied to the vectors of a packed batch; `arrays` are its weights under our names.

    >>> head = NumpyHead(Head(8, "mean", pooled=False, last=""), EncoderConfig(11, hidden=8, heads=2), {})
    >>> batch = PackedBatch(*[np.zeros(3, np.int32)] * 3, np.array([0, 3]), np.array([0]))
    >>> head.by_text(np.ones((3, 8), np.float32), batch)[0].shape
    (8,)
    """

    def __init__(self, head: Head, config: EncoderConfig, arrays: Mapping[str, Array]) -> None:
        self.head, self.config, self._arrays = head, config, head.joined(arrays)

    def first(self, rows_BD: Array) -> FloatArray:
        """Return outputs_BO for the [CLS] vectors."""
        return self._outputs(rows_BD)

    def by_text(self, hidden_TD: Array, batch: PackedBatch) -> list[FloatArray]:
        """Return the outputs of each text of the batch: per token, per mark, or one row for the mean of its tokens."""
        texts = np.split(hidden_TD, batch.starts_B[1:-1])
        if self.head.rows == "mean":
            return [self._outputs(text_LD.mean(axis=0)) for text_LD in texts]
        if self.head.rows == "tokens":
            return [self._outputs(text_LD) for text_LD in texts]
        assert batch.marks is not None
        cuts = batch.marks.starts_B[1:-1]
        marked = zip(np.split(hidden_TD[batch.marks.rows_M], cuts), np.split(batch.marks.places_M, cuts), strict=True)
        return [self._outputs(self._between(rows_SD, places_S)) for rows_SD, places_S in marked]

    def _outputs(self, rows_D: Array) -> FloatArray:
        if self.head.pooled:
            rows_D = np.tanh(self._linear("pooler", rows_D))
        if self.head.last:
            rows_D = self._linear("last", rows_D)
        return np.asarray(rows_D, dtype=np.float64)

    def _between(self, rows_SD: Array, places_S: npt.NDArray[np.int32]) -> Array:
        """Apply the head's Transformer layers to the marks of one window, with position embeddings."""
        if self.head.layers:
            rows_SD = rows_SD + sinusoids(np.minimum(places_S, PLACES - 1), self.config.hidden)
        for i in range(self.head.layers):
            name = f"between.{i}"
            context_SD = self._linear(f"{name}.out", self._attended(self._linear(f"{name}.qkv", rows_SD)))
            rows_SD = self._norm(f"{name}.attention_norm", context_SD + rows_SD)
            inner_SF = gelu(self._linear(f"{name}.up", rows_SD))
            rows_SD = self._norm(f"{name}.norm", self._linear(f"{name}.down", inner_SF) + rows_SD)
        return rows_SD

    def _attended(self, qkv_SN: Array) -> Array:
        """Return softmax(QKᵀ/√E)V of each head."""
        count, heads = len(qkv_SN), self.config.heads
        q_HSE, k_HSE, v_HSE = qkv_SN.reshape(count, 3, heads, -1).transpose(1, 2, 0, 3)
        scores_HSS = q_HSE @ k_HSE.transpose(0, 2, 1) / np.float32(np.sqrt(q_HSE.shape[-1]))
        weights_HSS = np.exp(scores_HSS - scores_HSS.max(axis=-1, keepdims=True))
        weights_HSS /= weights_HSS.sum(axis=-1, keepdims=True)
        return np.asarray((weights_HSS @ v_HSE).transpose(1, 0, 2).reshape(count, -1))

    def _linear(self, name: str, rows: Array) -> Array:
        return np.asarray(rows @ self._arrays[f"{name}.weight"].T + self._arrays[f"{name}.bias"])

    def _norm(self, name: str, rows_SD: Array) -> Array:
        centred_SD = rows_SD - rows_SD.mean(axis=-1, keepdims=True)
        spread_S1 = np.sqrt((centred_SD**2).mean(axis=-1, keepdims=True) + np.float32(self.config.norm_eps))
        return np.asarray(centred_SD / spread_S1 * self._arrays[f"{name}.weight"] + self._arrays[f"{name}.bias"])


def gelu(x: Array) -> Array:
    """Return x · Φ(x) (Hendrycks & Gimpel 2016).

    >>> gelu(np.array([0.0, 1.0], np.float32)).round(4).tolist()
    [0.0, 0.8413000106811523]
    """
    size = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * size)  # erf to 1.5e-7 (Abramowitz & Stegun 1964, 7.1.26): numpy has none
    sum_ = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - sum_ * np.exp(-size * size), x)
    return np.asarray(x * np.float32(0.5) * (1 + erf), dtype=np.float32)


def sinusoids(places_S: npt.NDArray[np.int32], width: int) -> Array:
    """Return the sinusoidal position embeddings of these places, equal to `encoder.sinusoids`.

    >>> sinusoids(np.array([0]), 4).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    angle_SJ = places_S[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    both_SD = np.stack((np.sin(angle_SJ), np.cos(angle_SJ)), axis=-1).reshape(len(places_S), -1)
    return both_SD[:, :width].astype(np.float32)
