"""Download a model of the Hugging Face hub by its id and check it → its folder in the hub library's cache.

Honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN, as `huggingface_hub` does. Requests have a
deadline; where the hub does not answer, the cache is used. Only the files that a model needs are downloaded, and they
are compared with their SHA-256. Data sets are in readers/hub.py; find.py decides which model to download.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from filbert.errors import ModelError, shown
from filbert.files import compare
from filbert.folder.check import NEEDED, POOLING, TOKENIZER, WEIGHTS, check_folder, check_names, file_names

WANTED = [
    "config.json",
    *WEIGHTS,
    "model-*.safetensors",
    *TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    POOLING,
]
STALL_SECONDS = 300.0  # without a byte on disk; the hub library writes 10 MB at a time, its Xet part up to 64 MB

T = TypeVar("T")


class Unavailable(ModelError):
    """A model that can neither be downloaded nor found in the cache, for the short reason `why`."""

    def __init__(self, name: str, why: str, todo: str) -> None:
        self.why = why
        super().__init__(f"{name} — {why} — {todo}")


def fetch(
    repo: str, revision: str | None, seconds: float, *, choices: str, offline: str, more: Sequence[str] = ()
) -> Path:
    """Return the snapshot folder (its name is the commit), downloaded if need be, verified and checked.

    Beside the files of a base model `more` are downloaded where they are there.
    `seconds` is how long the hub may take to answer; messages offer `choices` instead (all base models) or `offline`
    (those without network). Raises Unavailable when the model cannot be had, ModelError when it must not be used.

    >>> folder = fetch("google-bert/bert-base-uncased", None, 10.0, choices="a folder", offline="minilm")
    >>> (folder / "config.json").is_file()
    True
    """
    hashes: Mapping[str, str] = {}
    if _offline():
        folder = _cached(repo, revision, "HF_HUB_OFFLINE is set", offline)
    elif not more and re.fullmatch("[0-9a-f]{40}", revision or "") and (known := _find_cached(repo, revision)):
        folder = known  # a commit never changes: nothing to ask
    else:
        try:
            hashes = _ask(repo, revision, seconds, choices)
        except (ConnectionError, TimeoutError) as error:
            folder = _cached(repo, revision, f"{hub_name()} cannot be reached: {brief(error)}", offline)
        else:
            folder = _download(repo, revision, more)
    check_names(file_names(folder), repo)
    check_folder(folder)
    for file in sorted(folder.glob("*.safetensors")):
        blob = (
            os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        )  # the cache names large files by SHA-256
        expected = hashes.get(file.name) or (blob if re.fullmatch("[0-9a-f]{64}", blob) else None)
        if expected:
            compare(file, expected, f"delete {file.resolve()} and download again")
    return folder


def _ask(repo: str, revision: str | None, seconds: float, choices: str) -> Mapping[str, str]:
    """Ask the hub for the repository's files; return the SHA-256 of the large ones, by name.

    Raises ConnectionError or TimeoutError when the hub does not answer, ModelError when the model cannot be used.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi(endpoint=endpoint())
    try:
        info = _within(seconds, lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=seconds))
    except errors.GatedRepoError as error:
        todo = "accept its conditions on its page and set HF_TOKEN"
        raise Unavailable(repo, "this model is gated", todo) from error
    except errors.RepositoryNotFoundError as error:
        todo = f"check the spelling; set HF_TOKEN if it is private; or choose {choices}"
        raise Unavailable(repo, f"there is no such folder here, nor such a model at {hub_name()}", todo) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repo} — has no revision {shown(revision)} — give a branch, tag or commit of it") from error
    except errors.HFValidationError as error:
        raise ModelError(f"{shown(repo)} — is not a hub id: {brief(error)} — choose {choices}") from error
    except Exception as error:  # of httpx or requests, by huggingface_hub's version
        raise ConnectionError(brief(error)) from error
    files = info.siblings or []
    check_names([file.rfilename for file in files], repo)
    return {file.rfilename: file.lfs.sha256 for file in files if file.lfs}


def _download(repo: str, revision: str | None, more: Sequence[str]) -> Path:
    try:
        return _within(
            STALL_SECONDS, lambda: _snapshot(repo, revision, local=False, more=more), lambda: _bytes_of(repo)
        )
    except Exception as error:
        todo = "run again: finished files are kept; or set HF_ENDPOINT to a mirror, or pass a copied folder"
        raise Unavailable(repo, f"the download from {hub_name()} failed: {brief(error)}", todo) from error


def _cached(repo: str, revision: str | None, why: str, offline: str) -> Path:
    folder = _find_cached(repo, revision)
    if folder is None:
        todo = (
            f"set HF_ENDPOINT to a mirror, or copy the model's folder to this machine and pass its path, "
            f"or use {offline}, which need no network"
        )
        raise Unavailable(repo, f"it is not in the cache {_cache_folder()}, and {why}", todo)
    return folder


def _find_cached(repo: str, revision: str | None) -> Path | None:
    """Return the cached snapshot if it holds a whole model (another program may have fetched the tokenizer only)."""
    try:
        folder = _snapshot(repo, revision, local=True)
    except Exception:  # not there, or incomplete
        return None
    names = file_names(folder)
    return folder if all(set(group) & names for group in NEEDED) else None


def _snapshot(repo: str, revision: str | None, *, local: bool, more: Sequence[str] = ()) -> Path:
    """Call snapshot_download with the environment as it is now: huggingface_hub read it once, when imported."""
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            repo,
            revision=revision,
            cache_dir=_cache_folder(),
            endpoint=endpoint(),
            allow_patterns=[*WANTED, *more],
            ignore_patterns="*/*.safetensors",
            local_files_only=local,
        )
    )


def _bytes_of(repo: str) -> int:
    """Return how many bytes of the repository are on disk, unfinished files included."""
    total = 0
    for file in (Path(_cache_folder()) / f"models--{repo.replace('/', '--')}").rglob("*"):
        with contextlib.suppress(OSError):  # it was renamed meanwhile
            total += file.lstat().st_size
    return total


def _within(seconds: float, call: Callable[[], T], progress: Callable[[], int] = int) -> T:
    """Return what `call` returns or raises; or TimeoutError after `seconds` in which `progress` stayed the same.

    No HTTP timeout covers a silent name server, and huggingface_hub lists a repository's files without one.
    """
    box: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            box.put((call(), None))
        except Exception as error:
            box.put((None, error))

    threading.Thread(target=work, name="filbert-hub", daemon=True).start()
    seen = progress()
    while True:
        try:
            value, error = box.get(timeout=seconds)
            break
        except queue.Empty:
            if seen == (seen := progress()):
                raise TimeoutError(f"no answer within {seconds:g} seconds") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # T may itself be optional, so no assert can narrow it


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_name() -> str:
    """Return the address of the hub as messages show it: without a password."""
    return _without_password(endpoint())


def _cache_folder() -> str:
    """Return the folder where huggingface_hub keeps snapshots, by its own rules."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    folder = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.expandvars(os.path.expanduser(folder))


def brief(error: Exception) -> str:
    """Return the first line of the error's message."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _without_password(line)[:200]


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
