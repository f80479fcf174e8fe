"""Paths of the benchmarks' data and records, and the metadata of a record. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("FILBERT_DATA", HERE.parent.parent / "shared" / "data"))
Row = dict[str, Any]


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()


def read(path: Path) -> list[Row]:
    """Return the records of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def append(path: Path, row: Row) -> Row:
    """Add a record, with where and when it was made."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    row = {**row, "machine": machine, "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row
