"""BERT with a head for text classification: pooler, one linear layer, cross-entropy (Devlin et al. 2018, §4.1).

What goes in and what is made of the logits: tasks/classify.py.

Shapes: T tokens in the batch, B texts, D hidden width, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert.model.attention import Spans
from filbert.model.encoder import Dropout, Encoder, Linear, initialise


class Classifier(nn.Module):
    """Encoder, pooler and a fully connected layer to the classes; the head always computes in fp32."""

    def __init__(self, encoder: Encoder, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = encoder.config.hidden
        self.encoder = encoder
        self.pooler = Linear(width, width)
        self.dropout = Dropout(encoder.config.dropout)
        self.classifier = Linear(width, classes)
        initialise(self.pooler, generator)
        initialise(self.classifier, generator)

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Packed ids → logits_BC in fp32."""
        return self.head(self.encoder(ids_T, positions_T, segments_T, spans, first_only=True))

    def head(self, first_BD: Tensor) -> Tensor:
        """[CLS] vectors → logits_BC: tanh pooler, dropout, one linear layer."""
        pooled_BD = torch.tanh(self.pooler(first_BD.float()))
        return self.classifier(self.dropout(pooled_BD))  # type: ignore[no-any-return]


def cross_entropy(logits_BC: Tensor, targets_B: Tensor) -> Tensor:
    """Return the cross-entropy summed over the texts: the trainer divides by the size of the whole batch."""
    return F.cross_entropy(logits_BC, targets_B, reduction="sum")
