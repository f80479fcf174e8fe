"""Files, whole or not at all: JSON read with care, JSON and tensors written, SHA-256 computed and compared.

What is not complete yet lies in a draft folder beside its place. The folder's name is drawn at random and made
exclusively, so it is no file and no link of anybody's. What a killed process left there, the next one that has the lock
of the place deletes.

Checksums are remembered for large files that nobody changes, the weights of base models, by size and time. Run folders
are hashed anew whenever they are opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filbert.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


DRAFT = ".filbert-draft-"  # begins the name of each draft folder
JSON_LIMIT = 16 << 20  # bytes; the index of BERT-large split in a hundred is below 100 kB


def read_json(path: Path, most: int = JSON_LIMIT) -> dict[str, Any]:
    """Read a JSON object; ModelError where it is missing, broken, too deep, or larger than so many bytes.

    >>> read_json(Path("bert-base-uncased/config.json"))["hidden_size"]
    768
    """
    if not path.is_file():  # a pipe of that name would be waited for
        raise ModelError(f"{path} is missing — copy the whole model folder")
    try:
        if path.stat().st_size > most:
            raise ModelError(f"{path} — is larger than {most >> 20} MB, no model's JSON — restore the file")
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
    """Give an empty file to write to, which takes the place of `path` when it is complete, and is gone when it is not.

    The permissions are those of the file that is replaced, or what the umask leaves to a new one. Where `path` is a
    link, the link goes, and what it points to stays.

    >>> with replacing(Path("report.html")) as draft:  # doctest: +SKIP
    ...     draft.write_text("<!doctype html>")
    """
    with draft_folder(path) as folder:
        draft = folder / path.name
        draft.touch()
        mode = (path if path.is_file() and not path.is_symlink() else draft).stat().st_mode & 0o777
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.chmod(mode)  # safetensors makes its files their owner's alone
        draft.replace(path)


@contextlib.contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` for what is written there before it is complete; afterwards it is gone."""
    folder = Path(tempfile.mkdtemp(prefix=_drafts(path.name), dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def delete_drafts(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes left of a file's drafts, or of all in a folder; the caller holds its lock."""
    for path in folder.glob(f"{_drafts(name)}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _drafts(name: str | None) -> str:
    """Return how the drafts of a file are called, but for the random end; names may be as long as they can be."""
    return DRAFT if name is None else f"{DRAFT}{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}-"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the line ends of the text, whole or not at all; what is no UTF-8 of a path is escaped."""
    with replacing(path) as draft:
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all; bytes of a path that are no UTF-8 are escaped, and read back the same."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON together with the SHA-256 of its content."""
    write_json(path, {"sha256": content_sha256(value), "content": value})


def read_sealed(path: Path, todo: str = "restore the file") -> dict[str, Any]:
    """Read what `write_sealed` wrote; ModelError, ending in what to do, where any part of it was changed."""
    told = read_json(path)
    content, expected = told.get("content"), told.get("sha256")
    if not isinstance(content, dict) or content_sha256(content) != expected:
        raise ModelError(f"{path} — is damaged: the SHA-256 of its content is another one — {todo}")
    return content


def content_sha256(value: Any) -> str:
    """Return the SHA-256 of a JSON value in hex, however it is laid out.

    >>> content_sha256({"a": 1, "b": (2,)}) == content_sha256({"b": [2], "a": 1})
    True
    """
    plain = json.loads(json.dumps(value))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """Return the SHA-256 over those files of a folder that are there, by name and content."""
    return content_sha256({name: sha256(folder / name) for name in names if (folder / name).is_file()})


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as draft:
        try:
            save_file(dict(tensors), str(draft), metadata={"format": "pt"})
        except SafetensorError as e:  # raised for a full disk, too
            raise OSError(f"{path} could not be written ({str(e)[:120]})") from None


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
