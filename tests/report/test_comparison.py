"""Several runs on one page: what is put beside what, and which seeds make a spread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from browsed import EVIL, Page
from command import Run as Command
from command import run as run

from filbert import tasks
from filbert.report.comparison import Run, render_comparison, spreads, warning


def made(name: str, accuracy: float, *, seed: int = 0, base: str = "minilm", texts: str = "a", n: int = 100) -> Run:
    figure = {"value": accuracy, "low": accuracy - 0.02, "high": accuracy + 0.02}
    report: dict[str, Any] = {
        "task": "single-label",
        "labels": ["bad", "good"],
        "data": {"fingerprint": f"{seed}", "fingerprints": {"test": texts}, "counts": {"train": 50}},
        "model": {"base": base, "parameters": 11_000_000},
        "training": {"seed": seed, "seconds": 70, "epochs": 2.0, "config": {"seed": seed, "learning_rate": 1e-4}},
        "scores": {"test": {"n": n, "accuracy": figure, "macro_f1": figure, "mcc": figure}},
        "baseline": {"test": {"accuracy": figure}},
    }
    return Run(name, report, tasks.named("single-label").page())


def test_runs_stand_side_by_side_the_best_first() -> None:
    runs = [made("lower run", 0.7), made(f"high {EVIL}", 0.9, base="filbert-mini")]
    page = Page(render_comparison(runs))
    assert not page.open
    assert "script" not in {name for name, _ in page.elements}
    assert page.text.index(f"high {EVIL}") < page.text.index("lower run")
    assert "90.0 % (88.0–92.0)" in page.text
    assert "same texts" in page.text
    assert "over seeds" not in page.text


def test_only_runs_that_differ_in_their_seed_make_a_spread() -> None:
    metric = tasks.named("single-label").page().metrics[0]
    seeds = [made("one", 0.7), made("two", 0.8, seed=1), made("three", 0.9, seed=2)]
    found = spreads(
        [*seeds, made("other", 0.1, base="filbert-mini"), made("elsewhere", 0.2, seed=3, texts="b")], metric
    )
    assert list(found) == ["one"]
    assert (found["one"].runs, round(found["one"].mean, 6), round(found["one"].deviation, 6)) == (3, 0.8, 0.1)
    assert "80.0 ± 10.0 %" in render_comparison(seeds)
    assert spreads([made("one", 0.7), made("again", 0.7)], metric) == {}


def test_other_texts_are_said() -> None:
    assert warning([made("one", 0.7), made("two", 0.8)]) == ""
    runs = [made("one", 0.7), made("two", 0.8, texts="b")]
    assert "not measured on the same texts" in warning(runs)
    assert "not measured on the same texts" in Page(render_comparison(runs)).text


def test_the_command_writes_one_page(run: Command, tmp_path: Path) -> None:
    folders = []
    for each in (made("a", 0.7), made("b", 0.8, seed=1)):
        folders.append(tmp_path / each.name)
        folders[-1].mkdir()
        (folders[-1] / "report.json").write_text(json.dumps(each.report))
    out = tmp_path / "both.html"
    assert "75.0 ± 7.1 %" in run("report", *map(str, folders), "-o", str(out)).out
    assert out.is_file()
    told = run("report", *map(str, folders), "-o", str(out), "--overwrite", "--json").json
    assert [each["accuracy"]["value"] for each in told["runs"]] == [0.7, 0.8]
    assert told["seeds"][str(folders[0])]["runs"] == 2
    again = run("report", *map(str, folders), "-o", str(out))
    assert again.code == 2
    assert "exists" in again.err
    assert "given twice" in run("report", str(folders[0]), str(folders[0])).err


def test_runs_of_different_tasks_are_refused(run: Command, tmp_path: Path) -> None:
    for name, task in (("a", "single-label"), ("b", "regression")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps({**made("x", 0.5).report, "task": task}))
    done = run("report", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "x.html"))
    assert "different tasks" in done.err
    assert not (tmp_path / "x.html").exists()
