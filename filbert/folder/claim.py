"""Run folders as places: which one to use, whether it may be used, and that one run at a time does."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from filbert.errors import ConfigError, TrainingError

LOCK, OWNER = ".lock", ".owner"  # the lock itself, held by the system as long as the process lives; who holds it
CHECKPOINT = re.compile(
    r"(step|best)-\d+\.(json|safetensors)(\.part)?"
    r"|corpus-\d+|tokenizer(\.part)?|(ready\.json|words\.safetensors)(\.part)?"  # of pre-training
    r"|adapted|adapted\.json(\.part)?|texts\.jsonl|run\.json(\.part)?"  # of `fit --adapt`
)


def unfinished(out: Path) -> bool:
    """Say whether `out` holds an unfinished run of ours: a `checkpoints` folder with our files and nothing else."""
    folder = out / "checkpoints"
    return folder.is_dir() and all(CHECKPOINT.fullmatch(path.name) for path in folder.iterdir())


def refuse_taken(out: Path, *, overwrite: bool) -> None:
    """Raise ConfigError where a run in `out` would replace something; touches nothing."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    if not out.exists() or unfinished(out):
        return
    finished = (out / "filbert.json").is_file() and not (out / "checkpoints").exists()
    if not finished and {*os.listdir(out)} - {LOCK, OWNER, "train.jsonl"}:
        raise ConfigError(f"{out} holds files that are no Filbert run — give another folder with -o")
    if finished and not overwrite:
        raise ConfigError(f"{out} holds a finished model — give another folder with -o, or allow --overwrite")


def claim(out: Path, *, overwrite: bool) -> None:
    """Make `out` ready for a run: refused where it is taken, an unfinished run in it forgotten with `overwrite`."""
    refuse_taken(out, overwrite=overwrite)
    if overwrite and unfinished(out):
        shutil.rmtree(out / "checkpoints")


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
        (out / LOCK).unlink(missing_ok=True)  # while it is still held: nobody else's
        lock.release()


def default_folder(name: str) -> Path:
    """Return `runs/NAME`, or `runs/NAME-2`, … when there is a finished model already; an unfinished run is taken up."""
    folder, n = Path("runs") / name, 1
    while (folder / "filbert.json").is_file() and not unfinished(folder):
        n += 1
        folder = Path("runs") / f"{name}-{n}"
    return folder
