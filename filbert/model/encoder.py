"""BERT's encoder (Devlin et al. 2018): embeddings, L × (self-attention, feed-forward), post-norm.

The input is packed, texts end to end without padding, and `Spans` keeps attention inside each text. Heads are in
network.py, fast attention in attention.py, Hugging Face's names in folder/layout.py.

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
    """torch's linear layer without an initialisation of its own: `initialise` does it."""

    def reset_parameters(self) -> None:
        """Leave the values unset; torch's own initialisation imports its compiler, a second at every start."""


def linear_gelu(linear: Linear, x: Tensor) -> Tensor:
    """Return GELU(linear(x)) (Hendrycks & Gimpel 2016)."""
    if can_activate(x, linear.bias):
        return BiasGelu.apply(F.linear(x, linear.weight), linear.bias)  # type: ignore[no-any-return, no-untyped-call]
    return F.gelu(linear(x))


class Embedding(nn.Embedding):
    """torch's embedding without an initialisation of its own: `initialise` does it."""

    def reset_parameters(self) -> None:
        """Leave the values unset."""


class Dropout(nn.Module):
    """Dropout, with `residual` added to the result.

    The mask is one random byte per value: on a CPU that is 6 × faster than torch's Bernoulli sampling, which runs on
    one core. The share is therefore a multiple of 1/256 (0.1 becomes 0.1016), `dropped` / 256, and the kept values are
    scaled by it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = min(255, round(share * 256))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return residual + dropout(x); in evaluation residual + x."""
        if not self.training or self.dropped == 0:
            return x if residual is None else residual + x
        noise = self.random_bytes(x)
        if residual is None and can_drop(x):
            return Drop.apply(x, noise, self.dropped)  # type: ignore[no-any-return, no-untyped-call]
        keep, scale = (noise >= self.dropped).view(x.shape).to(x.dtype), kept_scale(self.dropped)
        return x * keep * scale if residual is None else torch.addcmul(residual, x, keep, value=scale)

    def random_bytes(self, x: Tensor) -> Tensor:
        """Return a random byte for each value of x."""
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), 2**63 - 1)
        return words.view(torch.uint8)[: x.numel()]


def set_dropout(module: nn.Module, share: float) -> None:
    """Set the share that every dropout inside a module drops."""
    for part in module.modules():
        if isinstance(part, Dropout):
            part.dropped = Dropout(share).dropped


def add_norm(norm: nn.LayerNorm, dropout: Dropout, linear: Linear, x: Tensor, residual: Tensor) -> Tensor:
    """Return norm(residual + dropout(linear(x)))."""
    if can_add_norm(x, residual, (linear.bias, norm.weight, norm.bias)):
        product = F.linear(x, linear.weight)
        dropped = dropout.dropped if dropout.training else 0
        noise = dropout.random_bytes(product) if dropped else None
        parts = (product, linear.bias, residual, norm.weight, norm.bias)
        return AddNorm.apply(noise, dropped, norm.eps, *parts)  # type: ignore[no-any-return, no-untyped-call]
    return norm(dropout(linear(x), residual))  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """The sum of token, position and segment embeddings, with LayerNorm and dropout."""

    def __init__(self, c: EncoderConfig) -> None:
        super().__init__()
        self.token = Embedding(c.vocab_size, c.hidden)
        self.position = Embedding(c.max_positions, c.hidden)
        self.segment = Embedding(c.segments, c.hidden)
        self.norm = nn.LayerNorm(c.hidden, c.norm_eps)
        self.dropout = Dropout(c.dropout)

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor) -> Tensor:
        """Return hidden_TD."""
        hidden_TD = self.token(ids_T) + self.segment(segments_T) + self.position(positions_T)
        return self.dropout(self.norm(hidden_TD))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One Transformer layer: self-attention and feed-forward network, each with residual and LayerNorm."""

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
        """Return hidden_TD after the layer."""
        qkv_T3D = split_heads(self.qkv(hidden_TD), 3)
        return self._rest(attend(qkv_T3D, spans, self.heads), hidden_TD)

    def first_only(self, hidden_TD: Tensor, spans: Spans) -> Tensor:
        """Return hidden_BD, the same values computed only for each text's first token."""
        first_BD = hidden_TD[spans.first_B]
        q_BD, kv_T2D = self._queries(first_BD, hidden_TD)
        return self._rest(attend_first(q_BD, kv_T2D, spans, self.heads), first_BD)

    def chosen_only(self, hidden_TD: Tensor, spans: Spans, chosen: Chosen) -> Tensor:
        """Return hidden_RD, the same values computed only for the chosen rows."""
        chosen_RD = hidden_TD.index_select(0, chosen.rows_R)
        q_RD, kv_T2D = self._queries(chosen_RD, hidden_TD)
        return self._rest(attend_from(q_RD, kv_T2D, spans, chosen, self.heads), chosen_RD)

    def _queries(self, chosen: Tensor, hidden_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries of chosen rows, and keys and values of all."""
        width = hidden_TD.shape[-1]
        q = F.linear(chosen, self.qkv.weight[:width], self.qkv.bias[:width])
        return q, split_heads(F.linear(hidden_TD, self.qkv.weight[width:], self.qkv.bias[width:]), 2)

    def _rest(self, context: Tensor, residual: Tensor) -> Tensor:
        hidden = add_norm(self.attention_norm, self.dropout, self.out, context, residual)
        return add_norm(self.norm, self.dropout, self.down, linear_gelu(self.up, hidden), hidden)


class Encoder(nn.Module):
    """BERT without a head: packed token ids → a contextual vector for each token.

    `initialised=False` leaves the weights unset, to be loaded.

    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32)).eval()
    >>> ids_T, positions_T = torch.tensor([2, 5, 3, 2, 6, 7, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 3])
    >>> encoder(ids_T, positions_T, torch.zeros_like(ids_T), Spans([0, 3, 7])).shape
    torch.Size([7, 8])
    """

    def __init__(
        self, config: EncoderConfig, generator: torch.Generator | None = None, *, initialised: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        if not initialised:
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
        """Return hidden_TD; or hidden_BD of [CLS], or hidden_RD of chosen rows, which saves most of the last layer."""
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
    """Initialise as BERT does: weights normal with standard deviation 0.02, biases 0, LayerNorm weights 1."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            part.weight.data.normal_(0.0, 0.02, generator=generator)
        if isinstance(part, nn.Linear):
            part.bias.data.zero_()
        if isinstance(part, nn.LayerNorm):
            part.weight.data.fill_(1.0)
            part.bias.data.zero_()
