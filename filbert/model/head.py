"""What is read off the encoder, as data: torch, C++ and the export each build it from the same five words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Head:
    """A linear layer on the encoder's vectors, after BERT's pooler or not.

    >>> Head(outputs=2).names()
    {'pooler': 'pooler.dense', 'last': 'classifier'}
    """

    outputs: int
    """Numbers a row gets."""
    rows: Literal["first", "tokens"] = "first"
    """Which rows are read: each text's [CLS], or every token."""
    pooled: bool = True
    """Whether BERT's pooler, a linear layer and tanh, stands between."""
    last: str = "classifier"
    """Name of the last layer in Hugging Face's layout."""

    def names(self) -> dict[str, str]:
        """Return the head's modules: our name → Hugging Face's."""
        return {**({"pooler": "pooler.dense"} if self.pooled else {}), "last": self.last}
