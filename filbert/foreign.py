"""Folders made by others, met with care: JSON of bounded size and depth, no code by name, no links that lead out.

What is asked of every model folder before anything in it is believed. What the files mean is for those who read them
(folders.py, hugging_face.py, convert.py, text/tokenizer.py); weights are not looked at here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filbert.errors import ModelError

JSON_LIMIT = 16 << 20  # bytes; the index of BERT-large split in a hundred is below 100 kB
CODE_KEYS = ("auto_map", "custom_pipelines")  # with these a config names Python files to run


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; ModelError where it is missing, broken, too large or too deep.

    >>> read_json(Path("bert-base-uncased/config.json"))["hidden_size"]
    768
    """
    if not path.is_file():  # a pipe of that name would be waited for
        raise ModelError(f"{path} is missing — copy the whole model folder")
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise ModelError(f"{path} — is larger than {JSON_LIMIT >> 20} MB, no model's JSON — restore the file")
        told = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} — is nested too deeply for a model's JSON — restore the file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} — cannot be read as JSON: {str(error)[:200]} — restore the file") from None
    if not isinstance(told, dict):
        raise ModelError(f"{path} — holds no JSON object but a {type(told).__name__} — restore the file")
    return told


def refuse_code(path: Path, fields: dict[str, Any]) -> None:
    """Raise ModelError where the fields of a config name Python files to run."""
    for key in CODE_KEYS:
        if key in fields:
            raise ModelError(
                f"{path} {key} — names code of its own to run, which Filbert never does — "
                f"use a plain BERT; if this is one, delete {key!r}"
            )


def refuse_links(folder: Path) -> None:
    """Raise ModelError for an entry that leads out of the folder; the hub cache's links to its own blobs are fine."""
    root = folder.resolve()
    homes, repo = [root], root.parent.parent
    if root.parent.name == "snapshots" and repo.name.startswith("models--"):
        homes += [repo / "blobs", repo.parent / "blobs"]  # the hub cache: of this model, and shared between models
    for entry in sorted(root.iterdir()):
        try:
            inside = any(entry.resolve().is_relative_to(home) for home in homes)
        except (OSError, RuntimeError):  # a link to itself
            inside = False
        if not inside:
            raise ModelError(f"{entry} — is a link that leads out of its folder — put the file itself there")
