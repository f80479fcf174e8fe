"""The description of a head, from which torch, numpy and C++ build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray

LAYER = ("qkv", "out", "attention_norm", "up", "down", "norm")  # the parts of a Transformer layer

PLACES = 512  # positions of marks; later marks of a text have the last position


@dataclass(frozen=True)
class Head:
    """A linear layer on the encoder's vectors, with or without BERT's pooler before it.

    >>> Head(outputs=2).names()
    {'pooler': 'pooler.dense', 'last': 'classifier'}
    """

    outputs: int
    """Number of outputs per row."""
    rows: Literal["first", "tokens", "marks", "mean"] = "first"
    """The input rows: each text's [CLS], every token, the marked tokens, or the mean of a text's tokens."""
    pooled: bool = True
    """Whether BERT's pooler, a linear layer and tanh, is applied first."""
    last: str = "classifier"
    """Name of the last layer in Hugging Face's layout; empty: no last layer."""
    layers: int = 0
    """Number of Transformer layers over the marked rows of a window, of the encoder's size (Liu 2019)."""
    weighed: bool = False
    """Whether a further output, the last, weighs the windows of a text, whose outputs are averaged (Ilse et al. 2018).
    It has a layer of its own, so that the last layer is `transformers`' own."""

    def names(self) -> dict[str, str]:
        """Return the head's modules: our name → Hugging Face's."""
        pooler = {"pooler": "pooler.dense"} if self.pooled else {}
        between = {f"between.{i}.{part}": f"inter_sentence.{i}.{part}" for i in range(self.layers) for part in LAYER}
        weigh = {"weigh": "window_weight"} if self.weighed else {}
        return {**pooler, **between, **({"last": self.last} if self.last else {}), **weigh}

    @property
    def width(self) -> int:
        """Numbers of a row: the outputs, and the weight of a window."""
        return self.outputs + self.weighed

    def joined(self, arrays: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return a head's weights with those of a window's weight as the last rows of its last layer.

        >>> two = {f"{name}.bias": np.full(1, number, np.float32) for name, number in (("last", 1), ("weigh", 2))}
        >>> Head(1, weighed=True).joined(two)["last.bias"].tolist()
        [1.0, 2.0]
        """
        if not self.weighed:
            return dict(arrays)
        both = {name: arrays[name] for name in arrays if name.startswith("last.")}
        rows = {name: np.concatenate((each, arrays[name.replace("last.", "weigh.")])) for name, each in both.items()}
        return {**{name: each for name, each in arrays.items() if not name.startswith("weigh.")}, **rows}

    @property
    def one_row(self) -> bool:
        """Whether a text has one row of outputs."""
        return self.rows in ("first", "mean")


def average(rows_WO: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the outputs of a text and the weights of its windows, of rows whose last column weighs them.

    Attention over windows (Ilse et al. 2018): the mean weighed by softmax.

    >>> outputs_O, weights_W = average(np.array([[2.0, 0.0], [4.0, 0.0]]))
    >>> outputs_O.tolist(), weights_W.tolist()
    ([3.0], [0.5, 0.5])
    """
    powers_W = np.exp(rows_WO[:, -1] - rows_WO[:, -1].max())
    weights_W = powers_W / powers_W.sum()
    return weights_W @ rows_WO[:, :-1], weights_W
