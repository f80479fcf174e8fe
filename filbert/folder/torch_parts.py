"""The arrays of a folder as torch's: an encoder, a network with its head, tensors that may be trained."""

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
    """Make an encoder of weights under our names; it shares their memory."""
    encoder = Encoder(config, filled=False)
    encoder.load_state_dict(tensors_of_arrays(weights), assign=True)
    encoder.embeddings.position.weight.requires_grad_(config.position == "learned")
    return encoder


def tensors_of_arrays(arrays: Arrays) -> dict[str, Tensor]:
    """Return arrays as tensors of their own, which may be trained."""
    return {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in arrays.items()}


def network_of(config: EncoderConfig, weights: Arrays, head: Head, arrays: Arrays) -> Network:
    """Make a network, in evaluation mode, of an encoder's weights and a head's; it shares their memory."""
    model = Network(encoder_of(config, weights), head)
    model.load_state_dict(tensors_of_arrays(arrays), strict=False, assign=True)
    return model.eval()
