"""Networks as models, as if they had been opened from a folder."""

from __future__ import annotations

from small import tokenizer

from filbert.inference.model import Model
from filbert.model.network import Network
from filbert.tasks import single_label
from filbert.tasks.single_label.settings import Settings


def as_model(network: Network) -> Model:
    """Return a network as if it had been opened from a folder."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    weights = {name.removeprefix("encoder."): x for name, x in state.items() if name.startswith("encoder.")}
    arrays = {name: x for name, x in state.items() if not name.startswith("encoder.")}
    settings, shape = Settings(("a", "b")), network.encoder.config
    return Model(single_label, settings, shape, weights, network.head, arrays, tokenizer(), 64, {})
