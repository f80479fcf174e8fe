"""A student learns what its teachers answer: its loss, its targets, what it is compared by, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import ordinal_grades
import pytest
import torch
from films import CONFIG, contents, examples
from films import finished as teacher
from finished import ALONE, ASKED, data, inputs, run

from filbert import tasks
from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.errors import ConfigError, Stopped
from filbert.finetuning import distil as distil_module
from filbert.finetuning.dataset import Soft
from filbert.finetuning.distil import base_of, distil
from filbert.finetuning.prepare import prepare
from filbert.finetuning.train import job_of
from filbert.inference.engine import load
from filbert.model.packing import pack
from filbert.model.run import tensors_of
from filbert.progress import Silent
from filbert.records import Example
from filbert.report.distillation import AGREEMENT, distilled_lines

TASKS = [name for name in tasks.TASKS if name not in ASKED | ALONE]
each_task = pytest.mark.parametrize("name", [*TASKS, ordinal_grades.NAME])


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, ordinal_grades.NAME, ordinal_grades)


@each_task
def test_a_student_that_gives_what_the_teacher_gave_has_no_gradient(name: str) -> None:
    found = data(name)
    task, settings = found.task, found.settings
    run_, model = prepare(found, find_base("tiny"), TrainConfig(seed=0), "cpu", Silent())
    windows = [each[0] for each in run_.features["train"][:6]]
    batch = pack(windows)
    with torch.inference_mode():
        given_BO = model.eval()(*tensors_of(batch, "cpu")).numpy()
    order = batch.order_B.argsort()
    shift = getattr(settings, "spread", 1.0), getattr(settings, "mean", 0.0)  # as it is folded into a saved model
    targets_N = task.soften((given_BO[order] * shift[0] + shift[1])[:, None], settings, 3.0)
    batch = pack([replace(window, target=target) for window, target in zip(windows, targets_N, strict=True)])
    outputs = torch.tensor(given_BO, requires_grad=True)
    task.loss(outputs / 3.0, batch, settings).backward()
    assert outputs.grad.abs().max() < 1e-5
    moved = torch.tensor(given_BO + np.eye(*given_BO.shape, dtype=np.float32), requires_grad=True)
    task.loss(moved / 3.0, batch, settings).backward()
    assert moved.grad.abs().max() > 1e-3


@each_task
def test_answers_are_targets_and_drawn_ones_follow_the_probabilities(name: str) -> None:
    engine = load(run(name).folder, device="cpu")
    task, settings = engine.task, engine.settings
    predictions = engine.predict(inputs(40, name))
    reading = [task.answered(each, settings) for each in predictions]
    as_examples = [Example(texts, target) for texts, target in zip(inputs(40, name), reading, strict=True)]
    assert not task.unknown(as_examples, settings)
    assert task.score(as_examples, predictions, settings)
    if hasattr(settings, "half_width"):
        settings = replace(settings, half_width=1.0)
    random = np.random.default_rng(0)
    drawn = [task.answered(predictions[0], settings, random) for _ in range(400)]
    assert len({str(each) for each in drawn}) > 1
    if hasattr(predictions[0], "label"):
        share = np.mean([each == settings.labels[0] for each in drawn])
        assert abs(share - predictions[0].probabilities[0]) < 0.1


@each_task
def test_one_model_averaged_with_itself_answers_as_it_does(name: str) -> None:
    engine = load(run(name).folder, device="cpu")
    outputs = engine.outputs(engine.features(inputs(8, name)))
    twice = engine.task.averaged([outputs, outputs], engine.settings)
    columns = engine.task.columns(engine.settings)
    both = (engine.task.decode(each, engine.settings) for each in (outputs, twice))
    for one, two in zip(*both, strict=True):
        cells, others = engine.task.row(one, engine.settings), engine.task.row(two, engine.settings)
        assert all(
            cells[key] == pytest.approx(others[key], abs=1e-4) if kind == "float" else cells[key] == others[key]
            for key, kind in columns.items()
        )


@pytest.mark.parametrize("name", sorted(ASKED | ALONE))
def test_where_no_student_can_learn_it_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no student can learn from this model: its answers are"):
        distil([run(name).folder], inputs(40, name), tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_the_loss_of_a_student_is_at_the_temperature_and_scaled_back() -> None:
    found = data("single-label")
    run_, model = prepare(found, find_base("tiny"), TrainConfig(seed=0), "cpu", Silent())
    batch = pack([each[0] for each in run_.features["train"][:4]])
    job = job_of(run_, model)
    model.eval()
    tensors = tensors_of(batch, "cpu")
    with torch.no_grad():
        cold = found.task.loss(model(*tensors) / 2.0, batch, found.settings)
        job.soft = Soft(np.zeros((4, 4)), 2.0, "", {})
        assert torch.allclose(job.loss(batch, tensors), 4 * cold)


# -- from texts to a folder -------------------------------------------------------------------------------------------

TEXTS = [example.inputs for example in examples(80, 5)]


def test_a_student_of_labelled_and_of_unlabelled_texts(tmp_path: Path) -> None:
    test = examples(12, 1)
    done = distil([teacher()], [*TEXTS, *TEXTS, test[0].inputs], tmp_path / "a", base="tiny", config=CONFIG, test=test)
    found = done.report["distillation"]
    assert found["texts"] + done.report["data"]["counts"]["validation"] == len(set(TEXTS))  # each once, no test text
    assert set(found["splits"]["test"]) == {"n", "agreement", "student", "teacher", "difference"}
    assert set(found["splits"]["validation"]) == {"n", "agreement"}
    engine = load(teacher(), device="cpu")
    theirs = engine.task.score(test, engine.predict([each.inputs for each in test]), engine.settings)
    assert found["splits"]["test"]["teacher"]["value"] == theirs["accuracy"]["value"]
    assert found["splits"]["test"]["student"] == done.report["scores"]["test"]["accuracy"]
    assert {side: min(each.values()) > 0 for side, each in found["speed"].items() if side != "times"} == {
        "student": True,
        "teacher": True,
    }
    page, card = ((done.folder / name).read_text("utf-8") for name in ("report.html", "README.md"))
    assert "Student and teacher" in page
    assert "Distilled from run" in card
    assert AGREEMENT not in page
    alone = distil([teacher(), teacher()], TEXTS, tmp_path / "b", base="tiny", config=CONFIG)
    assert AGREEMENT in (alone.folder / "report.html").read_text("utf-8")
    assert AGREEMENT in "".join(distilled_lines(alone.report))
    assert len(alone.report["distillation"]["teachers"]) == 2


def test_a_stopped_one_goes_on_and_asks_the_teacher_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(Silent):
        def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
            if stage == "asking the teacher" and done == 40:
                raise Stopped(15)

    monkeypatch.setattr(distil_module, "CHUNK", 20)
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        distil([teacher()], TEXTS, out, base="tiny", config=CONFIG, watch=Stopping())
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(kept) == 2
    broken = next(iter(kept))
    broken.write_bytes(broken.read_bytes()[:10])
    again = distil([teacher()], TEXTS, out, base="tiny", config=CONFIG)
    whole = distil([teacher()], TEXTS, tmp_path / "whole", base="tiny", config=CONFIG)
    assert contents(out)["model.safetensors"] == contents(whole.folder)["model.safetensors"]
    assert not (out / "checkpoints").exists()
    with pytest.raises(ConfigError, match="holds a finished model"):
        distil([teacher()], TEXTS, again.folder, base="tiny", config=CONFIG)


def test_another_run_in_its_place_is_refused(tmp_path: Path) -> None:
    class Stopping(Silent):
        def say(self, text: str) -> None:
            if text.startswith("base "):
                raise Stopped(15)

    with pytest.raises(Stopped):
        distil([teacher()], TEXTS, tmp_path / "run", base="tiny", config=CONFIG, watch=Stopping())
    with pytest.raises(ConfigError, match=r"unfinished run with other settings \(.*temperature: 2.0 → 4.0"):
        distil([teacher()], TEXTS, tmp_path / "run", base="tiny", config=CONFIG, temperature=4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"config": TrainConfig(balance="weights")}, "balance weighs labels"),
        ({"texts": TEXTS[:4]}, "there are 4 texts to learn from"),
        ({"texts": [("a", "b")] * 40}, "the teacher reads 1 text each time, and here are 2"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(changes, message, tmp_path: Path) -> None:
    given = {"texts": TEXTS, "out": tmp_path / "run", "base": "tiny", **changes}
    with pytest.raises(ConfigError, match=message):
        distil([teacher()], **given)
    assert not (tmp_path / "run").exists()


def test_teachers_with_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        distil([teacher(), run("single-label").folder], TEXTS, tmp_path / "run", base="tiny")


def test_size_and_base() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        base_of("mini", "minilm")
    with pytest.raises(ConfigError, match="size is huge"):
        base_of("huge", None)
