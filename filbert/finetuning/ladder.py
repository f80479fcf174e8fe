"""The rungs of a run: each costs more time than the one before, and the one that validates best is handed over.

    linear model (blend.py) → frozen encoder → fine-tuning → adaptation and fine-tuning → blend (blend.py)

The encoder's rungs are climbed here. Adaptation is climbed to only with `--minutes`, where enough of them are left
after fine-tuning. What an interrupted run has finished is taken from its folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filbert.bases.find import Base
from filbert.config import TrainConfig
from filbert.finetuning.adapt import ADAPT_SHARE
from filbert.finetuning.choosing import trained
from filbert.finetuning.frozen import frozen, has_frozen
from filbert.finetuning.prepare import Run, prepare
from filbert.finetuning.train import Result, job_with, train
from filbert.model.network import Network
from filbert.progress import Watcher
from filbert.report import read_log
from filbert.tasks.task import Json
from filbert.training.job import Trained
from filbert.training.log import LOG

LEFT = 0.4  # share of --minutes that is left after fine-tuning, from which on adaptation is tried …
FEWEST_MINUTES = 1.0  # … and so many of them
FROZEN, TUNED, ADAPTED = "frozen encoder", "fine-tuning", "adaptation and fine-tuning"

Adapt = Callable[[TrainConfig], tuple[Base, Json]]


@dataclass(frozen=True)
class Rung:
    """A model that could be handed over."""

    name: str
    run: Run
    trained: Trained
    result: Callable[[], Result]
    """Opens its weights."""
    points: Sequence[tuple[float, Json]] = ()
    """Its validations: seconds from its start, and figures."""

    def json(self, begin: float) -> Json:
        """Return it for the report, with the seconds before it."""
        told = [{"seconds": round(begin + seconds, 1), "figures": figures} for seconds, figures in self.points]
        return {"name": self.name, "points": told}


def climb(
    run: Run, model: Network, out: Path, *, adapt: Adapt | None, track: Sequence[str], watch: Watcher
) -> tuple[Run, Result]:
    """Train as the options say → the run and the result of the rung that validates best.

    `adapt` adapts the base to the texts within so many minutes; None where that was done before, or cannot be. Raises
    as `trained` does.
    """
    config = run.config
    if config.few_shot or config.tune is not None or config.ensemble > 1 or not has_frozen(run):
        return run, _trained(run, model, out, track, watch)
    first = _frozen_rung(run, out, watch)
    spent = first.trained.seconds
    if config.minutes is not None:
        run.config = replace(config, minutes=max(config.minutes / 2, config.minutes - spent / 60))
    result = _trained(run, model, out, track, watch)
    rungs = [first, _rung(TUNED, run, result, out)]
    adaptation: Json | None = None
    left = 0.0 if config.minutes is None else config.minutes - (spent + result.trained.seconds) / 60
    if adapt is not None and left >= max(FEWEST_MINUTES, LEFT * (config.minutes or 0.0)):
        another, adaptation = _adapted_rung(run, adapt, left, out, watch)
        rungs += [another] if another else []
    best = max(rungs[::-1], key=lambda rung: rung.trained.best_score)
    if len(rungs) > 1:
        watch.say(f"{best.name} validates best: " + ", ".join(f"{each.name} {_first(each)}" for each in rungs))
    if best.name == ADAPTED:
        shutil.copyfile(out / "checkpoints" / "adapted" / LOG, out / LOG)
    elif adaptation is not None:
        adaptation["kept"] = False
    begins = [0.0, spent, spent + result.trained.seconds + (adaptation or {}).get("seconds", 0.0)]
    told = [each.json(begin) for each, begin in zip(rungs, begins, strict=False)]
    chosen = best.result()
    facts = {**chosen.facts, "ladder": {"rungs": told, "chosen": best.name}}
    return best.run, replace(chosen, facts=facts if adaptation is None else {**facts, "adaptation": adaptation})


def _trained(run: Run, model: Network, out: Path, track: Sequence[str], watch: Watcher) -> Result:
    """Train, and say so where it stopped early."""
    result = trained(run, model, out, track=track, watch=watch)
    if result.trained.stopped.startswith("early"):
        watch.say(f"training stopped {result.trained.stopped}")
    return result


def _first(rung: Rung) -> str:
    name, value = next(iter(rung.trained.best_figures.items()))
    return f"{name.replace('_', ' ')} {value:.4f}"


def _frozen_rung(run: Run, out: Path, watch: Watcher) -> Rung:
    found = frozen(run, out / "checkpoints" / "frozen", watch)
    told = replace(found.trained, stopped="before fine-tuning: the frozen encoder validates best")

    def result() -> Result:
        run.cut(found.plan.max_length)  # fine-tuning may have cut them shorter
        return Result(told, job_with(run, found.weights(), found.plan), found.plan, {"balance": "none"})

    return Rung(FROZEN, run, told, result, [(told.seconds, told.best_figures)])


def _rung(name: str, run: Run, result: Result, out: Path) -> Rung:
    """Return the rung of a training whose log is in `out`."""
    points, seconds = list[tuple[float, Json]](), 0.0
    for row in read_log(out / LOG):
        seconds = row.get("seconds", seconds)
        if "validation" in row:
            points.append((seconds, row["validation"]))
    return Rung(name, run, result.trained, lambda: result, points)


def _adapted_rung(run: Run, adapt: Adapt, minutes: float, out: Path, watch: Watcher) -> tuple[Rung | None, Json]:
    """Adapt the base and fine-tune it in the time that is left → the rung, None where the base got worse, and facts."""
    watch.say(f"{minutes:.1f} min are left: adapting the base to the texts")
    base, facts = adapt(replace(run.config, minutes=minutes))
    if not facts["kept"]:
        return None, facts
    config = replace(run.config, minutes=minutes * (1 - ADAPT_SHARE))
    again, model = prepare(run.data, base, config, run.device, watch)
    folder = out / "checkpoints" / "adapted"
    result = train(again, model, folder, track=(), watch=watch)
    return _rung(ADAPTED, again, result, folder), facts
