"""Options of a fit that could only fail after training: refused before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filbert.config import TrainConfig, check_points, check_rate
from filbert.errors import ConfigError
from filbert.finetuning.choosing import check_choosing
from filbert.finetuning.dataset import Dataset
from filbert.finetuning.folds import check_folds, pool_of
from filbert.finetuning.prepare import pooling_for


def check(
    data: Dataset,
    config: TrainConfig,
    cascade: float | None,
    unlabelled: Sequence[str | Path],
    *,
    adapt: bool,
    folds: int | None,
    abstain: float | None,
    unknown: float | None,
) -> None:
    """Raise ConfigError for options that do not go together, or not with the task or its texts.

    >>> check(data, TrainConfig(), None, (), adapt=False, folds=5, abstain=None, unknown=None)  # doctest: +SKIP
    """
    check_choosing(config, folds)
    check_folds(folds, len(pool_of(data)))
    check_rate(abstain, data.task.ABSTAIN)
    check_rate(unknown, data.task.UNKNOWN, "--unknown", "texts")
    if cascade is not None:
        check_points(cascade)
        if data.task.CASCADE:
            raise ConfigError(f"--cascade — {data.task.CASCADE} — leave it out")
    if cascade is not None and unknown:
        raise ConfigError("--cascade and --unknown — its linear model knows no distances — leave one of them out")
    if unknown and config.long in ("windows", "auto"):
        raise ConfigError(f"--unknown and --long {config.long} — it knows one vector of a text — leave one of them out")
    if config.balance != "none" and data.task.BALANCE:
        raise ConfigError(f"--balance {config.balance} — {data.task.BALANCE} — leave it out")
    pooling_for(data.task.head(data.settings), "cls", config.pooling)
    if config.long != TrainConfig().long and data.task.LONG:
        raise ConfigError(f"--long {config.long} — {data.task.LONG} — leave it out")
    if unlabelled and not adapt and cascade is None:
        raise ConfigError("texts without labels are for --adapt and --cascade — add one of the two, or both")
