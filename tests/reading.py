"""What the tests of the readers share: a small file, and what is read of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

ROWS = [("good film", "pos"), ("bad film", "neg"), ("fine, fine", "pos"), ("poor", "neg")]
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)


def pairs(path: Path, labelled: bool = True, **options: Any) -> list[tuple[str, Any]]:
    """Return (text, target) of each row."""
    return [(row.text, row.target) for row in open_source(path, ReadOptions(**options), labelled=labelled).examples()]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
