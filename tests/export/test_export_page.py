"""docs/export.md: its commands run, and its program is the one that is written and asked."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished import TARGETS, inputs, run

from filbert import tasks
from filbert.cli import run as command
from filbert.inference.engine import load
from filbert.inference.onnx_scorer import installed

pytest.importorskip("onnxruntime")
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_commands_run_and_the_program_on_the_page_answers(tmp_path, monkeypatch, capsys) -> None:
    name = next(iter(tasks.TASKS))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run(name).folder, "runs/reviews")
    with open("held_out.csv", "w", encoding="utf-8", newline="") as file:
        rows = [(text, TARGETS[name][n % 4]) for n, (text,) in enumerate(inputs(20))]
        csv.writer(file).writerows([("text", "label"), *rows])
    (lines,) = blocks("bash")
    for line in lines.splitlines():
        words = shlex.split(line)[1:]
        if installed(words[words.index("--format") + 1]):
            given = [] if "--texts" in words else ["--texts", "held_out.csv"]
            assert command([*words, *given]) == 0, line
    (program,) = blocks("py")
    assert Path("runs/reviews-onnx/example.py").read_text("utf-8") == program
    ran = subprocess.run(
        [sys.executable, "runs/reviews-onnx/example.py", "good film"], capture_output=True, text=True, check=True
    )
    (wanted,) = load("runs/reviews", device="cpu").predict(["good film"])
    shown = [float(line.split("\t")[1]) for line in ran.stdout.splitlines()]
    assert shown == pytest.approx(wanted.probabilities, abs=2e-5)  # type: ignore[attr-defined]


def test_the_table_on_the_page_is_the_tables_of_the_command(tmp_path, capsys) -> None:
    name = next(iter(tasks.TASKS))
    assert command(["export", str(run(name).folder), "-o", str(tmp_path / "out")]) == 0
    printed = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"answers that change", "largest change of a number", "in 99 % of the texts"} <= {*printed}
    text, _ = blocks("text")
    on_page = [line.split("  ")[0] for line in text.splitlines() if line and "measuring" not in line]
    assert [line for line in printed[2:] if line] == on_page[5:]


def test_the_ways_on_the_page_are_those_of_verify() -> None:
    from filbert.export.doors import DOORS

    _, text = blocks("text")
    assert [line.split("  ")[0] for line in text.splitlines()[3:11]] == [
        "Python",
        "command line",
        *(door.name for door in DOORS),
        "server",
    ]
