"""The training log, train.jsonl: a line for each step and each validation, and the same as curves for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filbert.errors import ConfigError
from filbert.files import write_text

LOG = "train.jsonl"
NO_CURVE = ("step", "epoch", "seconds")  # fields of a line that TensorBoard does not get

Row = dict[str, Any]


@contextmanager
def training_log(path: Path, track: Path | None = None, *, enabled: bool = True) -> Iterator[Callable[[Row], None]]:
    """Give a function that appends a row to the log, and to TensorBoard where `track` is a folder.

    Where it is not `enabled`, the function does nothing: of several processes one writes.

    >>> with training_log(Path("train.jsonl"), enabled=False) as log:
    ...     log({"step": 1, "loss": 0.7})
    """
    if not enabled:
        yield lambda row: None
        return
    writer = _tensorboard(track)
    try:
        with path.open("a", encoding="utf-8") as file:
            yield lambda row: _write(file, writer, row)
    finally:
        if writer is not None:
            writer.close()


def truncate_log(path: Path, steps: int) -> None:
    """Delete the lines of later steps, which a resumed run repeats, and a line that was only half written."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= steps:
                kept.append(line + "\n")
    write_text(path, "".join(kept))


def _write(file: IO[str], writer: Any, row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    if writer is not None:
        kind = "validation" if "validation" in row else "train"
        for name, value in row.get("validation", row).items():
            if name not in NO_CURVE:
                writer.add_scalar(f"{kind}/{name}", value, row["step"])


def _tensorboard(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed — pip install 'filbert[track]', or leave it out") from None
    return SummaryWriter(str(folder))
