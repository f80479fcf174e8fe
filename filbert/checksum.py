"""SHA-256 of files: computed, remembered between runs, compared with what was promised.

The memory is for large files that nobody changes, the weights of base models; it trusts size and time. Run folders are
hashed anew whenever they are opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filbert.errors import ModelError
from filbert.foreign import read_json


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in pieces.

    >>> sha256(Path("model.safetensors"))[:8]
    '53aa5117'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def compare(file: Path, expected: str, todo: str) -> None:
    """Raise ModelError, ending in what to do, where the file's SHA-256 (remembered) is not the one expected.

    >>> compare(Path("model.safetensors"), "53aa51…", "download it again")
    """
    digest = sha256_remembered(file)
    if digest != expected:
        raise ModelError(f"{file} — is damaged: its SHA-256 is {digest}, expected {expected} — {todo}")


def sha256_remembered(file: Path) -> str:
    """Return the file's SHA-256, remembered by path, size and time in the user's cache folder if that is writable.

    >>> sha256_remembered(Path("model.safetensors")) == sha256(Path("model.safetensors"))
    True
    """
    real, stat = file.resolve(), file.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    memory = _memory()
    known = _recall(memory)
    fact = known.get(str(real))
    if isinstance(fact, list) and len(fact) == 3 and fact[:2] == stamp:
        return str(fact[2])
    digest = sha256(real)
    if memory is not None:
        _remember(memory, known | {str(real): [*stamp, digest]})
    return digest


def _memory() -> Path | None:
    cache = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    return cache / "filbert" / "sha256.json" if cache.is_absolute() else None  # relative: there is no home folder


def _recall(memory: Path | None) -> dict[str, Any]:
    try:
        return read_json(memory) if memory else {}
    except ModelError:
        return {}


def _remember(memory: Path, facts: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=memory.parent)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(facts, stream)
        os.replace(draft, memory)
