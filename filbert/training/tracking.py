"""The training log as curves elsewhere: in TensorBoard, or on an MLflow server, through their own libraries.

`--track tensorboard` writes to the run folder. `--track mlflow` writes where MLflow's own variables say
(MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME); a resumed run goes on with its curve there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from filbert.config import RunConfig
from filbert.errors import ConfigError, shown
from filbert.failures import say
from filbert.files import write_text

MODULES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # what is tracked with → the module that must be there
KEPT = "mlflow.run"  # file of the id of a run, among its checkpoints
LONGEST = 500  # characters of a parameter


class Tracker(Protocol):
    """Where curves go."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a point."""

    def close(self, *, failed: bool) -> None:
        """End it, or put it aside where the run was stopped."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError for a name that is unknown, or whose library is not installed.

    >>> check_trackers(["wandb"])
    Traceback (most recent call last):
    filbert.errors.ConfigError: --track 'wandb' — is unknown — choose of tensorboard, mlflow
    """
    for name in names:
        if name not in MODULES:
            raise ConfigError(f"--track {shown(name)} — is unknown — choose of {', '.join(MODULES)}")
        if find_spec(MODULES[name]) is None:
            raise ConfigError(f"--track {name} — is not installed — pip install 'filbert[track]', or leave it out")


def open_trackers(names: Sequence[str], out: Path, work: Path, config: RunConfig) -> list[Tracker]:
    """Open what is tracked with: `out` is the run folder, `work` holds its checkpoints."""
    check_trackers(names)
    return [TensorBoard(out / "tensorboard") if name == "tensorboard" else MLflow(out, work, config) for name in names]


def track_scores(names: Sequence[str], work: Path, scores: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Add a finished run's figures, of each split, to its run of MLflow, if that answers."""
    if "mlflow" not in names or not (work / KEPT).is_file():
        return
    from mlflow import MlflowClient

    client, run = MlflowClient(), (work / KEPT).read_text(encoding="utf-8")
    with suppress(Exception):  # what is said of it was said before
        for split, found in scores.items():
            for name, figure in (found or {}).items():
                value = figure.get("value") if isinstance(figure, Mapping) else figure
                if isinstance(value, (int, float)):
                    client.log_metric(run, f"{split}/final_{name}", float(value))


class TensorBoard:
    """Curves in a folder."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a point."""
        self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        """Write what is left."""
        self._writer.close()


class MLflow:
    """Curves in a run of MLflow, called as the run folder is, with the settings as its parameters.

    Raises ConfigError where it does not answer at first; later the training goes on without it.
    """

    def __init__(self, out: Path, work: Path, config: RunConfig) -> None:
        from mlflow import MlflowClient

        self._client, self._lost = MlflowClient(), False
        try:
            self._run = self._begin(out, work / KEPT, config)
        except Exception as error:
            todo = "set MLFLOW_TRACKING_URI, or leave it out"
            raise ConfigError(f"--track mlflow — does not answer: {shown(str(error), 200)} — {todo}") from None

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a point."""
        self._ask(lambda: self._client.log_metric(self._run, name, value, step=step))

    def close(self, *, failed: bool) -> None:
        """Say how it ended."""
        self._ask(lambda: self._client.set_terminated(self._run, "KILLED" if failed else "FINISHED"))

    def _begin(self, out: Path, kept: Path, config: RunConfig) -> str:
        """Return the id of the run: of the one that was stopped, or of a new one."""
        if kept.is_file():
            run = kept.read_text(encoding="utf-8")
            self._client.update_run(run, "RUNNING")
            return run
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "filbert"
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        run = str(self._client.create_run(experiment, run_name=out.resolve().name).info.run_id)
        for key, value in asdict(config).items():
            self._client.log_param(run, key, str(value)[:LONGEST])
        write_text(kept, run)
        return run

    def _ask(self, send: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            send()
        except Exception as error:
            self._lost = True
            say(f"warning: mlflow does not answer any more ({shown(str(error), 200)}): training goes on without it")
