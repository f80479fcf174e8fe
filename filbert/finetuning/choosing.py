"""Beyond one training: a search for options (tune.py), and the average of several trainings (ensemble.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from filbert.config import TrainConfig, budget
from filbert.errors import ConfigError
from filbert.finetuning.ensemble import averaged
from filbert.finetuning.few_shot import few_shot
from filbert.finetuning.prepare import Run
from filbert.finetuning.train import Result, job_with, train
from filbert.finetuning.tune import best_trial
from filbert.model.network import Network
from filbert.progress import Watcher
from filbert.tasks.task import Json


def check_choosing(config: TrainConfig, folds: int | None) -> None:
    """Raise ConfigError for a search that cannot be, before anything is read or trained.

    >>> check_choosing(TrainConfig(), folds=5)
    """
    if config.tune is None:
        return
    budget(config.tune)
    if find_spec("optuna") is None:
        raise ConfigError("--tune needs optuna, which is not installed — pip install 'filbert[tune]'")
    if folds is not None:
        why = "the folds would be trained with options that the search has not found yet"
        raise ConfigError(f"--tune and --folds exclude each other: {why} — tune first, then give --folds its options")


def trained(run: Run, model: Network, out: Path, *, track: Sequence[str], watch: Watcher) -> Result:
    """Train a run as its options say: once, by pairs, in a search whose best trial is kept, or several times, averaged.

    `run` then has the options that were found. Raises as `train` does.
    """
    config = run.config
    if config.few_shot:
        return few_shot(run, model, out, track=track, watch=watch)
    if config.tune is None and config.ensemble == 1:
        return train(run, model, out, track=track, watch=watch)
    run.config = replace(config, tune=None, ensemble=1)
    facts: Json = {}
    first = None
    if config.tune is not None:
        first, facts["tuning"] = best_trial(run, out, config.tune, watch)
    used = replace(run.config, tune=config.tune, ensemble=config.ensemble)
    if config.ensemble == 1:
        assert first is not None
        job = job_with(run, first.weights(), first.plan)
        return Result(first.trained, job, first.plan, first.facts["balance"], used, facts)
    member, weights, facts["ensemble"] = averaged(run, out, config.ensemble, first, watch)
    job = job_with(run, weights, member.plan)
    return Result(member.trained, job, member.plan, member.facts["balance"], used, facts)
