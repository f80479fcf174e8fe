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

from filbert.errors import ConfigError, TrainingError
from filbert.files import delete_drafts
from filbert.owned import MARKER, NOTE, SCRATCH, Paths, finished, lock, refuse_inputs, unfinished

LOCK, OWNER = ".lock", ".owner"  # the system's lock, held as long as the process lives; and which process that is
LOG = "train.jsonl"


def refuse_taken(out: Path, *, overwrite: bool, inputs: Paths = ()) -> None:
    """Raise ConfigError where a run in `out` would replace a finished model, an input, or files that are not ours.

    A finished model needs `overwrite`; or a run over it that was begun with `overwrite` and has saved something to
    resume, which is always under the identity of its data and settings. TrainingError where another run is in it.
    Nothing is changed.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    if not out.exists():
        return
    refuse_inputs(out, inputs)
    _refuse_others(out, overwrite)
    if (out / LOCK).exists():
        with locked(out):
            pass


def _refuse_others(out: Path, overwrite: bool) -> None:
    foreign = not unfinished(out) and (out / SCRATCH).exists() and not _is_empty(out / SCRATCH)
    if foreign or not (finished(out) or unfinished(out) or _is_bare(out)):
        raise ConfigError(f"{out} holds files that are not a Filbert run's — give another folder with -o")
    if finished(out) and not overwrite and not _resumable(out):
        raise ConfigError(f"{out} holds a finished model — give another folder with -o, or allow --overwrite")


def _is_bare(out: Path) -> bool:
    """Say whether a folder is empty, but for what a run leaves that is killed before its marker stands."""
    for path in out.iterdir():
        made = path.name == LOCK and path.is_file() and not path.stat().st_size
        made |= path.name == OWNER and path.is_file() and path.read_bytes()[:20].isdigit()
        made |= path.name == SCRATCH and _is_empty(path)
        if not made:
            return False
    return True


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _resumable(out: Path) -> bool:
    """Return whether there is an unfinished run with a checkpoint to resume, seen by the checkpoint's JSON file."""
    return unfinished(out) and any((out / SCRATCH).rglob("*.json"))


def claim(out: Path, *, overwrite: bool) -> None:
    """Mark `out`, which is locked, as the folder of a run; what a killed one left half written is deleted.

    With `overwrite` an unfinished run there is deleted. Raises ConfigError.
    """
    _refuse_others(out, overwrite)
    if overwrite:
        delete_scratch(out)
    (out / SCRATCH).mkdir(parents=True, exist_ok=True)
    (out / SCRATCH / MARKER).write_text(NOTE, encoding="utf-8")
    for folder in (out, *(path for path in (out / SCRATCH).rglob("*") if path.is_dir())):
        delete_drafts(folder)


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
    if [path.name for path in folder.iterdir()] == [MARKER]:  # else something could not be deleted, and stays ours
        (folder / MARKER).unlink()
        folder.rmdir()


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and keep a second run out of it; TrainingError where there is one."""
    out.mkdir(parents=True, exist_ok=True)
    owner = out / OWNER
    with lock(out / LOCK) as held:
        if not held:
            holder = "another run"
            with suppress(OSError):
                holder = f"process {owner.read_text(encoding='utf-8')}"
            raise TrainingError(f"{out} is in use by {holder} — wait for it, or give another folder with -o")
        try:
            owner.write_text(str(os.getpid()), encoding="utf-8")
            yield
        finally:
            owner.unlink(missing_ok=True)


def default_folder(name: str, *, overwrite: bool = False) -> Path:
    """Return `runs/NAME`, or `runs/NAME-2`, … where that holds a finished model and no run to resume.

    With `overwrite` it is `runs/NAME` in any case.
    """
    folder, n = Path("runs") / name, 1
    while not overwrite and finished(folder) and not _resumable(folder):
        n += 1
        folder = Path("runs") / f"{name}-{n}"
    return folder
