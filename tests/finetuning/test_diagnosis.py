"""Why a run failed: each failure provoked on a tiny model, named in one sentence with the next command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsed import Page
from command import Run
from command import run as run  # a fixture
from films import data_of, examples
from films import run as fitted
from finished import TARGETS, data

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.diagnosis import again, gain, rose
from filbert.records import Example
from filbert.report.words import diagnosis_line
from filbert.tasks import multi_label

COMMAND = "filbert fit films.csv --learning-rate 9 --epochs 1"


def config(**changes: Any) -> TrainConfig:
    settings = {"epochs": 1, "batch_size": 8, "precision": "fp32", "learning_rate": 1e-3, **changes}
    return TrainConfig(**settings)


def diagnosed(out: Path, train: list[Example], test: list[Example], **changes: Any) -> dict[str, Any]:
    base = changes.pop("base", "tiny")
    parts = data_of(train, test)
    done = fitted(
        out, data=parts, base=base, config=config(**changes), compare=True, command=COMMAND, source="films.csv"
    )
    found = done.report["diagnosis"]
    if found:
        page = Page((out / "report.html").read_text("utf-8"))
        assert found["sentence"][1:30] in page.text
        assert found["command"] in page.text
    return found or {}


def test_a_good_run_is_left_alone(tmp_path: Path) -> None:
    assert diagnosed(tmp_path / "run", examples(200, 0), examples(60, 1), epochs=3) == {}


def test_texts_that_are_all_unknown(tmp_path: Path) -> None:
    def runes(count: int, seed: int) -> list[Example]:
        return [Example((f"ᚠᚢᚦ{'ᚨᚱ'[n % 2]} ᚲᚷ{n}",), ("neg", "pos")[n % 2]) for n in range(seed, seed + count)]

    found = diagnosed(tmp_path / "run", runes(40, 0), runes(30, 40), base="filbert-mini", max_length=16)
    assert found["kind"] == "unknown-pieces"
    assert "has no pieces for" in found["sentence"]
    assert found["command"] == "filbert fit films.csv --learning-rate 9 --epochs 1 --base small --overwrite"


def test_a_learning_rate_that_is_too_high(tmp_path: Path) -> None:
    found = diagnosed(tmp_path / "run", examples(200, 0), examples(60, 1), epochs=4, learning_rate=0.5)
    assert found["kind"] == "learning-rate"
    assert "0.5 is too high" in found["sentence"]
    assert found["command"] == "filbert fit films.csv --epochs 1 --learning-rate 0.0005 --overwrite"


def test_targets_that_do_not_follow_from_the_texts(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def shuffled(count: int, seed: int) -> list[Example]:
        return [Example(each.inputs, str(random.choice(["neg", "pos"]))) for each in examples(count, seed)]

    found = diagnosed(tmp_path / "run", shuffled(200, 0), shuffled(100, 1), epochs=2)
    assert found["kind"] == "unrelated"
    assert found["sentence"].startswith(
        "neither BERT nor the linear model does better on 100 texts than the same answer"
    )
    assert found["command"] == "filbert doctor films.csv"


def test_one_answer_for_all_texts_where_something_can_be_learned(tmp_path: Path) -> None:
    found = diagnosed(tmp_path / "run", examples(120, 0), examples(60, 1), learning_rate=1e-7)
    assert found["kind"] in ("one-answer", "not-learned")
    assert "take the usual learning rate" in found["sentence"]
    assert found["command"] == "filbert fit films.csv --epochs 1 --overwrite"
    found = diagnosed(tmp_path / "second", examples(120, 0, rare=4), examples(60, 1, rare=4), learning_rate=2e-4)
    assert found["kind"] == "one-answer"
    assert found["sentence"].startswith("the model answers 'neg' to all 60 texts")
    assert "--epochs" in found["command"]
    assert "--epochs 1 " not in found["command"]


@pytest.mark.parametrize(
    ("losses", "chance", "found"),
    [
        ([0.69] * 16, 0.69, False),
        ([2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.8, 0.8], 0.69, False),
        ([0.69, 0.6, 0.5, 0.5, 0.6, 0.7, 0.9, 1.2], 0.69, True),
        ([0.69, 5.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.7], 0.69, True),
        ([1.0, 0.3, 0.1, 0.02, 0.03, 0.05, 0.1, 0.12], None, True),
        ([1.0, 0.3, 0.1, 0.02, 0.03, 0.05, 0.1, 0.12], 0.69, False),
        ([3.0, 0.1], 0.69, False),
        ([0.7] * 7 + [math.nan], 0.69, False),
    ],
)
def test_a_loss_that_rises(losses: list[float], chance: float | None, found: bool) -> None:
    assert rose(losses, chance) is found


def test_the_next_command_replaces_an_option() -> None:
    assert again("filbert fit 'my a.csv' --learning-rate=3 -o runs/a --overwrite", {"--learning-rate": None}) == (
        "filbert fit 'my a.csv' -o runs/a --overwrite"
    )
    assert diagnosis_line({}) == ""


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_constant_answer_of_each_task(name: str) -> None:
    task, found = tasks.TASKS[name], data(name)
    train = found.splits.train
    same, loss = task.constant(train, 3, found.settings)
    assert len(same) in (0, 3)
    assert loss is None or 0 < loss <= math.log(len(TARGETS[name])) + 1e-9
    if same:
        assert same[0] == same[2]
        own = gain(task, train, train, task.constant(train, len(train), found.settings)[0], found.settings)
        assert own is not None
        assert own["value"] == 0.0


def test_the_loss_of_not_reading_is_what_training_says(tmp_path: Path) -> None:
    """A model that is not trained has the loss of the constant answer, and not another unit's."""
    for name in ("single-label", "multi-label", "regression"):
        parts = data(name)
        done = fitted(tmp_path / name, data=parts, config=config(learning_rate=1e-9))
        first = json.loads((done.folder / "train.jsonl").read_text("utf-8").splitlines()[0])["loss"]
        chance = parts.task.constant(parts.splits.train, 1, parts.settings)[1]
        assert first == pytest.approx(chance, rel=0.5)


def test_fit_says_it_on_the_terminal_and_in_json(run: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [f"{each.text},{random.choice(['a', 'b'])}" for each in examples(400, 0)]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    options = ["--base", "tiny", "--epochs", "1", "--device", "cpu", "--precision", "fp32", "-o", "out"]
    ran = run("fit", "films.csv", *options)
    assert ran.code == 0, ran.err
    told = " ".join(ran.out.split())
    assert "warning: neither BERT nor the linear model does better" in told
    assert "Next: filbert doctor films.csv" in told


def test_a_model_that_finds_rare_labels_has_learned_though_most_texts_have_none() -> None:
    task, settings = tasks.multi_label, multi_label.Settings(("late", "odd"))
    rare = [Example((f"text {n}",), (("late",), ("odd",))[n % 2]) for n in range(40)]
    many = [*rare, *(Example((f"text {n}",), ()) for n in range(40, 1_000))]
    found_NL = np.zeros((1_000, 2))
    found_NL[np.arange(28), np.arange(28) % 2] = 1  # 28 of 40 are found …
    found_NL[100:128, 0] = 1  # … and as many given to texts without a label: as many texts are exactly right as by none
    learned = gain(task, many, many, multi_label.outputs.labelled(found_NL, settings), settings)
    assert learned is not None
    assert learned["low"] > 0.2 * learned["of"] > 0.1
    nothing = gain(task, many, many, multi_label.outputs.labelled(np.zeros((1_000, 2)), settings), settings)
    assert nothing is not None
    assert nothing["value"] == 0
