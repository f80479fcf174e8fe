"""Write a model folder: weights (safetensors), tokenizer, config and manifest.

The folder opens in `transformers`; the manifest `filbert.json` adds what Hugging Face's layout lacks (the task and its
settings, the data's fingerprint) and the SHA-256 of every other file. layout.py translates names and fields, open.py
reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from filbert.files import draft_folder, read_json, sha256, write_json, write_tensors
from filbert.folder.layout import head_names, hugging_face_config, to_hugging_face
from filbert.folder.linear_parts import BLEND, CASCADE, arrays_of, blend_info
from filbert.folder.open import BESIDE, FORMAT, MODEL_FILES, UNKNOWN
from filbert.linear.blend import Blend
from filbert.linear.cascade import Cascade
from filbert.linear.detector import Detector
from filbert.model.network import Network
from filbert.owned import MANIFEST
from filbert.text.tokenizer import VOCABULARY, Tokenizer
from filbert.version import versions

Arrays = Mapping[str, npt.NDArray[Any]]


def save_network(
    folder: Path,
    model: Network,
    tokenizer: Tokenizer,
    fields: Mapping[str, Any],
    info: dict[str, Any],
    *,
    blend: Blend | None = None,
) -> None:
    """Write a network's folder; `fields` (with "architectures") go into config.json, `info` into the manifest.

    The linear model of a `blend` goes into a file of its own, and how it is asked into the manifest's "blend".
    """
    (architecture,) = fields["architectures"]
    config = {**hugging_face_config(model.encoder.config, architecture), **fields}
    more: dict[str, dict[str, Tensor]] = {}
    if blend is not None:
        more = {BLEND: _tensors(arrays_of(blend.linear.linear))}
        info = {**info, "blend": {**info.get("blend", {}), **blend_info(blend)}}
    write_folder(folder, hugging_face_tensors(model, model.head.names()), tokenizer, config, info, more=more)


def add_cascade(folder: Path, cascade: Cascade, facts: dict[str, Any]) -> None:
    """Write the linear model of a cascade into the folder of its model; the manifest comes last."""
    _add_file(folder, CASCADE, arrays_of(cascade.linear), {"cascade": facts})


def add_detector(folder: Path, detector: Detector, facts: dict[str, Any]) -> None:
    """Write what tells texts of none of the known classes into the folder of its model; the manifest comes last."""
    arrays: Arrays = {"directions": detector.directions_KD, "means": detector.means_CK, "levels": detector.levels_L}
    _add_file(folder, UNKNOWN, arrays, facts)


def _add_file(folder: Path, name: str, arrays: Arrays, facts: dict[str, Any]) -> None:
    write_tensors(folder / name, _tensors(arrays))
    add_facts(folder, facts, {name: sha256(folder / name)})


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()}


def add_facts(folder: Path, facts: dict[str, Any], files: Mapping[str, str] | None = None) -> None:
    """Add `facts`, and the SHA-256 of the added `files`, to the manifest of a finished folder."""
    info = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**info, **facts, "files": {**info["files"], **(files or {})}})


def hugging_face_tensors(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a model's tensors under Hugging Face names, in fp32; `heads` maps modules beside `encoder` to theirs."""
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(encoder).items()}
    tensors |= {name: state[ours] for ours, name in head_names(heads, "bert.").items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def write_folder(
    folder: Path,
    tensors: dict[str, Tensor],
    tokenizer: Tokenizer,
    config: dict[str, Any],
    info: dict[str, Any],
    *,
    more: Mapping[str, dict[str, Tensor]] = MappingProxyType({}),
) -> None:
    """Write the files of a model folder, of which none is replaced before all are on disk; `info` is the manifest's.

    `more` are further files of tensors, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with draft_folder(folder / MANIFEST) as draft:
        write_tensors(draft / "model.safetensors", tensors)
        tokenizer.save(draft, info["max_length"])
        write_json(draft / "config.json", config)
        for name, found in more.items():
            write_tensors(draft / name, found)
        publish(draft, folder, (*MODEL_FILES, *more), info)


def save_vocabulary(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the folder of a vocabulary, which is made where it is not there: all of it, or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(folder) as draft:
        tokenizer.save(draft, 512)
        publish(draft, folder, VOCABULARY, {"task": "vocabulary", "versions": versions()})


def publish(draft: Path, folder: Path, names: Sequence[str], info: dict[str, Any]) -> None:
    """Add the manifest to a draft and move its files; config.json is the first to go and the last to come.

    So a move that is cut short leaves a folder that is ours and does not open: no mixture, no model without manifest.

    >>> publish(Path("draft"), Path("bert-tiny"), MODEL_FILES, {"task": "base"})  # doctest: +SKIP
    """
    files = {name: sha256(draft / name) for name in names}
    write_json(draft / MANIFEST, {"format": FORMAT, **info, "files": files})
    folder.mkdir(exist_ok=True)
    for name in ("config.json", *BESIDE):  # what stands beside is the model's before
        (folder / name).unlink(missing_ok=True)
    for name in (MANIFEST, *sorted(names, key="config.json".__eq__)):
        (draft / name).replace(folder / name)
