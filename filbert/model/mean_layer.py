"""The mean of a text's token vectors, read off [CLS]: one Transformer layer more, so that BERT's layout holds it.

Attention whose queries are zero weighs all tokens alike. With the identity as value and `SCALE` times the identity as
output, [CLS] becomes LayerNorm(x_CLS + SCALE · mean of all x); the feed-forward part begins by adding nothing. All of
it is trained like any layer, and all programs that open BERT compute it. Only [CLS] has to be computed there.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from filbert.model.encoder import Encoder, Layer, initialise

SCALE = 4.0  # of the mean beside [CLS] itself: the cosine to the mean alone is 0.99 with minilm


def add_mean_layer(encoder: Encoder, generator: torch.Generator | None = None) -> None:
    """Add a layer to an encoder in fp32, after which [CLS] holds the mean of its text's vectors, normalised.

    Keys and the way up of the feed-forward part are drawn from `generator`, so that there is a gradient to queries and
    to the way down.

    >>> from filbert.config import EncoderConfig
    >>> encoder = Encoder(EncoderConfig(vocab_size=11, layers=2, hidden=8, heads=2, intermediate=32))
    >>> add_mean_layer(encoder)
    >>> encoder.config.layers
    3
    """
    width = encoder.config.hidden
    layer = Layer(encoder.config)
    initialise(layer, generator)
    with torch.no_grad():
        layer.qkv.weight[:width] = 0
        torch.nn.init.eye_(layer.qkv.weight[2 * width :])
        torch.nn.init.eye_(layer.out.weight).mul_(SCALE)
        layer.down.weight.zero_()
    encoder.layers.append(layer.train(encoder.training))
    encoder.config = replace(encoder.config, layers=encoder.config.layers + 1)
