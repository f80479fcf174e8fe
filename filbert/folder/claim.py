"""The folder of a run: whether it may be used, a lock on it, and the scratch files in `OUT/checkpoints`.

`claim` puts a marker file into `checkpoints`. A folder with the marker is an unfinished Filbert run: the next run may
resume it, or delete it. Without the marker nothing is deleted, whatever the files are called.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from filbert.errors import ConfigError, TrainingError

LOCK, OWNER = ".lock", ".owner"  # the lock file, held as long as the process lives, and the number of that process
SCRATCH, MARKER = "checkpoints", ".filbert"
NOTE = "Files of an unfinished run of Filbert. The same command resumes it, and deletes this folder when it is done.\n"
LOG = "train.jsonl"


def unfinished(out: Path) -> bool:
    """Return whether `out` holds an unfinished run of Filbert: its marker is there."""
    return (out / SCRATCH / MARKER).is_file()


def refuse_taken(out: Path, *, overwrite: bool) -> None:
    """Raise ConfigError where a run in `out` would replace a finished model, or files that are not Filbert's.

    A finished model may be replaced with `overwrite`, or by an unfinished run that was begun with `overwrite` and has a
    checkpoint to resume. Nothing is changed.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    if not out.exists():
        return
    foreign = not unfinished(out) and (out / SCRATCH).exists() and not _is_empty(out / SCRATCH)
    finished = (out / "filbert.json").is_file()
    others = {*os.listdir(out)} - {LOCK, OWNER, LOG, SCRATCH}
    if foreign or (others and not finished and not unfinished(out)):
        raise ConfigError(f"{out} holds files that are not a Filbert run's — give another folder with -o")
    if finished and not overwrite and not _resumable(out):
        raise ConfigError(f"{out} holds a finished model — give another folder with -o, or allow --overwrite")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _resumable(out: Path) -> bool:
    """Return whether there is an unfinished run with a checkpoint to resume, seen by the checkpoint's JSON file."""
    return unfinished(out) and any((out / SCRATCH).rglob("*.json"))


def claim(out: Path, *, overwrite: bool) -> None:
    """Mark `out` as the folder of a run; with `overwrite` an unfinished run there is deleted. Raises ConfigError."""
    refuse_taken(out, overwrite=overwrite)
    if overwrite:
        delete_scratch(out)
    (out / SCRATCH).mkdir(parents=True, exist_ok=True)
    (out / SCRATCH / MARKER).write_text(NOTE, encoding="utf-8")


def delete_scratch(out: Path) -> None:
    """Delete the scratch files of a run; the marker last, so that they stay recognisable if the process is killed."""
    folder = out / SCRATCH
    if not unfinished(out):
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != MARKER:
            path.unlink(missing_ok=True)
    (folder / MARKER).unlink()
    with suppress(OSError):  # not empty: something could not be deleted
        folder.rmdir()


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and keep a second run out of it; the system frees the lock of a process that dies."""
    out.mkdir(parents=True, exist_ok=True)
    owner = out / OWNER
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        holder = "another run"
        with suppress(OSError):
            holder = f"process {owner.read_text(encoding='utf-8')}"
        raise TrainingError(f"{out} is in use by {holder} — wait for it, or give another folder with -o") from None
    try:
        owner.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        (out / LOCK).unlink(missing_ok=True)  # while it is held, so that no other process's lock is deleted
        lock.release()


def default_folder(name: str) -> Path:
    """Return `runs/NAME`, or `runs/NAME-2`, … where that holds a finished model and no run to resume."""
    folder, n = Path("runs") / name, 1
    while (folder / "filbert.json").is_file() and not _resumable(folder):
        n += 1
        folder = Path("runs") / f"{name}-{n}"
    return folder
