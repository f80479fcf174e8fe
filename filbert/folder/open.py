"""Model folders read into numpy: a base's or a classifier's parts, after checking that they belong together.

    folder → config, weights under our names, tokenizer, heads (→ labels, manifest, the front of a cascade)

No torch here: what scores in C++ opens without it. checkpoint.py makes torch's models of these parts, and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from filbert.config import EncoderConfig
from filbert.errors import ModelError
from filbert.files import read_json, sha256
from filbert.folder.check import check_folder
from filbert.folder.layout import CLASSIFIER, from_hugging_face, modern_name, read_config, read_weights
from filbert.linear.cascade import Cascade
from filbert.linear.model import BUCKETS, Linear
from filbert.text.tokenizer import Tokenizer

FORMAT = 1  # of filbert.json
WHOLE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
FRONT = "front.safetensors"  # of a cascade, where there is one

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class BaseParts:
    """An encoder's shape and weights, its tokenizer, and all other tensors, under Hugging Face names."""

    config: EncoderConfig
    weights: Arrays
    tokenizer: Tokenizer
    heads: Arrays


@dataclass(frozen=True)
class ClassifierParts:
    """A classifier opened from its folder."""

    config: EncoderConfig
    weights: Arrays  # the encoder's
    head: Arrays  # pooler.weight, pooler.bias, classifier.weight, classifier.bias
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_length: int
    info: dict[str, Any]  # filbert.json, or {} for a folder made by others
    front: Cascade | None = None


def open_base(folder: Path, *, checked: bool = False) -> BaseParts:
    """Open any BERT in the Hugging Face layout; all weights as fp32.

    `checked` says that the files were compared with the manifest already, where there is one. Raises ModelError where a
    file is missing, damaged or unsafe, or where they do not belong together.
    """
    check_folder(folder)
    if (folder / "filbert.json").is_file() and not checked:
        _check_files(folder, read_json(folder / "filbert.json"))
    return base_parts(folder, read_config(folder), read_weights(folder))


def base_parts(folder: Path, config: EncoderConfig, tensors: Mapping[str, npt.NDArray[Any]]) -> BaseParts:
    """Join the config and the tensors that were read of a folder with its tokenizer; ModelError where they differ."""
    tokenizer = Tokenizer.from_folder(folder)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"{folder} — the vocabulary has {len(tokenizer):,} tokens, the embeddings {config.vocab_size:,} rows — "
            "vocabulary and weights are of different models"
        )
    plain = {modern_name(name): tensor for name, tensor in tensors.items()}
    heads = {
        name: np.asarray(tensor, dtype=np.float32)
        for name, tensor in plain.items()
        if not name.startswith(("embeddings.", "encoder."))
    }
    return BaseParts(config, from_hugging_face(tensors, config), tokenizer, heads)


def open_classifier(folder: str | Path) -> ClassifierParts:
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
    base = open_base(folder, checked=bool(info))
    labels = _labels(folder, info)
    longest = min(info.get("max_length", base.config.max_positions), base.config.max_positions)
    head, front = _head(folder, base, len(labels)), _front(folder, info, len(labels))
    return ClassifierParts(base.config, base.weights, head, base.tokenizer, labels, longest, info, front)


def _head(folder: Path, base: BaseParts, classes: int) -> Arrays:
    width = base.config.hidden
    found: Arrays = {}
    for (ours, theirs), rows in zip(CLASSIFIER.items(), (width, classes), strict=True):
        for kind, shape in (("weight", (rows, width)), ("bias", (rows,))):
            name = f"{theirs}.{kind}"
            if name not in base.heads:
                raise ModelError(
                    f"{folder} — the weights have no tensor {name!r} — this is no classifier: fit one first"
                )
            if base.heads[name].shape != shape:
                shapes = f"{name!r} has shape {base.heads[name].shape}, not {shape}"
                raise ModelError(f"{folder} — {classes} labels but {shapes} — weights and labels differ")
            found[f"{ours}.{kind}"] = base.heads[name]
    return found


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


def _check_manifest(folder: Path, info: dict[str, Any]) -> None:
    if info.get("format") == FORMAT and info.get("task") == "pretrain":
        todo = f"fit one on it: filbert fit TEXTS --base {folder}"
        raise ModelError(f"{folder} — is a base model and no classifier yet — {todo}")
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
    doubt = info.get("int8_doubt", 0.0)
    if not isinstance(doubt, float) or not 0 <= doubt <= 1:
        raise ModelError(f"{folder}/filbert.json int8_doubt — is {doubt!r}, not between 0.0 and 1.0 — restore the file")
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
