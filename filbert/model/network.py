"""BERT with a head: encoder, pooler, one linear layer (Devlin et al. 2018, §4). The task interprets the outputs.

Shapes: T tokens in the batch, B texts, R rows of T (M marked ones, then padding), D hidden width,
O outputs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from filbert.model.attention import Chosen, Spans
from filbert.model.encoder import Dropout, Encoder, Layer, Linear, initialise, sinusoids
from filbert.model.head import PLACES, Head


class Network(nn.Module):
    """Encoder and head; the head always computes in fp32.

    >>> from filbert.config import EncoderConfig
    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32))
    >>> ids_T, positions_T = torch.tensor([2, 5, 3, 2, 6, 7, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 3])
    >>> Network(encoder, Head(outputs=3)).eval()(ids_T, positions_T, torch.zeros_like(ids_T), Spans([0, 3, 7])).shape
    torch.Size([2, 3])
    """

    places_PD: Tensor

    def __init__(self, encoder: Encoder, head: Head, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = encoder.config.hidden
        self.head = head
        self.encoder = encoder
        if head.pooled:
            self.pooler = Linear(width, width)
        if head.layers:
            self.between = nn.ModuleList(Layer(encoder.config) for _ in range(head.layers))
            self.register_buffer("places_PD", sinusoids(PLACES, width), persistent=False)
        self.dropout = Dropout(encoder.config.dropout)
        if head.last:
            self.last = Linear(width, head.outputs)
        if head.weighed:
            self.weigh = Linear(width, 1)
        for name in head.names():
            initialise(self.get_submodule(name), generator)
        if head.weighed:
            nn.init.zeros_(self.weigh.weight)  # at first all windows weigh the same

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Return outputs_BO, or outputs_TO of every token, or outputs_MO of every mark, in fp32."""
        given = ids_T, positions_T, segments_T
        if self.head.rows == "marks":
            rows_D = self._marked(given, spans)
        elif self.head.rows == "mean":
            hidden_TD = self.encoder(*given, spans).float()
            rows_D = torch.stack([hidden_TD[first:last].mean(0) for first, last in spans.bounds])
        else:
            rows_D = self.encoder(*given, spans, first_only=self.head.rows == "first").float()
        if self.head.pooled:
            rows_D = torch.tanh(self.pooler(rows_D))
        if self.head.rows != "tokens":  # there BERT has none before its last layer, and so has transformers
            rows_D = self.dropout(rows_D)
        if self.head.weighed:
            return torch.cat((self.last(rows_D), self.weigh(rows_D)), dim=-1)
        return self.last(rows_D) if self.head.last else rows_D

    def _marked(self, given: tuple[Tensor, Tensor, Tensor], spans: Spans) -> Tensor:
        """Return rows_MD of the marks, of which the first of each text is its [CLS], after the head's own layers.

        Sinusoidal position embeddings give each mark its number in the text.
        """
        marks = spans.marks
        assert marks is not None
        rows_M = torch.as_tensor(marks.rows_M, dtype=torch.int64, device=spans.device)
        first_M = torch.zeros(len(rows_M), dtype=torch.bool)
        first_M[torch.as_tensor(marks.starts_B[:-1], dtype=torch.int64)] = True
        chosen = Chosen.of(spans, rows_M[~first_M.to(spans.device)])
        hidden_RD = self.encoder(*given, spans, chosen=chosen).float()
        if self.head.layers:
            places_R = np.pad(np.minimum(marks.places_M, PLACES - 1), (0, len(hidden_RD) - len(rows_M)))
            hidden_RD = hidden_RD + self.places_PD[torch.as_tensor(places_R, dtype=torch.int64, device=spans.device)]
            over = Spans(marks.starts_B, spans.device, len(hidden_RD))
            for layer in self.between:
                hidden_RD = layer(hidden_RD, over)
        return hidden_RD[: len(rows_M)]  # type: ignore[no-any-return]


def averaged(rows_BO: Tensor, texts_B: Tensor, texts: int) -> Tensor:
    """Return the outputs of each text, the mean over its windows as `head.average` has it; window b is of `texts_B[b]`.

    >>> averaged(torch.tensor([[2.0, 0.0], [5.0, 1.0], [4.0, 0.0]]), torch.tensor([0, 1, 0]), 2).tolist()
    [[3.0], [5.0]]
    """
    outputs_BO, score_B = rows_BO[:, :-1], rows_BO[:, -1]
    highest_N = torch.full((texts,), -torch.inf, device=rows_BO.device)
    highest_N = highest_N.scatter_reduce(0, texts_B, score_B.detach(), "amax")
    powers_B = torch.exp(score_B - highest_N[texts_B])
    total_N = torch.zeros(texts, device=rows_BO.device).index_add(0, texts_B, powers_B)
    weighed_BO = (powers_B / total_N[texts_B])[:, None] * outputs_BO
    return torch.zeros(texts, outputs_BO.shape[1], device=rows_BO.device).index_add(0, texts_B, weighed_BO)
