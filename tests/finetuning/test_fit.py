"""From texts to a finished folder: whole, resumed after a kill, never replaced unasked, the same answer elsewhere."""

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

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import same_weights
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert.config import TrainConfig
from filbert.data.splits import Splits, make_splits
from filbert.errors import ConfigError, TrainingError
from filbert.finetuning import adapt as adaptation
from filbert.finetuning import fit as fit_module
from filbert.finetuning import probe
from filbert.finetuning.fit import fit
from filbert.folder.claim import default_folder
from filbert.inference.engine import load
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.records import Example
from filbert.training import loop as train
from filbert.training import plan as plan_module
from filbert.training.loop import Interrupted

CONFIG = TrainConfig(epochs=1, batch_size=4, precision="fp32", learning_rate=1e-3)
WHOLE = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "filbert.json",
    "train.jsonl",
    "report.json",
    "report.html",
    "README.md",
]


def examples(count: int, seed: int) -> list[Example]:
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        kind = ("neg", "pos")[n % 2]
        words = [*random.choice(["good", "great", "fine"] if kind == "pos" else ["bad", "dull", "poor"], 2)]
        words += [*random.choice(["film", "story", "actor", "scene", "the", "a"], 6), f"n{n}"]
        made.append(Example(" ".join(random.permutation(words)), kind))
    return made


def splits(test: int = 12) -> Splits:
    return make_splits(examples(60, 0), 0, None, examples(test, 1) or None)


def run(out: Path, **changes: Any):
    settings: dict[str, Any] = {"base": "tiny", "config": CONFIG, "device": "cpu", "compare": False}
    return fit(changes.pop("splits", splits()), out, **{**settings, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "run"
    run(out, compare=True, name="films", command="filbert fit films.csv")
    return out


@pytest.fixture(scope="module")
def report(finished) -> dict[str, Any]:
    return json.loads((finished / "report.json").read_text("utf-8"))


def test_D13_texts_beyond_the_vocabulary_of_the_base_are_said(finished, tmp_path):
    told: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            told.append(text)

    texts = [Example(f"{'好看' if n % 2 else '难看'}的第{n}部电影", ("neg", "pos")[n % 2]) for n in range(20)]
    texts += [Example(example.text, example.label) for example in examples(20, 2)]
    run(tmp_path / "run", splits=make_splits(texts, 0, None, None), base=str(finished), watch=Listening())
    (warned,) = [line for line in told if "no pieces for" in line]
    found = re.search(r"much of (\d+) of 36 training texts", warned)
    assert found
    assert 16 <= int(found[1]) <= 20, "twenty of forty, but for those held out"


# -- what is left -----------------------------------------------------------------------------------------------------


def test_the_folder_is_whole_and_holds_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == sorted(WHOLE)


def test_the_manifest_says_where_the_model_comes_from(finished):
    info = json.loads((finished / "filbert.json").read_text("utf-8"))
    assert (info["task"], info["labels"], info["base"], info["name"]) == ("classify", ["neg", "pos"], "tiny", "films")
    assert info["data_fingerprint"] == splits().fingerprint
    assert info["long_texts"] == "head+tail"
    assert {"filbert", "torch"} <= info["versions"].keys()
    assert info["temperature"] > 0


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
    test = splits().test
    right = [one.label == example.label for one, example in zip(
        load(finished).predict([example.text for example in test]), test, strict=True)]  # fmt: skip
    assert report["scores"]["test"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert len(report["mistakes"]) == len(right) - sum(right)


@torch.no_grad()
def test_calibration_is_folded_into_the_weights(finished, report):
    """Elsewhere the same probabilities come out, without a temperature."""
    theirs = AutoModelForSequenceClassification.from_pretrained(finished).eval()
    words = AutoTokenizer.from_pretrained(finished)
    texts = [example.text for example in splits().test]
    expected_NC = theirs(**words(texts, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    engine = load(finished)
    assert np.abs(engine.predict_proba(texts) - expected_NC).max() <= 1e-5
    assert engine.labels == tuple(theirs.config.id2label[i] for i in range(2))
    assert [one.label for one in engine.predict(texts)] == [theirs.config.id2label[i] for i in expected_NC.argmax(1)]


def test_calibration_divides_by_the_temperature(tmp_path, monkeypatch):
    before = {}
    inner = fit_module._calibrate

    def watched(job):
        before["logits"] = job.logits()
        found = inner(job)
        before["after"] = job.logits()
        before["temperature"] = found["temperature"]
        return found

    monkeypatch.setattr(fit_module, "_calibrate", watched)
    run(tmp_path / "run")
    np.testing.assert_allclose(before["after"], before["logits"] / before["temperature"], atol=1e-5)


def test_what_training_saw_is_what_the_engine_sees(tmp_path, monkeypatch):
    """STYLE 2: one data path. The ids that the loop trains on are those of the engine for the same texts."""
    seen = {}
    inner = fit_module.Loop

    def spy(job, feed, *rest, **more):
        seen["train"] = feed.features
        return inner(job, feed, *rest, **more)

    monkeypatch.setattr(fit_module, "Loop", spy)
    long = [Example(f"{example.text} " * 12, example.label) for example in examples(60, 0)]
    data = make_splits(long)
    run(tmp_path / "run", splits=data, config=CONFIG.with_options(max_length=32))
    served = load(tmp_path / "run").features([example.text for example in data.train])
    assert [row.ids.tolist() for row in served] == [row.ids.tolist() for row in seen["train"]]
    assert all(row.cut > 0 and len(row) == 32 for row in served)
    truncation = json.loads((tmp_path / "run" / "report.json").read_text())["truncation"]["train"]
    assert truncation["cut_texts"] == truncation["texts"] == len(data.train)


def test_without_a_test_split_validation_is_scored(tmp_path):
    found = run(tmp_path / "run", splits=make_splits(examples(60, 0)))
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


# -- a folder in use --------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_folder_is_not_replaced_unasked(finished):
    before = contents(finished)
    with pytest.raises(ConfigError, match=r"finished model.*--overwrite"):
        run(finished)
    assert contents(finished) == before


def test_a_finished_folder_is_replaced_when_asked(tmp_path):
    run(tmp_path / "run")
    run(tmp_path / "run", config=CONFIG.with_options(seed=1), overwrite=True)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["training"]["seed"] == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(WHOLE)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no Filbert run"):
        run(tmp_path, overwrite=overwrite)
    with pytest.raises(ConfigError, match="is a file"):
        run(tmp_path / "thesis.txt", overwrite=overwrite)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


HOLD = """
import sys, time
from pathlib import Path
from filbert.folder.claim import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("overwrite", [False, True])
def test_T22_a_run_in_progress_is_not_disturbed(tmp_path, overwrite):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000001.safetensors").write_bytes(b"hours of work")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            before = contents(tmp_path)
            with pytest.raises(TrainingError, match=f"in use by process {owner.pid}"):
                run(tmp_path, overwrite=overwrite)
            assert contents(tmp_path) == before
        finally:
            owner.kill()


def test_T22_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        owner.kill()
    assert (tmp_path / ".lock").exists()
    run(tmp_path)
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_checkpoints_of_another_program_are_left_alone(tmp_path, overwrite):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch=3.ckpt").write_bytes(b"hours of work")
    with pytest.raises(ConfigError, match="no Filbert run"):
        run(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"epoch=3.ckpt": b"hours of work"}


def test_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_folder("films") == Path("runs/films")
    done = Path("runs/films")
    done.mkdir(parents=True)
    (done / "filbert.json").write_text("{}")
    assert default_folder("films") == Path("runs/films-2")
    (done / "checkpoints").mkdir()
    assert default_folder("films") == done


# -- stopped and resumed ----------------------------------------------------------------------------------------------


class Slow(Silent):
    """A watcher that gives the parent time to kill."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training":
            time.sleep(0.1)


class Stopper(Silent):
    """A watcher that sends SIGTERM after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training" and "loss" in figures:
            self.steps -= 1
            if self.steps == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def in_another_process(out: Path) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from filbert import train; train.CHECKPOINT_SECONDS = 0.0; "
        "from test_fit import Slow, run; run(Path(sys.argv[1]), watch=Slow())"
    )
    paths = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
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
    told: list[str] = []
    watch = Silent()
    watch.say = told.append
    found = run(out, watch=watch)
    assert any(line.startswith("resumed at step") for line in told)
    assert found.report["training"]["steps"] == 14
    assert sorted(path.name for path in out.iterdir()) == sorted(WHOLE)
    assert (out / "vocab.txt").read_text("utf-8") == (finished / "vocab.txt").read_text("utf-8")
    assert same_weights(*(load_file(str(folder / "model.safetensors")) for folder in (out, finished)))
    steps = [json.loads(line)["step"] for line in (out / "train.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (finished / "train.jsonl").read_text().splitlines()]


def test_T18_stopped_by_a_signal_and_called_again(finished, tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path / "run", watch=Stopper(5))
    assert not (tmp_path / "run" / ".lock").exists()
    found = run(tmp_path / "run")
    assert found.report["training"]["steps"] == 14
    assert same_weights(*(load_file(str(folder / "model.safetensors")) for folder in (tmp_path / "run", finished)))


def test_T21_called_again_with_other_settings(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path / "run", watch=Stopper(3))
    with pytest.raises(ConfigError, match="batch_size: 4 → 8"):
        run(tmp_path / "run", config=CONFIG.with_options(batch_size=8))
    other = make_splits(examples(60, 7), 0, None, examples(12, 1))
    with pytest.raises(ConfigError, match="data: "):
        run(tmp_path / "run", splits=other)
    assert run(tmp_path / "run").report["training"]["steps"] == 14


# -- a deadline -------------------------------------------------------------------------------------------------------


def test_a_deadline_is_kept(tmp_path, monkeypatch):
    for module in (train, plan_module):
        monkeypatch.setattr(module, "PROBE_SECONDS", 0.3)
    began = time.monotonic()
    found = run(tmp_path / "run", config=CONFIG.with_options(epochs=2_000, minutes=0.04))
    assert time.monotonic() - began < 2.4 + 12  # reading, measuring, scoring and writing on a busy machine
    assert 1 < found.report["training"]["seconds"] < 2.4 * 1.5
    assert load(tmp_path / "run").predict("a good film")[0].label in ("neg", "pos")


def test_a_resumed_run_keeps_its_plan(tmp_path, monkeypatch):
    """The machine may be slower when the run is taken up again: crop and schedule stay what they were."""
    data = make_splits([Example(f"{example.text} " * 20, example.label) for example in examples(60, 0)])
    config = CONFIG.with_options(minutes=1)
    monkeypatch.setattr(fit_module, "measure_speed", lambda *_, **__: 1e6)
    with pytest.raises(Interrupted):
        run(tmp_path / "run", splits=data, config=config, watch=Stopper(3))
    monkeypatch.setattr(fit_module, "measure_speed", lambda *_, **__: 90.0)
    found = run(tmp_path / "run", splits=data, config=config)
    assert found.report["model"]["max_length"] == 512
    assert found.report["training"]["config"]["epochs"] == 1


# -- adapted first ----------------------------------------------------------------------------------------------------


def test_adapt_reads_the_training_texts_and_the_unlabelled_ones_and_no_others(tmp_path, monkeypatch):
    read: list[str] = []
    inner = adaptation.pretrain

    def spy(corpora, folder, **options):
        sources = [open_corpus(path, leave_out=options["leave_out"]) for path in corpora]
        read.extend(text for corpus in sources for document in corpus.documents() for text in document.paragraphs)
        return inner(corpora, folder, **options)

    monkeypatch.setattr(adaptation, "pretrain", spy)
    more = tmp_path / "more.txt"
    parts = splits()
    held_out = [example.text for example in (*parts.validation, *parts.test)]
    more.write_text("\n\n".join([*(f"a film with the story number {n} and actor" for n in range(40)), *held_out]))
    done = run(tmp_path / "run", splits=parts, adapt=True, unlabelled=[more])
    everything = "\n".join(read)
    assert all(example.text in everything for example in parts.train)
    assert "story number 39" in everything
    assert not any(text in read for text in held_out)
    told = done.report["adaptation"]
    assert told["tokens"] > 0
    assert {each["corpus"] for each in told["corpora"]} == {"texts.jsonl", "more.txt"}
    assert done.report["model"]["base"] == "tiny, adapted to the texts"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(WHOLE)


@pytest.mark.parametrize("better", [True, False])
def test_a_base_that_knows_less_when_adapted_is_used_as_it_was(finished, tmp_path, monkeypatch, better):
    told: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            told.append(text)

    wanted = {"before": 0.5, "after": 0.6} if better else {"before": 0.6, "after": 0.5}
    shares = iter(wanted.values())
    monkeypatch.setattr(probe, "FEWEST", 50)
    monkeypatch.setattr(probe, "share_told", lambda means_ND, true_N: next(shares))
    done = run(tmp_path / "run", base=str(finished), adapt=True, watch=Listening())
    assert done.report["adaptation"]["kept"] == better
    assert done.report["model"]["base"].endswith("adapted to the texts") == better
    assert done.report["adaptation"]["told"] == wanted
    assert f"the base {'adapted' if better else 'as it was'} is used" in " ".join(told)


def test_what_a_base_knows_is_told_from_vectors_alone(finished):
    texts = [example.text for example in examples(200, 3)]
    true_N = np.tile([0, 1], 100).astype(np.int32)
    assert probe.knows(finished, texts, true_N, precision="fp32") > 0.9
    assert probe.knows(finished, texts, np.random.default_rng(0).permutation(true_N), precision="fp32") < 0.65


def test_T21_texts_without_labels_that_nothing_would_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="for --adapt and --cascade"):
        run(tmp_path / "run", unlabelled=[tmp_path / "more.txt"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["adapting", "fitting"])
def test_T18_an_adapted_run_is_taken_up_in_either_stage(tmp_path, stage):
    whole = run(tmp_path / "whole", adapt=True)

    class Stop(Silent):
        steps, adapted = 0, False

        def say(self, text: str) -> None:
            self.adapted |= text.startswith("measuring on held-out")

        def progress(self, name: str, done: float, total: float, **figures: float) -> None:
            if name == "training" and self.adapted == (stage == "fitting"):
                self.steps += 1
                if self.steps == 4:
                    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(tmp_path / "again", adapt=True, watch=Stop())
    again = run(tmp_path / "again", adapt=True)
    weights = [load_file(done.folder / "model.safetensors") for done in (whole, again)]
    assert same_weights(*weights)


def test_T21_an_adaptation_to_other_texts_is_not_taken_up(tmp_path):
    class Stop(Silent):
        def say(self, text: str) -> None:
            if text.startswith("measuring on held-out"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", adapt=True, watch=Stop())
    more = tmp_path / "more.txt"
    more.write_text("a film\n\nand a story\n")
    with pytest.raises(ConfigError, match="unlabelled"):
        run(tmp_path / "run", adapt=True, unlabelled=[more])
    with pytest.raises(ConfigError, match="seed: 0 → 1"):
        run(tmp_path / "run", adapt=True, config=CONFIG.with_options(seed=1))
    assert run(tmp_path / "run", adapt=True).report["adaptation"]["tokens"] > 0
