"""Make torch modules of the arrays of a model folder: an encoder, or a network with its head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from filbert.config import EncoderConfig
from filbert.folder.open import Arrays
from filbert.model.encoder import Encoder
from filbert.model.head import Head
from filbert.model.network import Network


def encoder_of(config: EncoderConfig, weights: Arrays) -> Encoder:
    """Return an encoder with these weights (our names), which shares their memory."""
    encoder = Encoder(config, initialised=False)
    encoder.load_state_dict(tensors_of_arrays(weights), assign=True)
    encoder.embeddings.position.weight.requires_grad_(config.position == "learned")
    return encoder


def tensors_of_arrays(arrays: Arrays) -> dict[str, Tensor]:
    """Return arrays as writable tensors; contiguous, writable arrays share their memory."""
    return {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in arrays.items()}


def network_of(config: EncoderConfig, weights: Arrays, head: Head, arrays: Arrays) -> Network:
    """Return a network in evaluation mode with an encoder's weights and a head's, which shares their memory."""
    model = Network(encoder_of(config, weights), head)
    model.load_state_dict(tensors_of_arrays(arrays), strict=False, assign=True)
    return model.eval()
