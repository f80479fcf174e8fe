"""From texts to a finished folder: whole, resumed after a kill, within a deadline, the same answer elsewhere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import films
import numpy as np
import pytest
import torch
from films import CONFIG, WHOLE, Listening, Stopper, data, data_of, examples, run
from safetensors.torch import load_file
from small import chances, same_weights
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert.config import TrainConfig
from filbert.errors import ConfigError, Stopped
from filbert.finetuning import blend as blend_module
from filbert.finetuning import train as train_module
from filbert.inference.engine import load
from filbert.records import Example
from filbert.training import plan as plan_module
from filbert.training import speed


@pytest.fixture
def finished() -> Path:
    return films.finished()


@pytest.fixture
def report(finished: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished / "report.json").read_text("utf-8"))
    return found


def test_D13_texts_beyond_the_vocabulary_of_the_base_are_said(finished, tmp_path):
    watch = Listening()
    texts = [Example((f"{'好看' if n % 2 else '难看'}的第{n}部电影",), ("neg", "pos")[n % 2]) for n in range(20)]
    run(tmp_path / "run", data=data_of([*texts, *examples(20, 2)]), base=str(finished), watch=watch)
    (warned,) = [line for line in watch.told if "no pieces for" in line]
    found = re.search(r"much of (\d+) of 36 training texts", warned)
    assert found
    assert 16 <= int(found[1]) <= 20, "twenty of forty, but for those held out"


# -- what is left -----------------------------------------------------------------------------------------------------


def test_the_folder_is_whole_and_holds_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == sorted(WHOLE)


def test_the_manifest_says_where_the_model_comes_from(finished):
    info = json.loads((finished / "filbert.json").read_text("utf-8"))
    assert (info["task"], info["settings"]["labels"]) == ("single-label", ["neg", "pos"])
    assert (info["base"], info["name"], info["columns"]) == ("tiny", "films", {"inputs": [[]], "target": []})
    assert info["data_fingerprint"] == data().splits.fingerprint
    assert info["long_texts"] == "head-tail"
    assert {"filbert", "torch"} <= info["versions"].keys()


def test_the_report_has_its_sections(report):
    sections = "task name labels data model training truncation calibration scores mistakes baseline lengths versions"
    assert set(sections.split()) <= report.keys()
    assert report["data"]["counts"] == {"train": 54, "validation": 6, "test": 12}
    assert report["data"]["label_counts"]["train"] == {"neg": 27, "pos": 27}
    assert report["scores"].keys() == {"validation", "test"}
    for split in ("validation", "test"):
        assert report["scores"][split]["n"] == report["data"]["counts"][split]
        found = report["scores"][split]["accuracy"]
        assert found["low"] <= found["value"] <= found["high"]
        assert {"accuracy", "macro_f1"} <= report["baseline"][split].keys()
    assert (report["training"]["steps"], report["training"]["precision"]) == (14, "fp32")
    assert report["training"]["command"] == "filbert fit films.csv"
    assert report["calibration"]["temperature"] > 0
    assert sum(report["lengths"]["counts"]) == 54
    assert report["truncation"]["train"]["cut_texts"] == 0


def test_the_report_is_of_the_saved_model(finished, report):
    test = data().splits.test
    right = [one.label == example.target for one, example in zip(
        load(finished).predict([example.text for example in test]), test, strict=True)]  # fmt: skip
    assert report["scores"]["test"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert len(report["mistakes"]) == len(right) - sum(right)


@torch.no_grad()
def test_calibration_is_folded_into_the_weights(finished, report):
    """Elsewhere the same probabilities come out, without a temperature."""
    theirs = AutoModelForSequenceClassification.from_pretrained(finished).eval()
    words = AutoTokenizer.from_pretrained(finished)
    texts = [example.text for example in data().splits.test]
    expected_NC = theirs(**words(texts, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    engine = load(finished)
    assert np.abs(chances(engine, texts) - expected_NC).max() <= 1e-5
    assert engine.settings.labels == tuple(theirs.config.id2label[i] for i in range(2))
    assert [one.label for one in engine.predict(texts)] == [theirs.config.id2label[i] for i in expected_NC.argmax(1)]


def test_calibration_divides_by_the_temperature(tmp_path, monkeypatch):
    before = {}
    inner = blend_module.calibrated

    def watched(job, outputs=None):
        before["logits"] = job.outputs()
        found = inner(job, outputs)
        before["after"] = job.outputs()
        before["temperature"] = found.facts["temperature"]
        return found

    monkeypatch.setattr(blend_module, "calibrated", watched)
    run(tmp_path / "run")
    np.testing.assert_allclose(before["after"], before["logits"] / before["temperature"], atol=1e-5)


def test_what_training_saw_is_what_the_engine_sees(tmp_path, monkeypatch):
    """STYLE 2: one data path. The ids that the loop trains on are those of the engine for the same texts."""
    seen = {}
    inner = train_module.Loop

    def spy(job, feed, *rest, **more):
        seen["train"] = feed.features
        return inner(job, feed, *rest, **more)

    monkeypatch.setattr(train_module, "Loop", spy)
    long = [Example((f"{example.text} " * 12,), example.target) for example in examples(60, 0)]
    data = data_of(long)
    train = data.splits.train
    run(tmp_path / "run", data=data, config=CONFIG.with_options(max_length=32))
    served = load(tmp_path / "run").features([example.inputs for example in train])
    assert [row.ids.tolist() for (row,) in served] == [row.ids.tolist() for row in seen["train"]]
    assert all(row.cut > 0 and len(row) == 32 for (row,) in served)
    truncation = json.loads((tmp_path / "run" / "report.json").read_text())["truncation"]["train"]
    assert truncation["cut_texts"] == truncation["texts"] == len(train)


def test_without_a_test_split_validation_is_scored(tmp_path):
    found = run(tmp_path / "run", data=data_of(examples(60, 0)))
    assert found.report["scores"].keys() == {"validation"}
    assert "baseline" not in found.report


def test_optimizer_and_learning_rate_follow_the_start_unless_told(tmp_path):
    """A random start learns by AdamW at 5e-4, by Muon at 1e-3; no one rate trains all."""

    def used(**told: Any) -> tuple[str, float]:
        config = TrainConfig(epochs=1, batch_size=20, precision="fp32").with_options(**told)
        settings = run(tmp_path / "run", config=config, overwrite=True).report["training"]["config"]
        return settings["optimizer"], settings["learning_rate"]

    assert used() == ("adamw", 5e-4)
    assert used(optimizer="muon") == ("muon", 1e-3)
    assert used(learning_rate=1e-4) == ("adamw", 1e-4)


# -- stopped and resumed ----------------------------------------------------------------------------------------------


def in_another_process(out: Path) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from filbert.training import loop; loop.CHECKPOINT_SECONDS = 0.0; "
        "import small; from films import Slow, run; run(Path(sys.argv[1]), watch=Slow())"
    )
    paths = os.pathsep.join([os.path.dirname(films.__file__), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen([sys.executable, "-c", code, str(out)], env=environment, stderr=subprocess.PIPE, text=True)


def test_T15_killed_and_called_again_is_the_run_nobody_killed(finished, tmp_path):
    out = tmp_path / "run"
    with in_another_process(out) as child:
        try:
            ends = time.monotonic() + 240  # imports alone took 58 s on a machine with a load of 10
            while child.poll() is None and time.monotonic() < ends:
                if (out / "checkpoints" / "step-00000004.json").exists():
                    break
                time.sleep(0.01)
        finally:
            child.kill()
        said = child.stderr.read() if child.stderr else ""
    assert child.returncode == -signal.SIGKILL, said
    assert (out / "checkpoints").is_dir()
    assert (out / ".lock").exists()
    assert not (out / "filbert.json").exists()
    watch = Listening()
    found = run(out, watch=watch)
    assert any(line.startswith("resumed at step") for line in watch.told)
    assert found.report["training"]["steps"] == 14
    assert sorted(path.name for path in out.iterdir()) == sorted(WHOLE)
    assert (out / "vocab.txt").read_text("utf-8") == (finished / "vocab.txt").read_text("utf-8")
    assert same_weights(*(load_file(str(folder / "model.safetensors")) for folder in (out, finished)))
    steps = [json.loads(line)["step"] for line in (out / "train.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (finished / "train.jsonl").read_text().splitlines()]


def test_T18_stopped_by_a_signal_and_called_again(finished, tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path / "run", watch=Stopper(5))
    assert not (tmp_path / "run" / ".lock").exists()
    found = run(tmp_path / "run")
    assert found.report["training"]["steps"] == 14
    assert same_weights(*(load_file(str(folder / "model.safetensors")) for folder in (tmp_path / "run", finished)))


def test_T21_called_again_with_other_settings(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path / "run", watch=Stopper(3))
    with pytest.raises(ConfigError, match="batch_size: 4 → 8"):
        run(tmp_path / "run", config=CONFIG.with_options(batch_size=8))
    other = data_of(examples(60, 7), examples(12, 1))
    with pytest.raises(ConfigError, match="data: "):
        run(tmp_path / "run", data=other)
    assert run(tmp_path / "run").report["training"]["steps"] == 14


# -- a deadline -------------------------------------------------------------------------------------------------------


def test_a_deadline_is_kept(tmp_path, monkeypatch):
    for module in (speed, plan_module):
        monkeypatch.setattr(module, "MEASURING_SECONDS", 0.3)
    began = time.monotonic()
    found = run(tmp_path / "run", config=CONFIG.with_options(epochs=2_000, minutes=0.04))
    assert time.monotonic() - began < 2.4 + 12  # reading, measuring, scoring and writing on a busy machine
    assert 1 < found.report["training"]["seconds"] < 2.4 * 1.5
    assert load(tmp_path / "run").predict("a good film")[0].label in ("neg", "pos")


def test_a_resumed_run_keeps_its_plan(tmp_path, monkeypatch):
    """The machine may be slower when the run is taken up again: crop and schedule stay what they were."""
    data = data_of([Example((f"{example.text} " * 20,), example.target) for example in examples(60, 0)])
    config = CONFIG.with_options(minutes=1)
    monkeypatch.setattr(train_module, "measure_speed", lambda *_, **__: 1e6)
    with pytest.raises(Stopped):
        run(tmp_path / "run", data=data, config=config, watch=Stopper(3))
    monkeypatch.setattr(train_module, "measure_speed", lambda *_, **__: 90.0)
    found = run(tmp_path / "run", data=data, config=config)
    assert found.report["model"]["max_length"] == 512
    assert found.report["training"]["config"]["epochs"] == 1
