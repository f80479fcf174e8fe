"""A model that tells texts of no known class: learned by fit, kept in the folder, obeyed wherever it answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsed import Page
from command import Run, rows_of
from command import run as run  # a fixture
from films import data_of, examples, noisy
from films import run as fitted

from filbert import load, tasks
from filbert.config import TrainConfig
from filbert.errors import ConfigError, ModelError
from filbert.finetuning.dataset import settled
from filbert.folder.open import UNKNOWN
from filbert.inference.model import open_model
from filbert.report.unknown import unknown_line
from filbert.server.wire import Item
from filbert.server.worker import answered

RATE = 0.2
NEAR = "a great fine film"


def texts() -> list[str]:
    return [example.text for example in noisy(200, 2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = settled(tasks.named("single-label"), noisy(160, 0), noisy(200, 1), noisy(200, 2), seed=0, name="memory")
    config = TrainConfig(epochs=2, batch_size=8, precision="fp32", learning_rate=2e-3)
    return fitted(tmp_path_factory.mktemp("unknown") / "run", data=parts, config=config, unknown=RATE).folder


def far(model: Path) -> str:
    """A text that the model tells to be of no known class."""
    found = load(model).predict(texts())
    return next(text for text, each in zip(texts(), found, strict=True) if each.unknown)


def test_about_the_share_asked_for_gets_no_answer(model: Path) -> None:
    report = json.loads((model / "report.json").read_text("utf-8"))["unknown"]
    found = [each.unknown for each in load(model).predict(texts())]
    assert np.mean(found) == report["measured"]["test"]["value"] == pytest.approx(RATE, abs=0.1)
    assert report["bytes"] == (model / UNKNOWN).stat().st_size
    assert unknown_line(report).startswith("A text farther than")
    page = Page((model / "report.html").read_text("utf-8"))
    assert "unknown" in page.ids("section")
    assert "None of the known classes" in (model / "README.md").read_text("utf-8")


def test_the_answers_of_the_others_are_the_same(model: Path) -> None:
    with_it, without = load(model), load(model, unknown=0.0)
    windows = with_it.features([(text,) for text in texts()[:20]])
    assert np.allclose(with_it.outputs(windows), without.outputs(windows), atol=1e-6)
    assert [each.confidence for each in with_it.predict(texts()[:20])] == pytest.approx(
        [each.confidence for each in without.predict(texts()[:20])], abs=1e-6
    )
    assert not any(each.unknown for each in without.predict(texts()))
    assert load(model, unknown=0.05).farthest > (with_it.farthest or 0.0)  # type: ignore[operator]
    with pytest.raises(ConfigError, match="too few"):
        load(model, unknown=0.001)


def test_a_row_keeps_its_numbers_and_loses_its_answer(model: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(f"text\n{NEAR}\n{far(model)}\n", encoding="utf-8")
    ran = run("predict", model, "new.csv")
    assert ran.code == 0, ran.err
    first, second = rows_of(tmp_path / "new.predictions.csv")
    assert (first["label"], first["unknown"]) == ("pos", "false")
    assert (second["label"], second["unknown"]) == ("", "true")
    assert second["probability_pos"]
    assert "1 of no known class" in ran.out
    assert run("predict", model, "new.csv", "--unknown", "0", "--overwrite").code == 0
    assert "unknown" not in rows_of(tmp_path / "new.predictions.csv")[0]
    told = run("predict", model, far(model), "--json").json
    assert (told["label"], told["unknown"]) == (None, True)
    assert run("predict", model, far(model)).out.startswith("none of the known classes")
    assert "is no share of texts" in run("predict", model, "film", "--unknown", "2").err


def test_evaluate_counts_them(model: Path, run: Run, tmp_path: Path) -> None:
    rows = [f"{example.text},{example.target}" for example in noisy(60, 5)]
    (tmp_path / "more.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    assert 0 < run("evaluate", model, "more.csv", "--json").json["unknown"]["share"]["value"] < 0.5
    assert "were told to be of none" in run("evaluate", model, "more.csv").out
    assert "unknown" not in run("evaluate", model, "more.csv", "--unknown", "0", "--json").json


def test_the_server_withholds_the_answer(model: Path) -> None:
    near, away = answered(load(model), [Item((NEAR,)), Item((far(model),))]).answers
    assert (near.unknown, near.hub[0][0]["label"]) == (False, "pos")
    assert (away.unknown, away.hub, away.shown, away.row["label"]) == (True, [[]], "", None)


def test_what_cannot_be_is_refused_before_training(tmp_path: Path, run: Run) -> None:
    rows = "\n".join(f"text {n} words,{n / 7:.2f}" for n in range(40))
    (tmp_path / "numbers.csv").write_text(f"text,score\n{rows}\n", encoding="utf-8")
    ran = run("fit", "numbers.csv", "--label", "score", "--base", "tiny", "--unknown", "auto")
    assert ran.code == 2
    assert "not classes" in ran.err
    with pytest.raises(ConfigError, match="one vector of a text"):
        fitted(tmp_path / "run", data=data_of(examples(60, 0)), unknown=0.05, config=TrainConfig(long="windows"))
    with pytest.raises(ConfigError, match="leave one of them out"):
        fitted(tmp_path / "run", data=data_of(examples(60, 0)), unknown=0.05, cascade=0.5)


def test_too_few_texts_leave_nothing_out_and_say_so(tmp_path: Path) -> None:
    done = fitted(tmp_path / "run", data=data_of(examples(60, 0)), unknown=0.01)
    assert "do not show" in unknown_line(done.report["unknown"])
    assert load(done.folder).farthest is None
    again = fitted(tmp_path / "run", data=data_of(examples(60, 0)), overwrite=True)
    assert not (again.folder / UNKNOWN).exists()
    with pytest.raises(ConfigError, match="fit it again with --unknown"):
        load(again.folder, unknown=0.05)


def test_of_many_classes_the_distance_is_in_the_directions_of_the_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filbert.finetuning.unknown.MANY", 2)
    parts = settled(tasks.named("single-label"), noisy(80, 0), noisy(80, 1), noisy(80, 2), seed=0, name="memory")
    model = fitted(tmp_path / "run", data=parts, unknown=RATE).folder
    opened, engine = open_model(model), load(model)
    assert opened.detector is not None
    spanned = np.linalg.matrix_rank(np.vstack((opened.detector.directions_KD, opened.arrays["last.weight"])), tol=1e-3)
    assert spanned == np.linalg.matrix_rank(opened.arrays["last.weight"], tol=1e-3) <= 2
    asked = [example.text for example in noisy(80, 2)]
    assert np.mean([each.unknown for each in engine.predict(asked)]) == pytest.approx(RATE, abs=0.15)


def test_damage_is_said(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    told = json.loads((folder / "filbert.json").read_text("utf-8"))
    for broken in ({"rate": "x"}, {"rate": 2}, {}, 3):
        (folder / "filbert.json").write_text(json.dumps({**told, "unknown": broken}), encoding="utf-8")
        with pytest.raises(ModelError, match="unknown"):
            load(folder)
    (folder / "filbert.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / UNKNOWN).write_bytes((folder / UNKNOWN).read_bytes()[:-4] + b"1234")
    with pytest.raises(ModelError, match="SHA-256"):
        open_model(folder)
