"""Run folders as places: which one to use, whether it may be used, and that one run at a time does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filbert.errors import ConfigError, TrainingError


def claim(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something a run would replace."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    finished = (out / "filbert.json").is_file() and not (out / "checkpoints").is_dir()
    strange = out.is_dir() and any(out.iterdir()) and not finished and not (out / "checkpoints").is_dir()
    if strange and not set(os.listdir(out)) <= {".lock", "train.jsonl"}:
        raise ConfigError(f"{out} holds files that are no Filbert run — give another folder with -o")
    if finished and not overwrite:
        raise ConfigError(f"{out} holds a finished model — give another folder with -o, or allow --overwrite")
    if overwrite and (out / "checkpoints").is_dir():
        shutil.rmtree(out / "checkpoints")
    out.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the lock of a process that is gone is taken over."""
    lock = out / ".lock"
    with suppress(FileNotFoundError, ValueError):
        owner = int(lock.read_text())
        if owner != os.getpid() and _alive(owner):
            raise TrainingError(f"{out} is in use by process {owner} — wait for it, or give another folder with -o")
    lock.write_text(str(os.getpid()))
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def default_folder(name: str) -> Path:
    """Return `runs/NAME`, or `runs/NAME-2`, … when there is a finished model already; an unfinished run is taken up."""
    folder, n = Path("runs") / name, 1
    while (folder / "filbert.json").is_file() and not (folder / "checkpoints").is_dir():
        n += 1
        folder = Path("runs") / f"{name}-{n}"
    return folder
