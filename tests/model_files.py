"""The files of a model folder that passes every check, and the folder written from them; the weights are of no use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from safetensors.torch import load_file, save_file
from torch import Tensor

from filbert.files import sha256, write_json
from filbert.folder.open import MODEL_FILES

FILES = {
    "config.json": json.dumps({"model_type": "bert", "vocab_size": 5, "hidden_size": 8}).encode(),
    "vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nnut\n",
    "model.safetensors": save({"weight": np.arange(4096, dtype=np.float32)}),
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def without(name: str) -> dict[str, bytes]:
    return {key: data for key, data in FILES.items() if key != name}


def configured(**changes) -> bytes:
    return json.dumps(json.loads(FILES["config.json"]) | changes).encode()


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file; None takes one out."""
    told = {**json.loads(path.read_text("utf-8")), **fields}
    write_json(path, {key: value for key, value in told.items() if value is not None})


def seal(folder: Path) -> None:
    """Write the manifest's checksums anew, so that the next check is met."""
    change(folder / "filbert.json", files={name: sha256(folder / name) for name in MODEL_FILES})


def change_weights(folder: Path, **tensors: Tensor | None) -> None:
    """Put other tensors into a folder's weights; None takes one out."""
    state = {**load_file(str(folder / "model.safetensors")), **tensors}
    save_file({k: v for k, v in state.items() if v is not None}, str(folder / "model.safetensors"), {"format": "pt"})
    seal(folder)
