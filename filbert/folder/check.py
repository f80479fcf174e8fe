"""Check a model folder by file names, configs and index before any weight is read: a complete BERT, no custom code.

The layout is Hugging Face's with safetensors; Google's TensorFlow checkpoints are checked in bases/load.py. Pickled
weights are refused. JSON is bounded in size and depth (files.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from filbert.errors import ModelError, shown
from filbert.files import read_json

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENIZER = ("tokenizer.json", "vocab.txt")
POOLING = "1_Pooling/config.json"  # of sentence-transformers
NEEDED = (("config.json",), WEIGHTS, TOKENIZER)  # one file of each group
CODE_KEYS = ("auto_map", "custom_pipelines")  # keys of a config that name Python files to run
CONFIG_LIMIT = 4 << 20  # bytes of a config.json: 50,000 labels, each named twice
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def check_folder(folder: Path) -> None:
    """Raise ModelError, naming file and field, unless the folder is a BERT that opens without running code from it.

    Refused: links out of the folder (the hub cache's links to its own blobs are fine), a config that names code or is
    not of type `bert`, weights only as pickle, an index whose shards are not plain file names present in the folder.
    """
    names = safe_file_names(folder)
    check_names(names, str(folder), NEEDED[:2])
    config = read_json(folder / "config.json", CONFIG_LIMIT)
    refuse_code(folder / "config.json", config)
    if config.get("model_type") != "bert":
        given = shown(config["model_type"]) if "model_type" in config else "missing"
        raise ModelError(f"{folder / 'config.json'} model_type — is {given}, supported is 'bert' — choose a BERT model")
    _check_index(folder / WEIGHTS[1], names)


def safe_file_names(folder: Path) -> set[str]:
    """Return the names of a folder's files; ModelError where a link leads out of it or the tokenizer names code."""
    if not folder.is_dir():
        raise ModelError(f"{folder} — is not a folder — pass the folder that holds config.json and model.safetensors")
    names = file_names(folder)
    refuse_links(folder)
    if (config := folder / "tokenizer_config.json").is_file():
        refuse_code(config, read_json(config))
    return names


def file_names(folder: Path) -> set[str]:
    """Return the names of the files in a folder; ModelError where it cannot be read.

    >>> "config.json" in file_names(Path("bert-base-uncased"))
    True
    """
    try:
        return {entry.name for entry in folder.iterdir() if entry.is_file()}
    except OSError as error:
        raise ModelError(f"{folder} — cannot be read: {error.strerror} — check its permissions") from error


def check_names(names: Collection[str], where: str, needed: Sequence[Sequence[str]] = NEEDED) -> None:
    """Raise ModelError naming every file that is missing, or pickled weights in place of safetensors.

    `where` is the folder or hub id that messages name; of each group in `needed` one file must be there.

    >>> check_names({"config.json", "model.safetensors", "vocab.txt"}, "bert-base-uncased")
    """
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if pickles and not set(WEIGHTS) & set(names):
        raise ModelError(
            f"{where} {pickles[0]} — is pickled, and pickled weights are never loaded because they can run any code — "
            "choose a model with model.safetensors, or make one of a copy: filbert convert FOLDER -o OUT"
        )
    missing = [" or ".join(group) for group in needed if not set(group) & set(names)]
    if missing:
        raise ModelError(f"{where} — lacks {', '.join(missing)} — copy the whole model folder, or choose another model")


def _check_index(index: Path, names: Collection[str]) -> None:
    """Raise ModelError unless every shard of the index, where there is one, is a plain name of a file beside it."""
    if index.name not in names:
        return
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{index} weight_map — does not map tensor names to files — download the model again")
    for shard in set(map(str, shards.values())):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise ModelError(
                f"{index} weight_map — {shown(shard)} is not a plain .safetensors file name — do not use this model"
            )
        if shard not in names:
            raise ModelError(f"{index} weight_map — {shard} is not in the folder — copy the whole model folder")


def refuse_code(path: Path, fields: dict[str, Any]) -> None:
    """Raise ModelError where the fields of a config name Python files to run."""
    for key in CODE_KEYS:
        if key in fields:
            raise ModelError(
                f"{path} {key} — names Python code to run, which Filbert never does — "
                f"choose a BERT without custom code; if this is one, delete {key!r}"
            )


def refuse_links(folder: Path) -> None:
    """Raise ModelError for a link that leads out of the folder; the hub cache's links to its own blobs are allowed."""
    root = folder.resolve()
    allowed, repo = [root], root.parent.parent
    if root.parent.name == "snapshots" and repo.name.startswith("models--"):
        allowed += [repo / "blobs", repo.parent / "blobs"]  # the hub cache: of this model, and shared between models
    for entry in sorted(root.iterdir()):
        try:
            inside = any(entry.resolve().is_relative_to(home) for home in allowed)
        except (OSError, RuntimeError):  # a link to itself
            inside = False
        if not inside:
            raise ModelError(f"{entry} — is a link that leads out of its folder — put the file itself there")
