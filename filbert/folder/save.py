"""Write a model folder: weights (safetensors), tokenizer, config and manifest.

The folder opens in `transformers`; the manifest `filbert.json` adds what Hugging Face's layout lacks (the task and its
settings, the data's fingerprint) and the SHA-256 of every other file. layout.py translates names and fields, open.py
reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filbert.files import read_json, sha256, write_json, write_tensors
from filbert.folder.layout import head_names, hugging_face_config, to_hugging_face
from filbert.folder.open import CASCADE, FORMAT, MODEL_FILES
from filbert.linear.cascade import Cascade
from filbert.model.network import Network
from filbert.text.tokenizer import Tokenizer


def save_network(
    folder: Path, model: Network, tokenizer: Tokenizer, fields: Mapping[str, Any], info: dict[str, Any]
) -> None:
    """Write a network's folder; `fields` (with "architectures") go into config.json, `info` into the manifest."""
    (architecture,) = fields["architectures"]
    config = {**hugging_face_config(model.encoder.config, architecture), **fields}
    write_folder(folder, hugging_face_tensors(model, model.head.names()), tokenizer, config, info)


def add_cascade(folder: Path, cascade: Cascade, facts: dict[str, Any]) -> None:
    """Write the linear model of a cascade into the folder of its model; the manifest comes last."""
    linear = cascade.linear
    arrays = {"buckets": linear.buckets_F, "idf": linear.idf_F, "weights": linear.weights_FC, "bias": linear.bias_C}
    write_tensors(folder / CASCADE, {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()})
    add_facts(folder, {"cascade": facts}, {CASCADE: sha256(folder / CASCADE)})


def add_facts(folder: Path, facts: dict[str, Any], files: Mapping[str, str] | None = None) -> None:
    """Add `facts`, and the SHA-256 of the added `files`, to the manifest of a finished folder."""
    info = read_json(folder / "filbert.json")
    write_json(folder / "filbert.json", {**info, **facts, "files": {**info["files"], **(files or {})}})


def hugging_face_tensors(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a model's tensors under Hugging Face names, in fp32; `heads` maps modules beside `encoder` to theirs."""
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
    for name in ("filbert.json", "config.json"):  # an interrupted save does not open
        (folder / name).unlink(missing_ok=True)
    (folder / CASCADE).unlink(missing_ok=True)  # of the previous model
    write_tensors(folder / "model.safetensors", tensors)
    tokenizer.save(folder, info["max_length"])
    write_json(folder / "config.json", config)
    files = {name: sha256(folder / name) for name in MODEL_FILES}
    write_json(folder / "filbert.json", {"format": FORMAT, **info, "files": files})
