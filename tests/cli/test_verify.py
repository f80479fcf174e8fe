"""`filbert verify`: all doors agree, for every task; one that does not is named, and the exit status is 1."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished import run

from filbert import tasks
from filbert.cli import run as command
from filbert.cli import verify
from filbert.export import doors
from filbert.files import read_json, write_json
from filbert.inference.engine import load

pytest.importorskip("uvicorn")
FIRST, *OTHERS = [*tasks.TASKS][1:] + [*tasks.TASKS][
    :1
]  # the one whose answers are places in long texts is always tried


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_door_agrees(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", str(run(name).folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    opened = {name: door["largest_difference"] for name, door in told["doors"].items() if not door["why"]}
    assert {"Python", "command line", "torch", "transformers", "server"} <= {*opened}
    assert max(opened.values()) <= told["bar"] == 1e-5
    assert told["texts"] >= 8


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the engine in the place of other processes."""

    def rows(folder: Path, inputs: Any) -> list[Any]:
        engine = load(folder, device="cpu")
        return [engine.task.row(each, engine.settings) for each in engine.predict(inputs)]

    monkeypatch.setattr(verify, "by_command", rows)
    monkeypatch.setattr(verify, "by_server", rows)
    return rows


def test_a_door_that_answers_otherwise_is_named(quick, monkeypatch, capsys) -> None:
    def other(folder: Path, inputs: Any) -> list[Any]:
        wrong = quick(folder, inputs)
        wrong[0] = {**wrong[0], next(key for key in wrong[0] if isinstance(wrong[0][key], str)): "another"}
        return wrong

    def broken(folder: Path, inputs: Any) -> list[Any]:
        raise RuntimeError("port taken")

    monkeypatch.setattr(verify, "by_command", other)
    monkeypatch.setattr(verify, "by_server", broken)
    monkeypatch.setattr(doors, "DOORS", doors.DOORS[:2])
    assert command(["verify", str(run(next(iter(tasks.TASKS))).folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("command line") and "answers differ" in line for line in lines)
    assert any(line.startswith("server") and "failed: 'port taken'" in line for line in lines)
    assert any(line.startswith("torch") and float(line.split()[-1]) <= 1e-5 for line in lines)
    assert lines[-1].startswith("command line, server — not the answers that were saved")


def test_a_model_that_answers_otherwise_than_when_it_was_saved_is_seen(quick, tmp_path, monkeypatch, capsys) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run(next(iter(tasks.TASKS))).folder, folder)
    info = read_json(folder / "filbert.json")
    info["stored"]["numbers"][3][0] += 0.001
    write_json(folder / "filbert.json", info)
    monkeypatch.setattr(doors, "DOORS", doors.DOORS[:2])
    assert command(["verify", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["doors"]
    assert told["Python"]["largest_difference"] == pytest.approx(0.001, abs=1e-6)
    assert told["command line"]["largest_difference"] <= 1e-5


def test_a_model_without_stored_texts_says_so(tmp_path, capsys) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run(next(iter(tasks.TASKS))).folder, folder)
    write_json(folder / "filbert.json", {**read_json(folder / "filbert.json"), "stored": {}})
    assert command(["verify", str(folder)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "holds no texts to verify the model by, as a push leaves them out" in told
    assert "push it with --texts, or fit the model again" in told
