"""A model that leaves unsure texts unanswered: learned by fit, kept in the folder, obeyed wherever it answers."""

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
from filbert.errors import ConfigError, ModelError
from filbert.finetuning.dataset import Dataset, settled
from filbert.inference.abstention import threshold_of
from filbert.report.selective import abstention_line
from filbert.server.wire import Item
from filbert.server.worker import _withheld, answered

RATE = 0.1


def unsure(model: Path) -> str:
    """The text of `noisy` that the model is least sure of."""
    texts = [example.text for example in noisy(120, 2)]
    found = load(model, abstain=0.0).predict(texts)
    return min(zip(texts, found, strict=True), key=lambda pair: pair[1].confidence or 0.0)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts: Dataset = settled(
        tasks.named("single-label"), noisy(160, 0), noisy(240, 1), noisy(120, 2), seed=0, name="memory"
    )
    from filbert.config import TrainConfig

    config = TrainConfig(epochs=4, batch_size=8, precision="fp32", learning_rate=2e-3, patience=20)
    return fitted(tmp_path_factory.mktemp("abstain") / "run", data=parts, config=config, abstain=RATE).folder


def test_it_answers_what_it_is_sure_of(model: Path) -> None:
    engine = load(model)
    report = json.loads((model / "report.json").read_text("utf-8"))["abstention"]
    assert engine.least_confidence == report["level"]["threshold"] > 0.5
    kept = [not found.abstained for found in engine.predict([example.text for example in noisy(120, 2)])]
    share = report["measured"]["test"]["coverage"]["value"]
    assert share == pytest.approx(np.mean(kept))
    assert 0.2 < share < 0.9
    assert report["measured"]["test"]["risk"]["value"] <= RATE
    assert abstention_line(report).startswith("It answers where its confidence is at least")


def test_the_page_shows_the_curve(model: Path) -> None:
    page = Page((model / "report.html").read_text("utf-8"))
    assert "abstention" in page.ids("section")
    assert "On test it answered" in page.text


def test_another_rate_or_none_can_be_asked_for(model: Path) -> None:
    text = unsure(model)
    assert load(model).predict([text])[0].abstained
    assert not load(model, abstain=0.0).predict([text])[0].abstained
    assert load(model, abstain=0.3).least_confidence <= load(model).least_confidence
    with pytest.raises(ConfigError, match="cannot show it"):
        load(model, abstain=0.001)


def test_a_row_keeps_its_numbers_and_loses_its_answer(model: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(f"text\na great fine film\n{unsure(model)}\n", encoding="utf-8")
    ran = run("predict", model, "new.csv")
    assert ran.code == 0, ran.err
    first, second = rows_of(tmp_path / "new.predictions.csv")
    assert (first["label"], first["abstained"]) == ("pos", "false")
    assert (second["label"], second["abstained"]) == ("", "true")
    assert second["probability_pos"]
    assert "1 left unanswered" in ran.out
    assert run("predict", model, "new.csv", "--abstain", "0", "--overwrite").code == 0
    assert "abstained" not in rows_of(tmp_path / "new.predictions.csv")[0]
    told = run("predict", model, unsure(model), "--json").json
    assert told["label"] is None
    assert told["abstained"] is True
    assert run("predict", model, unsure(model)).out.startswith("no answer: confidence 0.")
    assert "is no share" in run("predict", model, "film", "--abstain", "2").err


def test_evaluate_says_risk_and_coverage(model: Path, run: Run, tmp_path: Path) -> None:
    rows = [f"{example.text},{example.target}" for example in noisy(60, 5)]
    (tmp_path / "more.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    told = run("evaluate", model, "more.csv", "--json").json
    assert told["n"] == 60
    assert 0 < told["abstention"]["coverage"]["value"] < 1
    assert "it answered" in run("evaluate", model, "more.csv").out


def test_the_server_withholds_it(model: Path) -> None:
    engine = load(model)
    answers = answered(engine, [Item(("a great fine film",)), Item((unsure(model),))]).answers
    assert [answer.abstained for answer in answers] == [False, True]
    assert answers[0].hub[0][0]["label"] == "pos"
    assert answers[1].hub == [[]]
    assert answers[1].row["label"] is None
    assert answers[1].shown == ""
    assert _withheld({"answer": "Navy", "score": 0.3, "start": 4}) == {"answer": "", "score": 0.3, "start": 4}


def test_too_few_texts_leave_nothing_out_and_say_so(tmp_path: Path) -> None:
    done = fitted(tmp_path / "run", data=data_of(examples(60, 0)), abstain=0.01)
    assert "do not show" in abstention_line(done.report["abstention"])
    assert load(done.folder).least_confidence == 0.0


def test_a_damaged_manifest_is_said(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    told = json.loads((folder / "filbert.json").read_text("utf-8"))
    for broken in ({"rate": "x", "levels": [[0.5, 9, 1]]}, {"rate": 0.1}, {"rate": 0.1, "levels": [[0.5]]}, 3):
        (folder / "filbert.json").write_text(json.dumps({**told, "abstention": broken}), encoding="utf-8")
        with pytest.raises(ModelError, match="abstention"):
            load(folder)
    assert threshold_of({}, None) == 0.0
    with pytest.raises(ConfigError, match="no thresholds"):
        threshold_of({}, 0.1)


def test_what_is_not_right_or_wrong_is_refused_before_training(tmp_path: Path, run: Run) -> None:
    rows = "\n".join(f"text {n} words,{n / 7:.2f}" for n in range(40))
    (tmp_path / "numbers.csv").write_text(f"text,score\n{rows}\n", encoding="utf-8")
    ran = run("fit", "numbers.csv", "--label", "score", "--base", "tiny", "--abstain", "2%")
    assert ran.code == 2
    assert "not right or wrong" in ran.err
