"""BERT with a head: encoder, pooler, one linear layer (Devlin et al. 2018, §4). What the outputs mean is a task's.

Shapes: T tokens in the batch, B texts, D hidden width, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from filbert.model.attention import Spans
from filbert.model.encoder import Dropout, Encoder, Linear, initialise
from filbert.model.head import Head


class Network(nn.Module):
    """Encoder and head; the head always computes in fp32.

    >>> from filbert.config import EncoderConfig
    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32))
    >>> ids_T, positions_T = torch.tensor([2, 5, 3, 2, 6, 7, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 3])
    >>> Network(encoder, Head(outputs=3)).eval()(ids_T, positions_T, torch.zeros_like(ids_T), Spans([0, 3, 7])).shape
    torch.Size([2, 3])
    """

    def __init__(self, encoder: Encoder, head: Head, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = encoder.config.hidden
        self.head = head
        self.encoder = encoder
        if head.pooled:
            self.pooler = Linear(width, width)
        self.dropout = Dropout(encoder.config.dropout)
        self.last = Linear(width, head.outputs)
        for name in head.names():
            initialise(getattr(self, name), generator)

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Packed ids → outputs_BO, or outputs_TO of every token, in fp32."""
        first = self.head.rows == "first"
        rows_D = self.encoder(ids_T, positions_T, segments_T, spans, first_only=first).float()
        if self.head.pooled:
            rows_D = torch.tanh(self.pooler(rows_D))
        return self.last(self.dropout(rows_D))  # type: ignore[no-any-return]
