"""train.jsonl, the diary of a run: a line for each step and each validation, and the same as curves for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filbert.errors import ConfigError

LOG = "train.jsonl"
UNDRAWN = ("step", "epoch", "seconds")  # of a line, what is no curve

Row = dict[str, Any]


@contextmanager
def written(path: Path, track: Path | None = None, *, quiet: bool = False) -> Iterator[Callable[[Row], None]]:
    """Give a function that appends a row, and draws it for TensorBoard where `track` is a folder; `quiet`: neither.

    >>> with written(Path("train.jsonl"), quiet=True) as log:
    ...     log({"step": 1, "loss": 0.7})
    """
    if quiet:
        yield lambda row: None
        return
    writer = _tensorboard(track)
    try:
        with path.open("a", encoding="utf-8") as file:
            yield lambda row: _write(file, writer, row)
    finally:
        if writer is not None:
            writer.close()


def cut(path: Path, steps: int) -> None:
    """Forget the lines of steps that a resumed run does again, and one that a kill cut short."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= steps:
                kept.append(line + "\n")
    scratch = path.with_name(path.name + ".part")
    scratch.write_text("".join(kept), encoding="utf-8")
    scratch.replace(path)


def _write(file: IO[str], writer: Any, row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    if writer is not None:
        kind = "validation" if "validation" in row else "train"
        for name, value in row.get("validation", row).items():
            if name not in UNDRAWN:
                writer.add_scalar(f"{kind}/{name}", value, row["step"])


def _tensorboard(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed — pip install 'filbert[track]', or leave it out") from None
    return SummaryWriter(str(folder))
