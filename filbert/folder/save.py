"""The run folder written: weights, tokenizer, config and the manifest that makes them one unit.

A saved folder opens in `transformers` as it stands; `filbert.json` adds what that layout has no place for (the task and
its settings, the data's fingerprint) and the SHA-256 of every other file. Weights are safetensors only. Names and
fields of that layout are layout.py's, reading is open.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filbert.files import read_json, sha256, write_json, write_tensors
from filbert.folder.layout import head_names, hugging_face_config, to_hugging_face
from filbert.folder.open import CASCADE, FORMAT, WHOLE
from filbert.linear.cascade import Cascade
from filbert.model.network import Network
from filbert.text.tokenizer import Tokenizer


def save_network(
    folder: Path, model: Network, tokenizer: Tokenizer, fields: Mapping[str, Any], info: dict[str, Any]
) -> None:
    """Write a network: `fields` go into config.json, its "architectures" among them, `info` into the manifest."""
    (architecture,) = fields["architectures"]
    config = {**hugging_face_config(model.encoder.config, architecture), **fields}
    write_folder(folder, under_their_names(model, model.head.names()), tokenizer, config, info)


def add_cascade(folder: Path, cascade: Cascade, facts: dict[str, Any]) -> None:
    """Write the linear model of a cascade into the folder of its model; the manifest comes last."""
    linear = cascade.linear
    arrays = {"buckets": linear.buckets_F, "idf": linear.idf_F, "weights": linear.weights_FC, "bias": linear.bias_C}
    write_tensors(folder / CASCADE, {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()})
    add_facts(folder, {"cascade": facts}, {CASCADE: sha256(folder / CASCADE)})


def add_facts(folder: Path, facts: dict[str, Any], files: Mapping[str, str] | None = None) -> None:
    """Add to the manifest of a finished folder what was found out of its model later, and the files it got."""
    info = read_json(folder / "filbert.json")
    write_json(folder / "filbert.json", {**info, **facts, "files": {**info["files"], **(files or {})}})


def under_their_names(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a model's tensors under their Hugging Face names, in fp32; `heads` are its modules beside `encoder`."""
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(encoder).items()}
    tensors |= {name: state[ours] for ours, name in head_names(heads, "bert.").items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def write_folder(
    folder: Path, tensors: dict[str, Tensor], tokenizer: Tokenizer, config: dict[str, Any], info: dict[str, Any]
) -> None:
    """Write the files of a model folder, each whole or not at all, the manifest last; `info` goes into the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("filbert.json", "config.json"):  # a save cut short leaves a folder that does not open, never a mixture
        (folder / name).unlink(missing_ok=True)
    (folder / CASCADE).unlink(missing_ok=True)  # of the model before
    write_tensors(folder / "model.safetensors", tensors)
    tokenizer.save(folder, info["max_length"])
    write_json(folder / "config.json", config)
    files = {name: sha256(folder / name) for name in WHOLE}
    write_json(folder / "filbert.json", {"format": FORMAT, **info, "files": files})
