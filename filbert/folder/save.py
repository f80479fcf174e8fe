"""The run folder: load a base, save a model, open it again. What a folder must be like is opened.py's.

A saved folder opens in `transformers` as it stands; `filbert.json` adds what that layout has no place for (task,
labels, data fingerprint) and the SHA-256 of every other file, so that weights, labels and vocabulary are one unit.
Weights are safetensors only; nothing here can run code from a file. Names and fields of that layout: hugging_face.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filbert.files import read_json, sha256, write_json, write_tensors
from filbert.folder.layout import CLASSIFIER, head_names, hugging_face_config, to_hugging_face
from filbert.folder.open import FORMAT, FRONT, WHOLE, ClassifierParts, open_classifier
from filbert.folder.torch_parts import encoder_of, tensors_of_arrays
from filbert.linear.cascade import Cascade
from filbert.model.network import Classifier
from filbert.text.tokenizer import Tokenizer


def save_model(
    folder: Path, model: Classifier, tokenizer: Tokenizer, labels: Sequence[str], info: dict[str, Any]
) -> None:
    """Write model, tokenizer, labels and manifest; each file is complete before it gets its name, the manifest last."""
    config = {
        **hugging_face_config(model.encoder.config, "BertForSequenceClassification"),
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    write_folder(
        folder,
        under_their_names(model, CLASSIFIER),
        tokenizer,
        config,
        {"task": "classify", "labels": list(labels), **info},
    )


def add_front(folder: Path, front: Cascade, facts: dict[str, Any]) -> None:
    """Write the linear model of a cascade into the folder of its classifier; the manifest comes last."""
    linear = front.linear
    arrays = {"buckets": linear.buckets_F, "idf": linear.idf_F, "weights": linear.weights_FC, "bias": linear.bias_C}
    write_tensors(folder / FRONT, {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()})
    add_facts(folder, {"cascade": facts}, {FRONT: sha256(folder / FRONT)})


def add_facts(folder: Path, facts: dict[str, Any], files: Mapping[str, str] | None = None) -> None:
    """Add to the manifest of a finished folder what was found out of its model later, and the files it got."""
    info = read_json(folder / "filbert.json")
    write_json(folder / "filbert.json", {**info, **facts, "files": {**info["files"], **(files or {})}})


def under_their_names(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return all tensors of a model under their Hugging Face names, in fp32."""
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
    (folder / FRONT).unlink(missing_ok=True)  # of the model before
    write_tensors(folder / "model.safetensors", tensors)
    tokenizer.save(folder, info["max_length"])
    write_json(folder / "config.json", config)
    files = {name: sha256(folder / name) for name in WHOLE}
    write_json(folder / "filbert.json", {"format": FORMAT, **info, "files": files})


@dataclass(frozen=True)
class Saved:
    """A classifier opened from its run folder: torch's model, in evaluation mode, and what it is made of."""

    model: Classifier
    parts: ClassifierParts


def load_model(folder: str | Path) -> Saved:
    """Open a run folder, or any BertForSequenceClassification, for torch.

    Raises ModelError naming what is missing, damaged, foreign or inconsistent.
    """
    parts = open_classifier(folder)
    return Saved(classifier_of(parts), parts)


def classifier_of(parts: ClassifierParts) -> Classifier:
    """Make torch's model of the parts of a folder; it shares their memory."""
    model = Classifier(encoder_of(parts.config, parts.weights), len(parts.labels))
    model.load_state_dict(tensors_of_arrays(parts.head), strict=False, assign=True)
    return model.eval()
