"""The description of a head, from which torch, numpy and C++ build it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

    def names(self) -> dict[str, str]:
        """Return the head's modules: our name → Hugging Face's."""
        pooler = {"pooler": "pooler.dense"} if self.pooled else {}
        between = {f"between.{i}.{part}": f"inter_sentence.{i}.{part}" for i in range(self.layers) for part in LAYER}
        return {**pooler, **between, **({"last": self.last} if self.last else {})}

    @property
    def one_row(self) -> bool:
        """Whether a text has one row of outputs."""
        return self.rows in ("first", "mean")
