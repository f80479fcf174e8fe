"""The run folder: load a base, save a model, open it again. What a folder must be like is opened.py's.

A saved folder opens in `transformers` as it stands; `filbert.json` adds what that layout has no place for (task,
labels, data fingerprint) and the SHA-256 of every other file, so that weights, labels and vocabulary are one unit.
Weights are safetensors only; nothing here can run code from a file. Names and fields of that layout: hugging_face.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from filbert.cascade import Cascade
from filbert.checksum import sha256
from filbert.config import EncoderConfig
from filbert.foreign import read_json
from filbert.hugging_face import CLASSIFIER, PRETRAINER, head_names, hugging_face_config, to_hugging_face
from filbert.model.classifier import Classifier
from filbert.model.encoder import Encoder
from filbert.opened import FORMAT, FRONT, WHOLE, Arrays, ClassifierParts, open_base, open_classifier
from filbert.tasks.pretrain import PreTrainer
from filbert.text.tokenizer import Tokenizer

HEADS = {"mlm": ("transform", "transform_norm", "bias"), "pooler": ("pooler",), "nsp": ("next",)}  # of PreTrainer


def load_base(folder: Path) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Open any BERT in the Hugging Face layout or Google's → encoder (fp32), tokenizer, tensors that are no encoder's.

    Raises ModelError where a file is missing, damaged or unsafe, or where they do not belong together.
    """
    base = open_base(folder)
    return _encoder(base.config, base.weights), base.tokenizer, _tensors(base.heads)


def _encoder(config: EncoderConfig, weights: Arrays) -> Encoder:
    encoder = Encoder(config, filled=False)
    encoder.load_state_dict(_tensors(weights), assign=True)
    encoder.embeddings.position.weight.requires_grad_(config.position == "learned")
    return encoder


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Return arrays as tensors of their own, which may be trained."""
    return {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in arrays.items()}


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
    _write_folder(
        folder, _theirs(model, CLASSIFIER), tokenizer, config, {"task": "classify", "labels": list(labels), **info}
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


def save_pretrained(
    folder: Path, model: PreTrainer, tokenizer: Tokenizer, info: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a pre-trained encoder with its heads, as `transformers`' BertForPreTraining has them; `info` as above."""
    shape = replace(model.encoder.config, dropout=EncoderConfig.dropout)  # pre-trained without, fine-tuned with it
    config = {**hugging_face_config(shape, "BertForPreTraining"), "dtype": str(dtype).removeprefix("torch.")}
    tensors = {name: tensor.to(dtype) for name, tensor in _theirs(model, PRETRAINER).items()}
    _write_folder(folder, tensors, tokenizer, config, {"task": "pretrain", **info})


def _theirs(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return all tensors of a model under their Hugging Face names, in fp32."""
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(encoder).items()}
    tensors |= {name: state[ours] for ours, name in head_names(heads, "bert.").items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _write_folder(
    folder: Path, tensors: dict[str, Tensor], tokenizer: Tokenizer, config: dict[str, Any], info: dict[str, Any]
) -> None:
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
class Pretrained:
    """An encoder with its pre-training heads, where it has them."""

    model: PreTrainer
    tokenizer: Tokenizer
    has: frozenset[str]  # names of HEADS


def load_pretrained(folder: Path, generator: torch.Generator | None = None) -> Pretrained:
    """Open a base model with the heads it brings; heads it lacks start at random. Raises ModelError."""
    encoder, tokenizer, heads = load_base(folder)
    model = PreTrainer(encoder, generator)
    has = set()
    state = model.state_dict()
    for kind, names in HEADS.items():
        wanted = head_names({name: PRETRAINER[name] for name in names})
        if all(theirs in heads and heads[theirs].shape == state[ours].shape for ours, theirs in wanted.items()):
            model.load_state_dict({ours: heads[theirs] for ours, theirs in wanted.items()}, strict=False)
            has.add(kind)
    if "pooler" not in has:
        has.discard("nsp")
    return Pretrained(model, tokenizer, frozenset(has))


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
    model = Classifier(_encoder(parts.config, parts.weights), len(parts.labels))
    model.load_state_dict(_tensors(parts.head), strict=False, assign=True)
    return model.eval()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all: to a neighbour first, then renamed."""
    scratch = path.with_name(path.name + ".part")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    try:
        save_file(dict(tensors), str(scratch), metadata={"format": "pt"})
    except SafetensorError as e:  # the library's name for a full disk, too
        scratch.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written ({str(e)[:120]})") from None
    with scratch.open("rb+") as file:
        os.fsync(file.fileno())
    scratch.replace(path)
