"""Uneven classes: three ways are tried, the best by validation is kept, and a stopped run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from films import CONFIG, Listening, Stopper, data, data_of, examples, run
from safetensors.torch import load_file
from small import same_weights

from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.errors import ConfigError, Stopped
from filbert.finetuning import train as train_module
from filbert.finetuning.prepare import prepare
from filbert.finetuning.train import TRIED, new_head_rates
from filbert.inference.engine import load
from filbert.progress import Silent
from filbert.records import Example

UNEVEN = data_of(examples(120, 0, rare=5))  # 24 to 96, of which 108 are trained on: 27 steps
AUTO = CONFIG.with_options(balance="auto")


def weights(folder: Path) -> dict:
    return load_file(str(folder / "model.safetensors"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("auto") / "run", data=UNEVEN, config=AUTO).folder


def test_auto_tries_three_ways_and_keeps_the_best(tmp_path):
    watch = Listening()
    done = run(tmp_path / "run", data=UNEVEN, config=AUTO, watch=watch)
    found = done.report["training"]["balance"]
    assert list(found["tried"]) == list(TRIED)
    scores = {how: each["score"] for how, each in found["tried"].items()}
    assert scores[found["balance"]] == max(scores.values())
    assert [line for line in watch.told if line.startswith("training with")] == [
        f"training with balance {how}" for how in TRIED
    ]
    assert any(line.startswith(f"balance {found['balance']} validates best: none ") for line in watch.told)
    validation = done.report["scores"]["validation"]["macro_f1"]["value"]
    assert validation == pytest.approx(scores[found["balance"]])  # of the folder: the best way's weights are in it
    assert (done.folder / "train.jsonl").stat().st_size > 0
    assert not (done.folder / "checkpoints").exists()


def test_the_three_ways_lead_to_different_weights(tmp_path):
    folders = [run(tmp_path / how, data=UNEVEN, config=CONFIG.with_options(balance=how)).folder for how in TRIED]
    for i, folder in enumerate(folders):
        assert not any(same_weights(weights(folder), weights(other)) for other in folders[:i])


@pytest.mark.parametrize("best", TRIED)
def test_what_auto_keeps_is_what_that_way_alone_gives(tmp_path, monkeypatch, best):
    """Whichever way wins, its weights are saved: as if it had been the only one."""
    inner = train_module._train

    def favoured(run_, model, work, how, **options):
        trained, job, used = inner(run_, model, work, how, **options)
        trained.best_score, trained.best_figures = (float(how == best), 0.0), {}
        return trained, job, used

    alone = run(tmp_path / "alone", data=UNEVEN, config=CONFIG.with_options(balance=best))
    monkeypatch.setattr(train_module, "_train", favoured)
    auto = run(tmp_path / "auto", data=UNEVEN, config=AUTO)
    assert auto.report["training"]["balance"]["balance"] == best
    assert same_weights(weights(auto.folder), weights(alone.folder))
    assert load(auto.folder).predict("a good film")[0].label in ("neg", "pos")


def test_even_classes_are_trained_once(tmp_path):
    watch = Listening()
    done = run(tmp_path / "run", config=AUTO, watch=watch)
    assert done.report["training"]["balance"] == {"balance": "none"}
    assert "balance none: the classes are even, 27 to 27 training texts each" in watch.told
    assert done.report["training"]["steps"] == 14


def test_T18_stopped_in_the_second_way_it_goes_on_there(whole, tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path / "run", data=UNEVEN, config=AUTO, watch=Stopper(27 + 5))
    assert (tmp_path / "run" / "checkpoints" / "balance-none" / "done.json").is_file()
    watch = Listening()
    run(tmp_path / "run", data=UNEVEN, config=AUTO, watch=watch)
    second = watch.told[watch.told.index("training with balance weights") :]
    assert second[1].startswith("resumed at step ")
    assert not any(line.startswith("resumed") for line in watch.told[: -len(second)])
    assert same_weights(weights(whole), weights(tmp_path / "run"))


class BetweenWays(Listening):
    """A watcher that stops the run as the second way begins."""

    def say(self, text: str) -> None:
        if text == "training with balance weights":
            raise KeyboardInterrupt


def test_T21_a_way_that_was_tried_with_other_settings_is_not_taken(tmp_path):
    """Stopped between two ways there is no checkpoint that would tell: what is done says what it was done with."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", data=UNEVEN, config=AUTO, watch=BetweenWays())
    with pytest.raises(ConfigError, match="batch_size: 4 → 8"):
        run(tmp_path / "run", data=UNEVEN, config=AUTO.with_options(batch_size=8))
    with pytest.raises(ConfigError, match="data: "):
        run(tmp_path / "run", data=data_of(examples(120, 7, rare=5)), config=AUTO)
    assert len(run(tmp_path / "run", data=UNEVEN, config=AUTO).report["training"]["balance"]["tried"]) == 3


def test_each_way_has_a_third_of_the_time_and_a_plan_of_its_own(tmp_path, monkeypatch):
    """The first is measured to be slow and cuts its texts; the others read them whole."""
    minutes, longest = [], []
    speeds, plan, loop = iter((90.0, 1e6, 1e6)), train_module.plan, train_module.Loop

    def planned(config, *rest, **options):
        minutes.append(config.minutes)
        return plan(config, *rest, **options)

    def looped(job, feed, *rest, **options):
        longest.append(max(map(len, feed.features)))
        return loop(job, feed, *rest, **options)

    monkeypatch.setattr(train_module, "measure_speed", lambda *_, **__: next(speeds))
    monkeypatch.setattr(train_module, "plan", planned)
    monkeypatch.setattr(train_module, "Loop", looped)
    long = [Example((f"{example.text} " * 10,), example.target) for example in examples(60, 0, rare=5)]
    run(tmp_path / "run", data=data_of(long), config=AUTO.with_options(minutes=3))
    assert minutes == [1.0] * 3
    assert longest[0] < longest[1] == longest[2]


def test_one_way_that_is_asked_for_is_trained_once_and_told(tmp_path):
    done = run(tmp_path / "run", data=data(), config=CONFIG.with_options(balance="weights"))
    assert done.report["training"]["balance"] == {"balance": "weights"}
    assert done.report["training"]["config"]["balance"] == "weights"


@pytest.mark.parametrize(
    ("base", "changes", "rates"),
    [
        ("filbert-mini", {"optimizer": "adamw", "learning_rate": 1e-4}, {"pooler": 1e-3, "last": 1e-3}),
        (
            "filbert-mini",
            {"optimizer": "adamw", "learning_rate": 5e-5, "head_factor": 4},
            {"pooler": 2e-4, "last": 2e-4},
        ),
        ("filbert-mini", {"optimizer": "adamw", "learning_rate": 1e-4, "head_factor": 1}, {}),
        ("filbert-mini", {}, {}),  # Muon's rate is a head's
        ("tiny", {"learning_rate": 1e-4}, {}),  # the encoder is new, too
    ],
)
def test_a_new_head_on_a_trained_base_learns_faster(base, changes, rates):
    prepared, model = prepare(data(), find_base(base), TrainConfig(**changes), "cpu", Silent())
    assert new_head_rates(prepared, model) == pytest.approx(rates)
