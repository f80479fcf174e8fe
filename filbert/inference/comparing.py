"""Two models, or the runs of two recipes over seeds, on the same labelled texts: their figures, and the difference.

The difference is paired: only the texts on which the two differ say which is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filbert.errors import ConfigError, ModelError
from filbert.inference.engine import Engine
from filbert.metrics.paired import difference_of_runs, mcnemar
from filbert.owned import finished
from filbert.records import Example, Prediction
from filbert.tasks.task import Json

Done = Callable[[int], None]


@dataclass(frozen=True)
class Measured:
    """One run on the texts: its folder, its answers and figures."""

    folder: Path
    predictions: Sequence[Prediction]
    scores: Mapping[str, Any]


def runs_of(folder: Path, *, seeds: bool = False) -> list[Path]:
    """Return the runs that a path stands for: itself, the finished runs in it, or with `seeds` those beside it.

    `filbert fit --seeds 3 -o runs/a` leaves runs/a, runs/a-seed1 and runs/a-seed2. Raises ModelError for none.

    >>> runs_of(Path("runs/a"), seeds=True)  # doctest: +SKIP
    [PosixPath('runs/a'), PosixPath('runs/a-seed1'), PosixPath('runs/a-seed2')]
    """
    if finished(folder) or not folder.is_dir():
        more = sorted(folder.parent.glob(f"{folder.name}-seed*")) if seeds else []
        return [folder, *(each for each in more if finished(each))]
    inside = sorted(each for each in folder.iterdir() if each.is_dir() and finished(each))
    if not inside:
        raise ModelError(f"{folder} — holds no finished run — give a run folder, or a folder of runs")
    return inside


def refuse_different(engines: Sequence[Engine], folders: Sequence[Path]) -> None:
    """Raise ConfigError where models cannot be measured on the same texts: of other tasks, or with other labels.

    >>> refuse_different([], [])
    """
    for engine, folder in zip(engines[1:], folders[1:], strict=True):
        one, other = engines[0], engine
        if one.task is not other.task:
            wrong = f"{folders[0]} is for {one.task.NAME}, {folder} for {other.task.NAME}"
            raise ConfigError(f"{wrong} — give models of one task")
        labels = [getattr(each.settings, "labels", None) for each in (one, other)]
        if set(labels[0] or ()) != set(labels[1] or ()):
            raise ConfigError(f"{folders[0]} and {folder} have different labels — give models of the same ones")


def measured(engine: Engine, folder: Path, examples: Sequence[Example], done: Done) -> Measured:
    """Return a model's answers to the texts, and its figures.

    >>> measured(load("runs/a"), Path("runs/a"), examples, print).scores["n"]  # doctest: +SKIP
    872
    """
    predictions = engine.answer(engine.encode([example.inputs for example in examples]), done)
    return Measured(folder, predictions, engine.task.score(examples, predictions, engine.settings))


def difference(
    engine: Engine, examples: Sequence[Example], first: Sequence[Measured], second: Sequence[Measured]
) -> Json:
    """Return the difference in the main figure, first minus second, with its 95 % interval; over seeds where there are.

    Of one run each, "p" is McNemar's, where the task counts the texts that one model alone gets right.

    >>> difference(engine, examples, [one], [two])["value"]  # doctest: +SKIP
    0.012
    """
    task, settings = engine.task, engine.settings
    metric = task.page().metrics[0]
    pairs = [task.compare(examples, one.predictions, two.predictions, settings) for one in first for two in second]
    if len(pairs) > 1:
        values = [[float(run.scores[metric.key]["value"]) for run in runs] for runs in (first, second)]
        found = difference_of_runs(pairs, *values)
        if metric.percent:  # two runs leave all open, but no share differs by more than 1
            found = {**found, "low": max(-1.0, found["low"]), "high": min(1.0, found["high"])}
        return {**found, "runs": [len(first), len(second)]}
    found = dict(pairs[0])
    if "first_only" in found:
        found["p"] = mcnemar(found["first_only"], found["second_only"])
    return found
