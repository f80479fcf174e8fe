"""`fit --seeds` and `--ensemble`: one command, several trainings that differ in their seed alone."""

from __future__ import annotations

import json
from pathlib import Path

from command import TRAIN, Run, write_texts

from filbert.report import read_report


def test_seeds_make_runs_and_a_spread(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "films.csv")
    command = ["fit", "films.csv", "-o", "run", "--seeds", "2", "--seed", "5", *TRAIN]
    told = run(*command, "--json").json
    assert told["seeds"]["folders"] == ["run", "run-seed1"]
    reports = [read_report(tmp_path / folder) for folder in told["seeds"]["folders"]]
    assert [each["training"]["seed"] for each in reports] == [5, 6]
    assert reports[0]["data"]["fingerprint"] == reports[1]["data"]["fingerprint"]  # one split
    values = [each["scores"]["validation"]["macro_f1"]["value"] for each in reports]
    assert told["seeds"]["macro_f1"]["mean"] == sum(values) / 2
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in told["seeds"]["folders"]]
    assert weights[0] != weights[1]

    (tmp_path / "run-seed1" / "filbert.json").rename(tmp_path / "kept.json")
    for file in (tmp_path / "run-seed1").iterdir():
        file.unlink()
    (tmp_path / "run-seed1").rmdir()  # as if it had been stopped after the first
    again = run(*command, "--json")
    assert "run is finished" in again.err
    assert (tmp_path / "run-seed1" / "model.safetensors").read_bytes() == weights[1]

    write_texts(tmp_path / "films.csv", 64)
    other = run(*command, "--json")
    assert other.code == 2
    assert "other texts" in other.err
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == reports[0]


def test_an_ensemble_is_told_as_one_model(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "films.csv")
    told = run("fit", "films.csv", "-o", "run", "--ensemble", "2", "--no-baseline", *TRAIN, "--json").json
    assert [each["seed"] for each in told["ensemble"]["members"]] == [0, 1]
    assert told["tuning"] is None
    refused = run("fit", "films.csv", "-o", "other", "--tune", "soon", *TRAIN)
    assert refused.code == 2
    assert "tune is 'soon' — give trials, at least 2, or a time: 20, 30min, 2h" in refused.err
