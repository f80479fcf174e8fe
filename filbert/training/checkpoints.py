"""Checkpoints of a run: what a resumed run needs, under a checksum, as safetensors and JSON.

    step-00000120.safetensors   weights, optimizer, random state
    step-00000120.json          what the run did so far, its identity, the SHA-256 of both files of tensors and its own
    best-00000080.safetensors   the weights that validated best so far

A checkpoint counts once its JSON is there. The newest two are kept: one may turn out damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from filbert.errors import ConfigError, ModelError
from filbert.files import read_sealed, sha256, write_sealed, write_tensors

KEPT = 2
ANEW = "start over with --overwrite"  # what to do about a damaged file of an unfinished run


def step_file(folder: Path, step: int) -> Path:
    """Return where the tensors of a checkpoint are kept; the JSON has the same name with `.json`."""
    return folder / f"step-{step:08d}.safetensors"


def best_file(folder: Path, step: int) -> Path:
    """Return where the best weights are kept, found at that step."""
    return folder / f"best-{step:08d}.safetensors"


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], state: dict[str, Any], best: Path) -> None:
    """Write a checkpoint, the tensors first, and delete older ones; `best` is a file of weights that may not exist."""
    path = step_file(folder, step)
    write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()})
    best_facts = {"file": best.name, "sha256": sha256(best)} if best.is_file() else None
    write_sealed(path.with_suffix(".json"), {**state, "sha256": sha256(path), "best": best_facts})
    for old in sorted(folder.glob("step-*.json"))[:-KEPT]:
        delete_checkpoint(old)
    delete_unused_best(folder, best)


def delete_checkpoint(path: Path) -> None:
    """Delete both files of a checkpoint, given its JSON."""
    path.unlink()
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def delete_unused_best(folder: Path, best: Path) -> None:
    """Delete the files of best weights, except `best` and those that a checkpoint refers to."""
    needed = {best.name}
    for path in folder.glob("step-*.json"):
        with suppress(ModelError, KeyError, TypeError):
            needed.add(read_sealed(path)["best"]["file"])
    for path in folder.glob("best-*.safetensors"):
        if path.name not in needed:
            path.unlink()


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the tensors and the state of the newest undamaged checkpoint, or None."""
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        with suppress(ModelError, OSError, KeyError, TypeError):
            state = read_sealed(path)
            tensors, best = path.with_suffix(".safetensors"), state["best"]
            if sha256(tensors) == state["sha256"] and (best is None or sha256(folder / best["file"]) == best["sha256"]):
                return tensors, state
    return None


def damaged_checkpoints(folder: Path, newest: Path | None) -> list[Path]:
    """Return the JSON of the checkpoints after the newest undamaged one."""
    stem = newest.stem if newest else ""
    return [path for path in folder.glob("step-*.json") if path.stem > stem]


def refuse_changes(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Raise ConfigError, naming each difference, unless a run to be resumed has the data and settings it began with.

    >>> refuse_changes({"seed": 0}, {"seed": 1}, Path("runs/films/checkpoints"))
    Traceback (most recent call last):
    filbert.errors.ConfigError: runs/films holds an unfinished run with other settings (seed: 0 → 1) — repeat …
    """
    now = json.loads(json.dumps(now))
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    changed = [f"{name}: {before.get(name)!r} → {now.get(name)!r}" for name in names]
    if changed:
        raise ConfigError(
            f"{folder.parent} holds an unfinished run with other settings ({'; '.join(changed)}) — repeat the first "
            "command to resume it, choose another folder with -o, or start over with --overwrite"
        )
