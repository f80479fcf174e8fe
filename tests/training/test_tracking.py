"""Training logs elsewhere: curves in TensorBoard and MLflow, continued by a resumed run, refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import TRAIN, Run, write_texts
from command import run as run

from filbert.config import TrainConfig
from filbert.errors import ConfigError
from filbert.training import tracking
from filbert.training.tracking import check_trackers, open_trackers, track_scores


def test_a_library_that_is_missing_is_said_before_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(tmp_path / "films.csv")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for name, said in (("wandb", "choose of tensorboard, mlflow"), ("mlflow", "pip install 'filbert[track]'")):
        done = run("fit", "films.csv", "-o", "run", "--track", name, *TRAIN)
        assert done.code == 2
        assert said in done.err
        assert not (tmp_path / "run" / "train.jsonl").exists()


def test_curves_go_to_tensorboard(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_texts(tmp_path / "films.csv")
    assert run("fit", "films.csv", "-o", "run", "--track", "tensorboard", *TRAIN).code == 0
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"train/loss", "validation/accuracy"} <= set(found.Tags()["scalars"])


def test_curves_and_figures_go_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no other store in a process
    mlflow.set_tracking_uri(None)
    work = tmp_path / "reviews" / "checkpoints"
    work.mkdir(parents=True)
    config = TrainConfig(epochs=2)
    for steps, failed in (((1, 2), True), ((3,), False)):  # stopped, and resumed
        (tracker,) = open_trackers(["mlflow"], work.parent, work, config)
        for step in steps:
            tracker.scalar("train/loss", 1 / step, step)
        tracker.close(failed=failed)
    track_scores(["mlflow"], work, {"validation": {"n": 5, "accuracy": {"value": 0.75, "low": 0.5, "high": 0.9}}})
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("filbert")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "reviews"
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2"
    assert found.data.metrics["validation/final_accuracy"] == 0.75
    assert [point.step for point in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2, 3]


def test_a_server_that_is_gone_does_not_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(None)
    with pytest.raises(ConfigError, match="--track mlflow — does not answer"):
        open_trackers(["mlflow"], tmp_path, tmp_path, TrainConfig())
    (tmp_path / tracking.KEPT).write_text("0123")
    monkeypatch.setattr(mlflow.MlflowClient, "update_run", lambda *_: None)  # it was there when the run began
    (tracker,) = open_trackers(["mlflow"], tmp_path, tmp_path, TrainConfig())
    for step in (1, 2):
        tracker.scalar("train/loss", 0.5, step)
    tracker.close(failed=False)
    track_scores(["mlflow"], tmp_path, {"test": {"accuracy": 0.5}})
    assert capsys.readouterr().err.count("training goes on without it") == 1


def test_nothing_is_asked_where_nothing_is_tracked(tmp_path: Path) -> None:
    check_trackers([])
    track_scores([], tmp_path, {"test": {"accuracy": 1.0}})
    with pytest.raises(ConfigError, match="unknown"):
        check_trackers(["tensorboards"])
