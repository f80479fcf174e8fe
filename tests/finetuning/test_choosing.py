"""`--tune` and `--ensemble`: more than one training, of which one model comes out; interrupted ones go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from films import CONFIG, Listening, contents, data, data_of, examples, run
from small import same_weights

from filbert.bases.find import find_base
from filbert.config import TrainConfig, budget
from filbert.errors import ConfigError, Stopped, TrainingError
from filbert.finetuning import choosing, tune
from filbert.finetuning.ensemble import greedy, mean
from filbert.finetuning.prepare import prepare
from filbert.finetuning.train import job_of
from filbert.inference.engine import load
from filbert.progress import Silent
from filbert.report.choosing import choosing_lines


class Stopping(Silent):
    """A watcher that ends the run when a sentence begins so."""

    def __init__(self, words: str) -> None:
        self.words = words

    def say(self, text: str) -> None:
        if text.startswith(self.words):
            raise Stopped(15)


# -- budgets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "1", "0", "2.5", "-3", "20 trials", "0min", "min", "nan", "1e9"])
def test_a_budget_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="give trials, at least 2, or a time: 20, 30min, 2h"):
        budget(given)


def test_minutes_belong_to_the_budget() -> None:
    with pytest.raises(ConfigError, match="--tune 30min"):
        TrainConfig(tune=5, minutes=3)


def test_without_optuna_a_search_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'filbert\[tune\]'"):
        run(tmp_path / "run", config=CONFIG.with_options(tune=5))
    assert not (tmp_path / "run").exists()


# -- the search -------------------------------------------------------------------------------------------------------

TUNED = CONFIG.with_options(tune=3)


def test_a_search_ends_with_the_best_trial_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    whole = run(tmp_path / "whole", config=TUNED)
    found = whole.report["tuning"]
    scores = [each["figures"]["macro_f1"] for each in found["trials"]]
    assert len(scores) == 3
    assert scores[found["best"] - 1] == max(scores)
    assert found["trials"][0]["settings"] == {"layer_decay": 1.0, "weight_decay": 0.01, "dropout": 0.1}
    best = found["trials"][found["best"] - 1]["settings"]
    assert best.items() <= whole.report["training"]["config"].items()
    page = (whole.folder / "report.html").read_text("utf-8")
    assert "Search for options" in page
    assert "optimistic" in page

    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run(out, config=TUNED, watch=Stopping("trial 3"))
    kept = {path.parent.name for path in out.rglob("done.json")}
    assert kept == {"trial-001", "trial-002"}
    assert len(list(out.rglob("weights.safetensors"))) == 1  # the best one's
    listening = Listening()
    again = run(out, config=TUNED, watch=listening)
    assert sum(line.startswith("validation after") for line in listening.told) == 4  # of the third trial alone
    assert [each["settings"] for each in again.report["tuning"]["trials"]] == [
        each["settings"] for each in found["trials"]
    ]
    assert contents(out)["model.safetensors"] == contents(whole.folder)["model.safetensors"]
    assert not (out / "checkpoints").exists()


def test_options_that_are_given_are_not_searched() -> None:
    pytest.importorskip("optuna")
    found, _ = prepare(data(), find_base("tiny"), CONFIG, "cpu", Silent())
    assert set(tune._default(found)) == {"layer_decay", "weight_decay", "dropout"}
    uneven, _ = prepare(data_of(examples(120, 0, rare=5)), find_base("tiny"), TrainConfig(), "cpu", Silent())
    default = tune._default(uneven)
    assert default["balance"] == "none"
    space = tune._space(uneven, default)
    assert all(space[name]._contains(space[name].to_internal_repr(value)) for name, value in default.items())


def test_a_trial_behind_the_others_is_given_up_and_one_that_diverges_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    made, real = [], tune.train

    def failing(one, model, folder, **more):
        made.append(folder)
        if len(made) == 2:
            raise TrainingError("loss nan")
        return real(one, model, folder, **more)

    monkeypatch.setattr(tune, "train", failing)
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: len(made) == 3)
    found = run(tmp_path / "run", config=TUNED).report["tuning"]
    assert [each["whole"] for each in found["trials"]] == [True, False, False]
    assert found["trials"][1]["figures"] == {}
    assert found["best"] == 1
    assert "2 of them given up early" in choosing_lines({"tuning": found, "scores": {"validation": {}}})[0]


def test_a_search_by_time_ends_with_its_time(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    found = run(tmp_path / "run", config=CONFIG.with_options(tune="0.0001min")).report["tuning"]
    assert len(found["trials"]) == 1  # the default is always tried


# -- the ensemble -----------------------------------------------------------------------------------------------------


def test_an_ensemble_is_one_model_and_resumes(tmp_path: Path) -> None:
    config = CONFIG.with_options(ensemble=3, epochs=3)
    whole = run(tmp_path / "whole", config=config)
    found = whole.report["ensemble"]
    assert [each["seed"] for each in found["members"]] == [0, 1, 2]
    goal = [(each["figures"]["macro_f1"], -each["figures"]["loss"]) for each in (*found["members"], *found["averages"])]
    kept = [each["name"] for each in found["averages"]] if found["helped"] else [f"seed {n}" for n in range(3)]
    assert found["kept"] in kept
    assert found["helped"] == (max(goal[3:]) > max(goal[:3]))
    assert "Average of several trainings" in (whole.folder / "report.html").read_text("utf-8")
    assert len(load(whole.folder).predict(["a good film"])) == 1
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run(out, config=config, watch=Stopping("training 3 of 3"))
    again = run(out, config=config)
    assert contents(again.folder)["model.safetensors"] == contents(whole.folder)["model.safetensors"]


def test_averages_are_means_and_the_greedy_one_takes_what_helps() -> None:
    found, model = prepare(data(), find_base("tiny"), CONFIG, "cpu", Silent())
    job = job_of(found, model)
    start = {name: x.clone() for name, x in model.state_dict().items()}
    members = [{name: x + shift for name, x in start.items()} for shift in (0.0, 1.0, 5.0)]
    assert torch.allclose(mean(members)["last.bias"], start["last.bias"] + 2.0)
    taken, weights = greedy(job, enumerate(members), (2.0,))  # nothing is better than this
    assert taken == [0]
    assert same_weights(weights, members[0])
    taken, weights = greedy(job, enumerate(members), (-1.0,))  # whatever is tried first is better
    assert taken[:2] == [0, 1]
