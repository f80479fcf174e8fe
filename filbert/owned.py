"""What is Filbert's own on a disk, by marks that it wrote itself; and that no input of a command is ever its output.

A finished model, vocabulary or conversion has a manifest, `filbert.json`; an unfinished run has a marker in its scratch
folder. Names of other files prove nothing. Such a folder inside a folder of texts is never read as texts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from filbert.errors import ConfigError, ModelError
from filbert.files import read_json

MANIFEST = "filbert.json"
SCRATCH, MARKER = "checkpoints", ".filbert"
NOTE = "Files of an unfinished run of Filbert. The same command resumes it, and deletes this folder when it is done.\n"
OUTPUTS = (".rejects.jsonl", ".summaries.csv", ".predictions.csv")  # ends of the names that outputs get by themselves

Paths = Iterable[str | Path | None]


def finished(folder: Path) -> bool:
    """Say whether a folder has a manifest that we wrote."""
    try:
        return (folder / MANIFEST).is_file() and "format" in read_json(folder / MANIFEST)
    except ModelError:
        return False


def unfinished(folder: Path) -> bool:
    """Say whether a folder holds an unfinished run of ours: one that left its marker, be it half written."""
    try:
        return NOTE.startswith((folder / SCRATCH / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def is_output(name: str) -> bool:
    """Say whether a file is called as what a command writes beside its input: that is no data.

    >>> is_output("reviews.predictions.csv"), is_output("reviews.csv")
    (True, False)
    """
    return name.endswith(OUTPUTS)


def refuse_inputs(out: Path, inputs: Paths) -> None:
    """Raise ConfigError where an input lies in the folder `out`, is that folder, or is another name of a file in it."""
    real = out.resolve()
    for path in _paths(inputs):
        twin = path.is_file() and out.is_dir() and any(_same(path, file) for file in out.iterdir())
        if twin or path.resolve().is_relative_to(real):
            raise ConfigError(f"{out} holds {path}, which is read here — give another folder with -o")


def refuse_input(out: Path, inputs: Paths, models: Paths = ()) -> None:
    """Raise ConfigError where the file `out` is an input, would lie among texts that are read, or is a model's."""
    real = out.parent.resolve() / out.name
    for path in _paths(inputs):
        if path.is_dir() and real.is_relative_to(path.resolve()) and not is_output(out.name):
            todo = f"end its name in {OUTPUTS[-1]}, or write somewhere else with -o"
            raise ConfigError(f"{out} would lie in {path}, whose files are read as texts — {todo}")
        if path.is_file() and _same(out, path):
            raise ConfigError(f"{out} is the input itself — write somewhere else with -o")
    for path in _paths(models):
        if path.is_dir() and any(_same(out, file) for file in path.iterdir()):
            raise ConfigError(f"{out} is a file of the model {path} — write somewhere else with -o")


def _paths(inputs: Paths) -> list[Path]:
    """Return the inputs that are files or folders here, not names on the hub or what texts in memory are called."""
    return [Path(path) for path in inputs if path and os.path.exists(path)]


def _same(one: Path, other: Path) -> bool:
    """Say whether two names are of one file: by links of either kind, too."""
    return one.exists() and other.exists() and one.samefile(other)


@contextmanager
def lock(file: Path) -> Iterator[bool]:
    """Hold a lock file, or say that another process does; the system frees the lock of a process that dies.

    Raises ConfigError where a file of somebody's has that name: an empty one is all that we make.
    """
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file() or file.stat().st_size):
        raise ConfigError(f"{file} is in the way, no lock of ours — move it away")
    held = FileLock(file, timeout=0)
    try:
        held.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)  # while it is still held: nobody else's
        held.release()
