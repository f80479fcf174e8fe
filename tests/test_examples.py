"""docs/how-it-works.md says what is so, and its example of a task goes from a file to an answer by the command."""

from __future__ import annotations

import ast
import csv
import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import ordinal_grades
import pytest
from command import Run
from test_architecture import LAYERS

from filbert import tasks
from filbert.tasks.task import Task

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-it-works.md").read_text("utf-8")
WORDS = {"A": "poor", "B": "fair", "C": "good", "D": "superb"}


def write_grades(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(("text", "label"))
        out.writerows((f"{WORDS[grade]} essay, number {n}", grade) for n in range(count) for grade in WORDS)
    return path


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, ordinal_grades.NAME, ordinal_grades)


def test_the_command_fits_and_gives_grades(run: Run, tmp_path: Path) -> None:
    write_grades(tmp_path / "grades.csv", 60)
    how = ("--task", "ordinal", "--base", "tiny", "--epochs", "8", "--precision", "fp32", "--device", "cpu")
    fitted = run("fit", "grades.csv", "-o", "model", *how)
    assert fitted.code == 0, fitted.err
    assert "'A' < 'B' < 'C' < 'D'" in fitted.err + fitted.out
    write_grades(tmp_path / "new.csv", 2)
    assert run("predict", "model", "new.csv", "-o", "graded.csv").code == 0
    with (tmp_path / "graded.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["grade"] for row in rows] == ["A", "B", "C", "D"] * 2
    levels = [float(row["level"]) for row in rows[:4]]
    assert levels == sorted(levels)
    assert run("evaluate", "model", "grades.csv").code == 0


def test_a_command_refuses_grades_that_the_model_does_not_know(run: Run, tmp_path: Path) -> None:
    write_grades(tmp_path / "grades.csv", 60)
    (tmp_path / "held.csv").write_text("text,label\na fine one,E\n", encoding="utf-8")
    fitted = run("fit", "grades.csv", "-o", "model", "--task", "ordinal", "--base", "tiny", "--validation", "held.csv")
    assert fitted.code != 0
    assert "no label 'E'" in fitted.err


def test_the_sum_of_the_questions_is_the_expected_grade() -> None:
    chances = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
    above = [sum(p for number, p in chances.items() if number > k) for k in range(3)]
    settings = ordinal_grades.Settings(tuple(WORDS))
    found = ordinal_grades.outputs.graded(np.array([above]), settings)[0]
    assert found.level == pytest.approx(sum(number * p for number, p in chances.items()))
    assert found.confidence == pytest.approx(chances[2])


def test_the_layers_of_the_page_are_those_of_the_imports() -> None:
    rows = [row.split("|")[2] for row in PAGE.splitlines() if re.match(r"\| \d+ \|", row)]
    assert [set(re.findall(r"\[(\w+)\]", row)) for row in rows] == [set(f) for f in LAYERS if f != ("__main__",)]


def test_the_functions_of_the_page_are_where_it_says() -> None:
    linked = re.findall(r"\[`(\w+)`\]\(\.\./(\S+?\.py)\)", PAGE)
    assert linked
    wrong = []
    for name, path in linked:
        body = ast.parse((ROOT / path).read_text("utf-8")).body
        if name not in {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}:
            wrong.append(f"{name} is not in {path}")
    assert wrong == []


def test_the_page_explains_every_name_of_a_task() -> None:
    explained = set(re.findall(r"`(\w+)`", PAGE.split("## Add a task")[1]))
    names = {name for name in (*vars(Task), *Task.__annotations__) if not name.startswith("_")}
    assert len(names) > 30
    assert names - explained == set()


def test_the_code_of_the_page_is_that_of_the_example() -> None:
    blocks = re.findall(r"^```python (\S+)\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) >= 4
    assert [path for path, code in blocks if code not in (ROOT / path).read_text("utf-8")] == []


@pytest.mark.parametrize("name", ["objective", "outputs"])
def test_the_examples_of_the_example_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"ordinal_grades.{name}"))
    assert found.attempted
    assert not found.failed
