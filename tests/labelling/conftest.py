"""A file of texts, and sessions over it without a base model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from annotating import N, Opened, Vectors

from filbert.labelling import session as sessions
from filbert.labelling.session import Session
from filbert.labelling.work import open_work
from filbert.readers.options import ReadOptions


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([i, f"text {i} <b>=1"] for i in range(N))
    return path


@pytest.fixture
def opened(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(sessions, "Vectors", Vectors)
    made: list[Session] = []

    def open_session(
        file: Path = texts, out: Path = tmp_path / "out.csv", labels: Sequence[str] = ("even", "odd"), **options: object
    ) -> Session:
        work, _ = open_work(str(file), out, labels, ReadOptions())
        made.append(Session(work, **options))  # type: ignore[arg-type]
        return made[-1]

    yield open_session
    for each in made:
        each.stop()
