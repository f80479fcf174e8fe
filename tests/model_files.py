"""The files of a model folder that passes every check, and the folder written from them; the weights are of no use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

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
