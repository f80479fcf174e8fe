"""Running a command in this process, so that torch is loaded once for all of them; and the texts they are given."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from filbert import cli

TRAIN = ["--base", "tiny", "--epochs", "1", "--device", "cpu", "--precision", "fp32"]
WORDS = {"neg": ("bad", "dull", "poor"), "pos": ("good", "fine", "great")}


def write_texts(path: Path, count: int = 60, *, header: str = "text,label", encoding: str = "utf-8") -> Path:
    """Write texts of two classes, one after the other, as CSV."""
    rows = [header]
    for n in range(count):
        label = ("neg", "pos")[n % 2]
        rows.append(f"a {WORDS[label][n % 3]} film, number {n}".join('""') + f",{label}")
    path.write_text("\n".join(rows) + "\n", encoding=encoding)
    return path


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@dataclass
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        assert len(self.out.splitlines()) == 1, self.out
        value: dict[str, Any] = json.loads(self.out)
        return value


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a function that runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def go(*words: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys, "argv", ["filbert", *map(str, words)])  # what a run says it was made by
        capsys.readouterr()
        code = cli.run([str(word) for word in words])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return go
