"""BERT, top to bottom (Devlin et al. 2018): embeddings, L × (self-attention, feed-forward), post-norm.

The encoder sees packed tokens only — texts end to end, no padding — and `Spans` keeps attention inside each text.
What is not here: heads (tasks/), how attention is made fast (attention.py), Hugging Face names (hugging_face.py).

Shapes: T tokens in the batch, B texts, R chosen rows of T, D hidden width, F feed-forward width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert.config import EncoderConfig
from filbert.model.attention import Chosen, Spans, attend, attend_first, attend_from, split_heads
from filbert.model.native_training import AddNorm, BiasGelu, Drop, can_activate, can_add_norm, can_drop, kept_scale


def sinusoids(positions: int, width: int) -> Tensor:
    """Return the fixed position table of the Transformer: sin(i / 10000^(2j/D)) in even columns, cos in odd ones.

    >>> sinusoids(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    i_P1 = torch.arange(positions, dtype=torch.float64)[:, None]
    angle_PJ = i_P1 / 10_000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack((angle_PJ.sin(), angle_PJ.cos()), dim=-1).flatten(1)[:, :width].float()


class Linear(nn.Linear):
    """torch's linear layer, which leaves its first values to `initialise`: drawn once, in one place."""

    def reset_parameters(self) -> None:
        """Leave the values unset; torch's own draw, on its way, loads the compiler, a second at every start."""


def activated(linear: Linear, x: Tensor) -> Tensor:
    """Return GELU(linear(x)) (Hendrycks & Gimpel 2016)."""
    if can_activate(x, linear.bias):
        return BiasGelu.apply(F.linear(x, linear.weight), linear.bias)  # type: ignore[no-any-return, no-untyped-call]
    return F.gelu(linear(x))


class Embedding(nn.Embedding):
    """torch's table, which leaves its first values to `initialise`."""

    def reset_parameters(self) -> None:
        """Leave the values unset."""


class Dropout(nn.Module):
    """Drop a share of the numbers in training and add the rest to `residual`.

    The mask is drawn a byte at a time: on a CPU that is 6 × faster than torch's Bernoulli draw, whose generator runs
    on one core. The share is therefore a multiple of 1/256 (0.1 becomes 0.1016), and the kept numbers are scaled to it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(255, round(share * 256))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return `residual + dropped(x)`; in evaluation nothing is dropped."""
        if not self.training or self.dropped == 0:
            return x if residual is None else residual + x
        drawn = self.draw(x)
        if residual is None and can_drop(x):
            return Drop.apply(x, drawn, self.dropped)  # type: ignore[no-any-return, no-untyped-call]
        keep, scale = (drawn >= self.dropped).view(x.shape).to(x.dtype), kept_scale(self.dropped)
        return x * keep * scale if residual is None else torch.addcmul(residual, x, keep, value=scale)

    def draw(self, x: Tensor) -> Tensor:
        """Return a byte for each number of x."""
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), 2**63 - 1)
        return words.view(torch.uint8)[: x.numel()]


def added(norm: nn.LayerNorm, dropout: Dropout, linear: Linear, x: Tensor, residual: Tensor) -> Tensor:
    """Return what a layer was given plus what `linear` makes of x, normalised."""
    if can_add_norm(x, residual, (linear.bias, norm.weight, norm.bias)):
        made = F.linear(x, linear.weight)
        dropped = dropout.dropped if dropout.training else 0
        drawn = dropout.draw(made) if dropped else None
        parts = (made, linear.bias, residual, norm.weight, norm.bias)
        return AddNorm.apply(drawn, dropped, norm.eps, *parts)  # type: ignore[no-any-return, no-untyped-call]
    return norm(dropout(linear(x), residual))  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """What a token is, where it stands and which segment it is in, added up and normalised."""

    def __init__(self, c: EncoderConfig) -> None:
        super().__init__()
        self.token = Embedding(c.vocab_size, c.hidden)
        self.position = Embedding(c.max_positions, c.hidden)
        self.segment = Embedding(c.segments, c.hidden)
        self.norm = nn.LayerNorm(c.hidden, c.norm_eps)
        self.dropout = Dropout(c.dropout)

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor) -> Tensor:
        """ids_T → hidden_TD."""
        hidden_TD = self.token(ids_T) + self.segment(segments_T) + self.position(positions_T)
        return self.dropout(self.norm(hidden_TD))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One Transformer layer: each token gathers a weighted sum of the others, then is worked on alone."""

    def __init__(self, c: EncoderConfig) -> None:
        super().__init__()
        self.heads = c.heads
        self.qkv = Linear(c.hidden, 3 * c.hidden)  # query, key and value in one product
        self.out = Linear(c.hidden, c.hidden)
        self.attention_norm = nn.LayerNorm(c.hidden, c.norm_eps)
        self.up = Linear(c.hidden, c.intermediate)
        self.down = Linear(c.intermediate, c.hidden)
        self.norm = nn.LayerNorm(c.hidden, c.norm_eps)
        self.dropout = Dropout(c.dropout)

    def forward(self, hidden_TD: Tensor, spans: Spans) -> Tensor:
        """hidden_TD → hidden_TD."""
        qkv_T3D = split_heads(self.qkv(hidden_TD), 3)
        return self._rest(attend(qkv_T3D, spans, self.heads), hidden_TD)

    def first_only(self, hidden_TD: Tensor, spans: Spans) -> Tensor:
        """hidden_TD → hidden_BD: the same numbers for each text's first token, computed for no other."""
        first_BD = hidden_TD[spans.first_B]
        q_BD, kv_T2D = self._queries(first_BD, hidden_TD)
        return self._rest(attend_first(q_BD, kv_T2D, spans, self.heads), first_BD)

    def chosen_only(self, hidden_TD: Tensor, spans: Spans, chosen: Chosen) -> Tensor:
        """hidden_TD → hidden_RD: the same numbers for the chosen rows, computed for no other."""
        chosen_RD = hidden_TD.index_select(0, chosen.rows_R)
        q_RD, kv_T2D = self._queries(chosen_RD, hidden_TD)
        return self._rest(attend_from(q_RD, kv_T2D, spans, chosen, self.heads), chosen_RD)

    def _queries(self, asking: Tensor, hidden_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Queries of some rows, keys and values of all."""
        width = hidden_TD.shape[-1]
        q = F.linear(asking, self.qkv.weight[:width], self.qkv.bias[:width])
        return q, split_heads(F.linear(hidden_TD, self.qkv.weight[width:], self.qkv.bias[width:]), 2)

    def _rest(self, context: Tensor, residual: Tensor) -> Tensor:
        hidden = added(self.attention_norm, self.dropout, self.out, context, residual)
        return added(self.norm, self.dropout, self.down, activated(self.up, hidden), hidden)


class Encoder(nn.Module):
    """BERT without a head: packed token ids in, a contextual vector for each token out.

    With `filled` false the weights are not set, for those who load them.

    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32)).eval()
    >>> ids_T, positions_T = torch.tensor([2, 5, 3, 2, 6, 7, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 3])
    >>> encoder(ids_T, positions_T, torch.zeros_like(ids_T), Spans([0, 3, 7])).shape
    torch.Size([7, 8])
    """

    def __init__(self, config: EncoderConfig, generator: torch.Generator | None = None, *, filled: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        if not filled:
            return
        initialise(self, generator)
        if config.position == "sinusoidal":
            self.embeddings.position.weight.data.copy_(sinusoids(config.max_positions, config.hidden))
            self.embeddings.position.weight.requires_grad_(False)

    def forward(
        self,
        ids_T: Tensor,
        positions_T: Tensor,
        segments_T: Tensor,
        spans: Spans,
        *,
        first_only: bool = False,
        chosen: Chosen | None = None,
    ) -> Tensor:
        """Return hidden_TD, or, which spares most of the last layer, [CLS] vectors alone, hidden_BD, or hidden_RD."""
        assert not (first_only and chosen)
        hidden_TD = self.embeddings(ids_T, positions_T, segments_T)
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if first_only and i == last:
                return layer.first_only(hidden_TD, spans)
            if chosen is not None and i == last:
                return layer.chosen_only(hidden_TD, spans, chosen)
            hidden_TD = layer(hidden_TD, spans)
        return hidden_TD[: spans.tokens]  # type: ignore[no-any-return]


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Start a model as BERT does: weights from a normal distribution of spread 0.02, biases 0, norms 1."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            part.weight.data.normal_(0.0, 0.02, generator=generator)
        if isinstance(part, nn.Linear):
            part.bias.data.zero_()
        if isinstance(part, nn.LayerNorm):
            part.weight.data.fill_(1.0)
            part.bias.data.zero_()
