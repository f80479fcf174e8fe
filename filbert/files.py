"""Files, whole or not at all: JSON read with care, JSON and tensors written, SHA-256 computed and compared.

Checksums are remembered for large files that nobody changes, the weights of base models, by size and time. Run folders
are hashed anew whenever they are opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filbert.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


JSON_LIMIT = 16 << 20  # bytes; the index of BERT-large split in a hundred is below 100 kB


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
        fields = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} — is nested too deeply for a model's JSON — restore the file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} — cannot be read as JSON: {str(error)[:200]} — restore the file") from None
    if not isinstance(fields, dict):
        raise ModelError(f"{path} — is not a JSON object but a {type(fields).__name__} — restore the file")
    return fields


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a neighbour to write to, which takes the place of `path` when it is complete, and is gone when it is not.

    >>> with replacing(Path("report.html")) as beside:  # doctest: +SKIP
    ...     beside.write_text("<!doctype html>")
    """
    beside = path.with_name(path.name + ".part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as beside:
        try:
            save_file(dict(tensors), str(beside), metadata={"format": "pt"})
        except SafetensorError as e:  # raised for a full disk, too
            raise OSError(f"{path} could not be written ({str(e)[:120]})") from None
        with beside.open("rb+") as file:
            os.fsync(file.fileno())


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
