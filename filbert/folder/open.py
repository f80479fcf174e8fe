"""Read a base model's or a finished model's folder into numpy arrays, after checking that its files belong together.

    folder → config, weights under our names, tokenizer, other tensors (→ manifest, linear models, detector)

No torch here, so that scoring in C++ starts without it. torch_parts.py makes torch modules of these parts, save.py
writes folders.
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
from filbert.errors import ModelError, shown
from filbert.files import read_json, sha256
from filbert.folder.check import check_folder
from filbert.folder.layout import as_fp32, from_hugging_face, layer_shapes, modern_names, read_config, read_weights
from filbert.folder.linear_parts import LINEAR_FILES, blend_of, cascade_of
from filbert.linear.blend import Blend
from filbert.linear.cascade import Cascade
from filbert.linear.detector import Detector
from filbert.model.head import Head
from filbert.text.tokenizer import Tokenizer

FORMAT = 1  # of filbert.json
PADDING = (8, 16, 32, 64, 128, 256, 1_000)  # vocabularies are padded to a multiple of these
TOKEN_BYTES = 256  # of a tokenizer's file for each row of the embeddings, at most, beside a megabyte; BERT's have 25
FEW = 16  # rows without a token, at most, that may be lost lines of the vocabulary
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
UNKNOWN = "unknown.safetensors"  # what tells texts of none of the known classes
BESIDE = (*LINEAR_FILES, UNKNOWN)  # files that a model may have

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class BaseParts:
    """An encoder's config and weights, its tokenizer, and all other tensors (`heads`, under Hugging Face names)."""

    config: EncoderConfig
    weights: Arrays
    tokenizer: Tokenizer
    heads: Arrays


@dataclass(frozen=True)
class ModelParts:
    """A finished model's folder: encoder and tokenizer, config.json, manifest, and the linear models that it has."""

    base: BaseParts
    fields: dict[str, Any]  # config.json
    info: dict[str, Any]  # filbert.json, or {} for a folder made by others
    max_length: int
    cascade: Cascade | None = None
    blend: Blend | None = None
    detector: Detector | None = None


def open_base(folder: Path, *, checked: bool = False) -> BaseParts:
    """Open any BERT in the Hugging Face layout; all weights as fp32.

    `checked`: the files were already compared with the manifest, if there is one. Raises ModelError where a
    file is missing, damaged or unsafe, or where they do not belong together.
    """
    check_folder(folder)
    if (folder / "filbert.json").is_file() and not checked:
        _check_files(folder, read_json(folder / "filbert.json"))
    return base_parts(folder, read_config(folder), read_weights(folder))


def base_parts(folder: Path, config: EncoderConfig, tensors: Mapping[str, npt.NDArray[Any]]) -> BaseParts:
    """Return config, tensors and the folder's tokenizer as BaseParts; ModelError where they do not fit each other."""
    _check_sizes(folder, config.vocab_size)
    tokenizer = Tokenizer.from_folder(folder, lambda tokens: _check_vocabulary(folder, tokens, config.vocab_size))
    heads = {
        name: as_fp32(name, tensor)
        for name, tensor in modern_names(tensors).items()
        if not name.startswith(("embeddings.", "encoder.")) and name.endswith((".weight", ".bias"))
    }
    return BaseParts(config, from_hugging_face(tensors, config), tokenizer, heads)


def _check_sizes(folder: Path, rows: int) -> None:
    """Raise ModelError where a tokenizer file is far larger than the rows of the embeddings explain: it is not read."""
    for path in (folder / "tokenizer.json", folder / "vocab.txt"):
        size = path.stat().st_size if path.is_file() else 0
        if size > (1 << 20) + TOKEN_BYTES * rows:
            raise ModelError(
                f"{path} — is {size / 1e6:,.1f} MB, too large for the {rows:,} rows of the embeddings — "
                "vocabulary and weights are of different models"
            )


def _check_vocabulary(folder: Path, tokens: int, rows: int) -> None:
    """Raise ModelError where a vocabulary has more tokens than the embeddings have rows, or lacks a few.

    A few rows more than tokens are padding to a round number, or lines of the vocabulary were lost, which shifts all
    ids after them. Some published models have many more rows.
    """
    lacking = rows - tokens
    padded = any(rows == -(-tokens // step) * step for step in PADDING)
    if lacking < 0 or (lacking <= FEW and lacking and not padded):
        raise ModelError(
            f"{folder} — the vocabulary has {tokens:,} tokens, the embeddings {rows:,} rows — "
            "vocabulary and weights are of different models, or lines of the vocabulary were lost"
        )


def open_model_parts(folder: str | Path) -> ModelParts:
    """Open a run folder, or a BERT classifier's made elsewhere, after checking that its files belong together.

    The task interprets the settings. Raises ModelError naming what is missing, damaged, foreign or inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder — give the run folder that `filbert fit` wrote")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json — give a finished run folder, or finish it with `filbert fit`")
    info = read_json(folder / "filbert.json") if (folder / "filbert.json").is_file() else {}
    if info:
        _check_manifest(folder, info)
    base = open_base(folder, checked=bool(info))
    max_length = min(info.get("max_length", base.config.max_positions), base.config.max_positions)
    fields, linear = read_json(folder / "config.json"), (cascade_of(folder, info), blend_of(folder, info))
    return ModelParts(base, fields, info, max_length, *linear, _detector(folder, info))


def head_arrays(parts: BaseParts, head: Head, where: str | Path) -> Arrays:
    """Return the weights and biases of a head under our names; ModelError where one is missing or of another shape."""
    width, names = parts.config.hidden, head.names()
    shapes: dict[str, tuple[int, ...]] = {}
    for module, rows in (("pooler", width), ("last", head.outputs), ("weigh", 1)):
        if module in names:
            shapes |= {f"{module}.weight": (rows, width), f"{module}.bias": (rows,)}
    for i in range(head.layers):
        shapes |= layer_shapes(parts.config, f"between.{i}")
    found: Arrays = {}
    for ours, shape in shapes.items():
        module, kind = ours.rsplit(".", 1)
        name = f"{names[module]}.{kind}"
        if name not in parts.heads:
            raise ModelError(f"{where} — the weights have no tensor {name!r} — not a finished model: fit one first")
        if parts.heads[name].shape != shape:
            wrong = f"{name!r} has shape {parts.heads[name].shape}, config.json and filbert.json ask for {shape}"
            raise ModelError(f"{where} — {wrong} — weights and labels are of different models")
        found[ours] = parts.heads[name]
    return found


def _detector(folder: Path, info: dict[str, Any]) -> Detector | None:
    """Open what tells texts of none of the known classes; None where the folder has none."""
    if UNKNOWN not in info.get("files", ()):
        return None
    try:
        found = load_file(str(folder / UNKNOWN))
        detector = Detector(*(found[name] for name in ("directions", "means", "levels")))
    except (SafetensorError, KeyError) as e:
        raise ModelError(f"{folder}/{UNKNOWN} cannot be read ({str(e)[:120]}) — restore the file") from None
    shapes = [each.shape for each in (detector.directions_KD, detector.means_CK, detector.levels_L)]
    if [len(shape) for shape in shapes] != [2, 2, 1] or shapes[0][0] != shapes[1][1] or not all(shapes[1]):
        raise ModelError(f"{folder}/{UNKNOWN} — its parts do not belong together — restore the folder")
    return detector


def _check_manifest(folder: Path, info: dict[str, Any]) -> None:
    if info.get("format") != FORMAT:
        raise ModelError(
            f"{folder}/filbert.json — format {shown(info.get('format'))} — this version of Filbert opens format "
            f"{FORMAT}; update Filbert"
        )
    if "export" in info:
        raise ModelError(f"{folder} — is an export for other runtimes — give the run folder that it was made of")
    if "settings" not in info:
        todo = f"fine-tune it: filbert fit TEXTS --base {folder}"
        raise ModelError(f"{folder} — is a base model, not a finished one — {todo}")
    for name, kind in (("settings", dict), ("files", dict), ("max_length", int)):
        if not isinstance(info.get(name), kind):
            raise ModelError(f"{folder}/filbert.json {name} — is {shown(info.get(name))} — restore the file")
    if info["max_length"] < 3:
        raise ModelError(f"{folder}/filbert.json max_length — is {info['max_length']} — restore the file")
    columns = info.get("columns") or {}
    if not isinstance(columns, dict) or not isinstance(columns.get("inputs", []), list):
        raise ModelError(f"{folder}/filbert.json columns — are {shown(columns)} — restore the file")
    margin = info.get("int8_margin", 0.0)
    if not isinstance(margin, float) or not 0 <= margin <= 1:
        raise ModelError(
            f"{folder}/filbert.json int8_margin — is {shown(margin)}, not between 0.0 and 1.0 — restore the file"
        )
    _check_files(folder, info)


def _check_files(folder: Path, info: dict[str, Any]) -> None:
    files = info.get("files")
    if not isinstance(files, dict) or {*files} - {*BESIDE} != set(MODEL_FILES):
        raise ModelError(f"{folder}/filbert.json files — must list {', '.join(MODEL_FILES)} — restore the file")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}/{name} is missing — copy the whole model folder")
        if sha256(folder / name) != digest:
            raise ModelError(
                f"{folder}/{name} — its SHA-256 differs from the manifest in filbert.json — the file was changed, "
                "damaged or comes from another run; restore it, or fit again"
            )
