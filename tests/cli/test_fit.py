"""`filbert fit`: what is printed where, exit codes, nothing overwritten, and how a stopped run goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from command import TRAIN, Run, write_texts

from filbert.errors import Stopped
from filbert.finetuning import fit


def test_fit_prints_scores_beside_the_baseline_and_what_comes_next(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "reviews.csv")
    ran = run("fit", "reviews.csv", *TRAIN)
    assert ran.code == 0, ran.err
    assert "text: 'text', label: 'label'" in ran.err
    assert "base tiny" in ran.err
    assert "60 read, 60 accepted, 0 quarantined" in ran.err
    assert re.search(r"validation, 6 texts +model +baseline", ran.out)
    assert re.search(r"accuracy +\d+\.\d %", ran.out)
    assert "linear baseline: accuracy" in ran.out
    assert "texts truncated" in ran.out
    for wanted in ("runs/reviews/report.html", 'filbert predict runs/reviews "a new text"', "filbert evaluate runs/"):
        assert wanted in ran.out
    assert (tmp_path / "runs/reviews/report.html").is_file()
    command = json.loads((tmp_path / "runs/reviews/report.json").read_text())["training"]["command"]
    assert command.startswith("filbert ")


def test_a_second_run_says_at_once_that_it_goes_elsewhere(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\na,pos\nb,pos\n")  # one class: refused, after the folder is said
    shutil.copytree(model, tmp_path / "runs" / "reviews")
    said = run("fit", "reviews.csv").err.splitlines()
    assert said[1].startswith("runs/reviews holds a finished model, so this one goes to runs/reviews-2: --overwrite")
    assert "reviews-2" not in run("fit", "reviews.csv", "--overwrite").err


def test_fit_json_is_one_object(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "reviews.csv")
    ran = run("fit", "reviews.csv", *TRAIN, "--no-baseline", "--json")
    assert ran.json["folder"] == "runs/reviews"
    assert ran.json["labels"] == ["neg", "pos"]
    assert ran.json["baseline"] is None
    assert ran.json["counts"] == {"train": 54, "validation": 6}
    assert set(ran.json["scores"]["accuracy"]) == {"value", "low", "high"}


def test_fit_never_replaces_a_model(run: Run, model: Path, tmp_path: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    ran = run("fit", write_texts(tmp_path / "a.csv"), "-o", model, *TRAIN)
    assert (ran.code, ran.out) == (2, "")
    assert "--overwrite" in ran.err
    assert (model / "model.safetensors").read_bytes() == before


def test_fit_lists_bad_rows_and_keeps_them(run: Run, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "bad.csv")
    source.write_text(source.read_text() + "one field too many,pos,x\n")
    ran = run("fit", "bad.csv", *TRAIN)
    assert ran.code == 2
    assert "bad.csv:62" in ran.err
    assert "runs/bad.rejects.jsonl" in ran.err
    assert "Traceback" not in ran.err
    kept = json.loads((tmp_path / "runs/bad.rejects.jsonl").read_text())
    assert kept["row"].startswith("one field too many,pos,x")
    again = run("fit", "bad.csv", *TRAIN, "--no-baseline", "--on-bad-rows", "quarantine", "--json")
    assert again.code == 0, again.err
    assert again.json["quarantined"] == 1
    assert "61 read, 60 accepted, 1 quarantined" in again.err


def test_fit_proposes_gb18030(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"第{n}次入住，{('服务很差', '房间非常好')[n % 2]},{('差评', '好评')[n % 2]}\n" for n in range(40))
    (tmp_path / "zh.csv").write_bytes(f"文本,标签\n{rows}".encode("gb18030"))
    ran = run("fit", "zh.csv", *TRAIN)
    assert ran.code == 2
    assert "add --encoding gb18030" in ran.err
    assert "服务很差" in ran.err


def test_errors_as_json(run: Run) -> None:
    ran = run("fit", "nowhere.csv", "--json")
    assert ran.code == 2
    assert ran.json["error"]["type"] == "DataError"
    assert ran.json["error"]["problems"][0]["file"] == "nowhere.csv"
    assert "nowhere.csv" in ran.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--epochs", "0"], "epochs"),
        (["--precision", "fp8"], "precision"),
        (["--on-bad-rows", "drop"], "on_bad_rows"),
        (["--merge-labels", "Pos"], "--merge-labels"),
        (["--encoding", "latin"], "encoding"),
        (["--device", "tpu"], "device"),
        (["--base", "no such base"], "base"),
    ],
)
def test_wrong_options_are_named(run: Run, tmp_path: Path, words: list[str], named: str) -> None:
    write_texts(tmp_path / "a.csv")
    if "encoding" in named:
        words = ["--encoding", "latin-0"]
    ran = run("fit", "a.csv", *words)
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err
    assert "Traceback" not in ran.err


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILBERT_DEBUG", "1")
    ran = run("fit", "a.csv", "--epochs", "0")
    assert "Traceback" in ran.err
    assert "error: epochs is 0.0 — give a number above 0" in ran.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_T18_a_stopped_run_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def stop(_splits: object, out: Path, **_options: object) -> None:
        (out / "checkpoints").mkdir(parents=True)
        (out / "checkpoints/step-00000007.json").write_text("{}")
        raise Stopped(number)

    monkeypatch.setattr(fit, "fit", stop)
    monkeypatch.setattr(sys, "argv", ["filbert", "fit", "my texts.csv", "--overwrite"])
    write_texts(tmp_path / "my texts.csv")
    ran = run("fit", "my texts.csv", "--overwrite")
    assert ran.code == code
    assert "filbert fit 'my texts.csv' -o 'runs/my texts'" in ran.err
    assert "--overwrite" not in ran.err
