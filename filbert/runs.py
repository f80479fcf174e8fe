"""Run folders as places: which one to use, whether it may be used, and that one run at a time does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filbert.errors import ConfigError, TrainingError

LOCK = ".lock"


def refuse_taken(out: Path, *, overwrite: bool) -> None:
    """Raise ConfigError where a run in `out` would replace something; touches nothing."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    if not out.exists() or (out / "checkpoints").is_dir():
        return
    finished = (out / "filbert.json").is_file()
    if not finished and {*os.listdir(out)} - {LOCK, "train.jsonl"}:
        raise ConfigError(f"{out} holds files that are no Filbert run — give another folder with -o")
    if finished and not overwrite:
        raise ConfigError(f"{out} holds a finished model — give another folder with -o, or allow --overwrite")


def claim(out: Path, *, overwrite: bool) -> None:
    """Make `out` ready for a run: refused where it is taken, an unfinished run in it forgotten with `overwrite`."""
    refuse_taken(out, overwrite=overwrite)
    if overwrite and (out / "checkpoints").is_dir():
        shutil.rmtree(out / "checkpoints")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and keep a second run out of it; the lock of a process that is gone is taken over."""
    out.mkdir(parents=True, exist_ok=True)
    lock = out / LOCK
    with suppress(FileNotFoundError, ValueError):
        owner = int(lock.read_text())
        if owner != os.getpid() and _alive(owner):
            raise TrainingError(f"{out} is in use by process {owner} — wait for it, or give another folder with -o")
        lock.unlink(missing_ok=True)
    try:
        with lock.open("x") as file:  # fails where another run was quicker
            file.write(str(os.getpid()))
    except FileExistsError:
        raise TrainingError(f"{out} is in use by another run — wait for it, or give another folder with -o") from None
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
