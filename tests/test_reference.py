"""The reference is new and whole: every flag, route, status, exit code, error, setting, file, field and public name."""

from __future__ import annotations

import csv
import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from finished import run

import filbert
from filbert import cli, tasks
from filbert.server.app import App
from filbert.server.limits import Limits

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    return module("make_reference")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def test_the_pages_are_what_the_code_says(made: ModuleType) -> None:
    assert {path.name: path.read_text("utf-8") == text for path, text in made.pages().items()} == {
        path.name: True for path in (DOCS / "reference").glob("*.md")
    }, "run make reference"
    assert page("commands") == module("make_commands").page(), "run make reference"


def test_every_flag_is_documented() -> None:
    told = {part.split("\n\n")[0]: part for part in page("commands").split("\n## filbert ")}
    for name in cli.COMMANDS:
        flags = [
            flag
            for parameter in cli._parser().commands[name].params
            for flag in (*parameter.opts, *parameter.secondary_opts)
            if flag.startswith("-")
        ]
        assert [flag for flag in flags if not re.search(rf"`[^`]*{flag}\b[^`]*` \|", told[name])] == []


def test_every_route_and_status_is_documented(made: ModuleType) -> None:
    text = page("reference/http")
    for route in App({}, Limits()).router().routes:
        for method in route.methods - {"HEAD"}:
            assert f"## {method} {route.path}\n" in text
    sent = {
        int(code)
        for path in (ROOT / "filbert" / "server").glob("*.py")
        for code in re.findall(r"Rejected\(\s*(\d{3})", path.read_text("utf-8"))
    }
    assert sent
    assert {code for code in sent if f"| {code} |" not in text} == set()


def test_every_exit_code_and_error_is_documented() -> None:
    text = page("reference/errors")
    assert {code for code in ("0", "1", "2", "130", "141", "143") if f"| {code} |" not in text} == set()
    raised = {
        name
        for path in (ROOT / "filbert").rglob("*.py")
        for name in re.findall(r"raise (\w+Error)\(", path.read_text("utf-8"))
        if hasattr(filbert.errors, name)
    }
    assert {"DataError", "ConfigError", "ModelError", "TrainingError"} <= raised
    assert {name for name in raised if f"| `{name}` |" not in text} == set()


def test_every_variable_that_is_read_is_documented(made: ModuleType) -> None:
    read = {
        name
        for path in (ROOT / "filbert").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if "environ" in line or "getenv" in line
        for name in re.findall(r'"([A-Z][A-Z_]{3,})"', line)
    }
    read -= {"PASSIVE", "TRUE"}  # values
    assert len(read) > 12
    assert read - made.SETTINGS.keys() == set()


def test_every_public_name_is_documented() -> None:
    text = page("reference/python")
    names = [name for name in filbert.__all__ if not name.startswith("__")]
    assert [name for name in names if f"\n## {name}\n" not in text] == []
    for name in names:
        found = getattr(filbert, name)
        ours = [base for base in getattr(found, "__mro__", ()) if base.__module__.startswith("filbert.")]
        defined = {(each, value) for base in ours for each, value in vars(base).items() if not each.startswith("_")}
        methods = {each for each, value in defined if inspect.isfunction(value) or isinstance(value, property)}
        assert {method for method in methods if f"\n### {name}.{method}\n" not in text} == set()


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_file_and_field_of_a_run_is_documented(name: str, made: ModuleType) -> None:
    folder = run(name).folder
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} - made.FILES.keys() == set()
    assert json.loads((folder / "filbert.json").read_text("utf-8")).keys() - made.MANIFEST.keys() == set()
    steps = {key for line in (folder / "train.jsonl").read_text("utf-8").splitlines() for key in json.loads(line)}
    assert {key for key in steps if f"`{key}`" not in page("reference/files")} == set()
    report = json.loads((folder / "report.json").read_text("utf-8"))
    parts = {part for line in made.REPORT for part in line.split(", ")}
    settings = json.loads((folder / "filbert.json").read_text("utf-8"))["settings"]
    assert report.keys() - parts - settings.keys() == set()


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_column_of_predictions_is_documented(name: str, made: ModuleType, tmp_path: Path) -> None:
    texts = {"question-answering": ("question", "context"), "summarization": ("text",)}.get(name, ("text",))
    table = tmp_path / "new.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([texts, ["A fine text."] * len(texts)])
    assert cli.run(["predict", str(run(name).folder), str(table), "-o", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = next(csv.reader(file))
    added = {re.sub(r"^probability_.*", "probability_*", column) for column in found[len(texts) :]}
    assert added
    assert added - made.COLUMNS.keys() == set()
