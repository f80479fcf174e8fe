"""The mean of a text's token vectors, read off [CLS]: a Transformer layer like any other, in the place of the last one.

Attention whose queries are zero weighs all tokens alike. With the identity as value and `SCALE` times the identity as
output, [CLS] becomes LayerNorm(x_CLS + SCALE · mean of all x); the feed-forward part begins by adding nothing, and the
pooler, where there is one, as the identity before its tanh. All of it is trained, and all programs that open BERT
compute it. As only [CLS] is needed after it, it costs what the last layer cost.
"""

from __future__ import annotations

import torch
from torch import nn

from filbert.model.encoder import Encoder, Layer, Linear, initialise

SCALE = 4.0  # of the mean beside [CLS] itself: with minilm the cosine to the mean alone is 0.95 to 0.98


def pool_by_mean(encoder: Encoder, generator: torch.Generator | None = None) -> None:
    """Put a layer in the place of an encoder's last one, after which [CLS] holds the normalised mean of its text.

    The weights are in fp32. Keys and the way up of the feed-forward part are drawn from `generator`, so that there is a
    gradient to queries and to the way down.

    >>> from filbert.config import EncoderConfig
    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32))
    >>> pool_by_mean(encoder)
    >>> encoder.layers[-1].out.weight[0, 0].item()
    4.0
    """
    width = encoder.config.hidden
    layer = Layer(encoder.config)
    initialise(layer, generator)
    with torch.no_grad():
        layer.qkv.weight[:width] = 0
        nn.init.eye_(layer.qkv.weight[2 * width :])
        nn.init.eye_(layer.out.weight).mul_(SCALE)
        layer.down.weight.zero_()
    encoder.layers[-1] = layer.train(encoder.training)


def pass_on(pooler: Linear) -> None:
    """Let a pooler begin as the identity: one that was trained on [CLS], or not at all, has never seen a mean.

    >>> pooler = Linear(2, 2)
    >>> pass_on(pooler)
    >>> pooler.weight.tolist(), pooler.bias.tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    """
    nn.init.eye_(pooler.weight)
    nn.init.zeros_(pooler.bias)
