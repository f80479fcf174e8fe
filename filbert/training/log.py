"""The training log, train.jsonl: a line for each step and each validation, and the same as curves for trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filbert.files import write_text
from filbert.training.tracking import Tracker

LOG = "train.jsonl"
NO_CURVE = ("step", "epoch", "seconds")  # fields of a line that are no curve

Row = dict[str, Any]


@contextmanager
def training_log(
    path: Path, trackers: Callable[[], Sequence[Tracker]] = lambda: (), *, enabled: bool = True
) -> Iterator[Callable[[Row], None]]:
    """Give a function that appends a row to the log, and to what `trackers` opens.

    Where it is not `enabled`, the function does nothing: of several processes one writes.

    >>> with training_log(Path("train.jsonl"), enabled=False) as log:
    ...     log({"step": 1, "loss": 0.7})
    """
    if not enabled:
        yield lambda row: None
        return
    opened, failed = trackers(), True
    try:
        with path.open("a", encoding="utf-8") as file:
            yield lambda row: _write(file, opened, row)
        failed = False
    finally:
        for each in opened:
            each.close(failed=failed)


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


def _write(file: IO[str], trackers: Sequence[Tracker], row: Row) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    kind = "validation" if "validation" in row else "train"
    for name, value in row.get("validation", row).items() if trackers else ():
        if name not in NO_CURVE:
            for each in trackers:
                each.scalar(f"{kind}/{name}", value, row["step"])
