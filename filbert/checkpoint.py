"""The run folder: load a base, save a model, open it again, and prove it whole.

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

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor, nn

from filbert import tensorflow
from filbert.cascade import Cascade
from filbert.checksum import sha256
from filbert.config import EncoderConfig
from filbert.errors import ModelError
from filbert.folders import check_folder, is_googles
from filbert.foreign import read_json
from filbert.hugging_face import (
    CLASSIFIER,
    PRETRAINER,
    encoder_config,
    from_hugging_face,
    head_names,
    hugging_face_config,
    modern_name,
    read_config,
    read_weights,
    to_hugging_face,
)
from filbert.linear import BUCKETS, Linear
from filbert.model.encoder import Encoder
from filbert.tasks.classify import Classifier
from filbert.tasks.pretrain import PreTrainer
from filbert.text.tokenizer import Tokenizer

FORMAT = 1  # of filbert.json
FRONT = "front.safetensors"  # of a cascade, where there is one
WHOLE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def load_base(folder: Path, *, checked: bool = False) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Open any BERT in the Hugging Face layout or Google's → encoder (fp32), tokenizer, tensors that are no encoder's.

    `checked` says that the files were compared with the manifest already, where there is one. Raises ModelError where a
    file is missing, damaged or unsafe, or where they do not belong together.
    """
    check_folder(folder)
    if (folder / "filbert.json").is_file() and not checked:
        _check_files(folder, read_json(folder / "filbert.json"))
    if is_googles(folder):
        arrays, told, _ = tensorflow.read_folder(folder)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        config = encoder_config(told, folder / tensorflow.CONFIG)
    else:
        config, tensors = read_config(folder), read_weights(folder)
    tokenizer = Tokenizer.from_folder(folder)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"{folder} — the vocabulary has {len(tokenizer):,} tokens, the embeddings {config.vocab_size:,} rows — "
            "vocabulary and weights are of different models"
        )
    encoder = Encoder(config, filled=False)
    encoder.load_state_dict(from_hugging_face(tensors, config), assign=True)
    encoder.embeddings.position.weight.requires_grad_(config.position == "learned")
    plain = {modern_name(name): tensor.float() for name, tensor in tensors.items()}
    heads = {k: v for k, v in plain.items() if not k.startswith(("embeddings.", "encoder."))}
    return encoder, tokenizer, heads


@dataclass(frozen=True)
class Saved:
    """A classifier opened from its run folder."""

    model: Classifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_length: int
    info: dict[str, Any]  # filbert.json, or {} for a folder made by others
    front: Cascade | None = None


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
    info = read_json(folder / "filbert.json")
    files = {**info.pop("files"), FRONT: sha256(folder / FRONT)}
    write_json(folder / "filbert.json", {**info, "cascade": facts, "files": files})


def _front(folder: Path, info: dict[str, Any], classes: int) -> Cascade | None:
    """Open the linear model of a cascade, where the folder has one."""
    if FRONT not in info.get("files", ()):
        return None
    threshold = (info.get("cascade") or {}).get("threshold")
    try:
        found = load_file(str(folder / FRONT))
        linear = Linear(*(found[name] for name in ("buckets", "idf", "weights", "bias")))
    except (SafetensorError, KeyError) as e:
        raise ModelError(f"{folder}/{FRONT} cannot be read ({str(e)[:120]}) — restore the file") from None
    features = len(linear.buckets_F)
    shapes = (linear.idf_F.shape, linear.weights_FC.shape, linear.bias_C.shape)
    inside = features and linear.buckets_F.min() >= 0 and linear.buckets_F.max() < BUCKETS
    if shapes != ((features,), (features, classes), (classes,)) or not inside or not isinstance(threshold, float):
        raise ModelError(f"{folder}/{FRONT} — does not belong to a model of {classes} labels — restore the folder")
    return Cascade(linear, threshold)


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
    has: frozenset[str]  # of "mlm" and "nsp"


def load_pretrained(folder: Path, generator: torch.Generator | None = None) -> Pretrained:
    """Open a base model with the heads it brings; heads it lacks start at random. Raises ModelError."""
    encoder, tokenizer, heads = load_base(folder)
    model = PreTrainer(encoder, generator)
    has = set()
    state = model.state_dict()
    for kind, names in (("mlm", ("transform", "transform_norm", "bias")), ("pooler", ("pooler",)), ("nsp", ("next",))):
        wanted = head_names({name: PRETRAINER[name] for name in names})
        if all(theirs in heads and heads[theirs].shape == state[ours].shape for ours, theirs in wanted.items()):
            model.load_state_dict({ours: heads[theirs] for ours, theirs in wanted.items()}, strict=False)
            has.add(kind)
    if "pooler" not in has:
        has.discard("nsp")
    return Pretrained(model, tokenizer, frozenset(has - {"pooler"}))


def load_model(folder: str | Path) -> Saved:
    """Open a run folder, or any BertForSequenceClassification, after checking that its parts belong together.

    Raises ModelError naming what is missing, damaged, foreign or inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder — give the run folder that `filbert fit` wrote")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json — give a finished run folder, or finish it with `filbert fit`")
    info = read_json(folder / "filbert.json") if (folder / "filbert.json").is_file() else {}
    if info:
        _check_manifest(folder, info)
    encoder, tokenizer, heads = load_base(folder, checked=bool(info))
    labels = _labels(folder, info)
    model = Classifier(encoder, len(labels))
    for ours, theirs in CLASSIFIER.items():
        part = getattr(model, ours)
        for kind, tensor in part.state_dict().items():
            name = f"{theirs}.{kind}"
            if name not in heads:
                raise ModelError(
                    f"{folder} — the weights have no tensor {name!r} — this is no classifier: fit one first"
                )
            if heads[name].shape != tensor.shape:
                shapes = f"{name!r} has shape {tuple(heads[name].shape)}, not {tuple(tensor.shape)}"
                raise ModelError(f"{folder} — {len(labels)} labels but {shapes} — weights and labels differ")
        part.load_state_dict({kind: heads[f"{theirs}.{kind}"] for kind in part.state_dict()})
    longest = info.get("max_length", encoder.config.max_positions)
    front = _front(folder, info, len(labels))
    return Saved(model.eval(), tokenizer, labels, min(longest, encoder.config.max_positions), info, front)


def _check_manifest(folder: Path, info: dict[str, Any]) -> None:
    if info.get("format") != FORMAT or info.get("task") != "classify":
        raise ModelError(
            f"{folder}/filbert.json — format {info.get('format')!r}, task {info.get('task')!r} — this version of "
            f"Filbert opens format {FORMAT}, task 'classify'; update Filbert"
        )
    for name, kind in (("labels", list), ("files", dict), ("max_length", int)):
        if not isinstance(info.get(name), kind):
            raise ModelError(f"{folder}/filbert.json {name} — is {info.get(name)!r} — restore the file")
    if info["max_length"] < 3:
        raise ModelError(f"{folder}/filbert.json max_length — is {info['max_length']} — restore the file")
    _check_files(folder, info)


def _check_files(folder: Path, info: dict[str, Any]) -> None:
    if {*info.get("files", ())} - {FRONT} != set(WHOLE):
        raise ModelError(f"{folder}/filbert.json files — must list {', '.join(WHOLE)} — restore the file")
    for name, digest in info["files"].items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}/{name} is missing — copy the whole model folder")
        if sha256(folder / name) != digest:
            raise ModelError(
                f"{folder}/{name} — its SHA-256 differs from the manifest in filbert.json — the file was changed, "
                "damaged or comes from another run; restore it, or fit again"
            )


def _labels(folder: Path, info: dict[str, Any]) -> tuple[str, ...]:
    config = read_json(folder / "config.json")
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise ModelError(
            f"{folder}/config.json problem_type — is {config['problem_type']!r} — one label a text is supported"
        )
    told = config.get("id2label", {})
    if not isinstance(told, dict) or sorted(told, key=str) != sorted(map(str, range(len(told)))):
        raise ModelError(f"{folder}/config.json id2label — must number the labels from 0 — restore the file")
    labels = tuple(str(told[str(i)]) for i in range(len(told)))
    if info and tuple(info["labels"]) != labels:
        raise ModelError(f"{folder} — labels of filbert.json and config.json differ — restore the folder")
    return labels


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
