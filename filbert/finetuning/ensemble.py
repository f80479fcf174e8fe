"""`fit --ensemble K`: K trainings that differ in their seed alone, averaged into one model.

    same base and head → K orders of the texts and dropouts → K weights → their mean, where it validates better

Averaged are the weights, which costs nothing when the model is used ("model soups", Wortsman et al. 2022); that works
where all trainings began with the same weights, those of the new head included. Averaging the outputs of K models
costs K times as much; how well it would validate is told beside it. The average of all and the greedy one, which takes
a member only where it helps, are compared with the best single training on the validation texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from filbert.finetuning.job import TaskJob
from filbert.finetuning.prepare import Run
from filbert.finetuning.train import job_with, train
from filbert.finetuning.trainings import Training, keep, recalled
from filbert.progress import Watcher
from filbert.tasks.task import Goal, Json, Outputs
from filbert.training.log import LOG

Weights = Mapping[str, Tensor]


def averaged(
    run: Run, out: Path, count: int, first: Training | None, watch: Watcher
) -> tuple[Training, dict[str, Tensor], Json]:
    """Train `count` times → the best training, the weights to use, and what was compared, for the report.

    `first` is a training that is there already. An interrupted run goes on with the training that it was at.
    """
    members = [first or _member(run, out, 0, count, watch)]
    members += [_member(run, out, k, count, watch) for k in range(1, count)]
    job = job_with(run, members[0].weights(), members[0].plan)
    singles = [_measured(job, each.weights()) for each in members]
    order = sorted(range(count), key=lambda k: singles[k][0], reverse=True)
    best = order[0]
    soups = {"the average of all": (list(range(count)), mean(each.weights() for each in members))}
    chosen, weights = greedy(job, ((k, members[k].weights()) for k in order), singles[best][0])
    if 1 < len(chosen) < count:
        soups["the greedy average"] = (sorted(chosen), weights)
    measured = {name: _measured(job, each) for name, (_, each) in soups.items()}
    name = max(measured, key=lambda name: measured[name][0])
    kept = name if measured[name][0] > singles[best][0] else ""
    outputs = job.task.averaged([_outputs(job, each.weights()) for each in members], job.settings)
    together = job.task.validate(outputs, job.examples, job.settings, job.windows)[1]
    shutil.copyfile(members[best].folder / LOG, out / LOG)
    facts: Json = {
        "members": [
            {"seed": each.facts["seed"], "figures": figures, "seconds": each.trained.seconds}
            for each, (_, figures) in zip(members, singles, strict=True)
        ],
        "averages": [
            {"name": name, "seeds": [members[k].facts["seed"] for k in which], "figures": measured[name][1]}
            for name, (which, _) in soups.items()
        ],
        "outputs": together,
        "kept": kept or f"seed {members[best].facts['seed']}",
        "helped": bool(kept),
    }
    by = next(iter(singles[best][1]))
    best_of = f"{count} trainings validate at best with {by.replace('_', ' ')} {singles[best][1][by]:.4f}"
    watch.say(f"{best_of}, {name} of their weights with {measured[name][1][by]:.4f}: {facts['kept']} is kept")
    return members[best], dict(soups[kept][1] if kept else members[best].weights()), facts


def _member(run: Run, out: Path, number: int, count: int, watch: Watcher) -> Training:
    """Train with a seed of its own from the weights that all begin with, or take what an interrupted run trained."""
    folder, seed = out / "checkpoints" / f"member-{number + 1}", run.config.seed + number
    minutes = run.config.minutes
    config = replace(run.config, seed=seed, minutes=None if minutes is None else minutes / count)
    identity = {**run.identity, **asdict(config), "member": number}
    watch.say(f"training {number + 1} of {count}: seed {seed}")
    known = recalled(folder, identity)
    if known is not None:
        return known
    one = replace(run, config=config, identity=identity)
    result = train(one, run.network(), folder, track=(), watch=watch)
    weights, done = result.job.model.state_dict(), (result.trained, result.plan)
    return keep(folder, identity, done, weights, seed=seed, balance=result.balance)


def mean(weights: Iterable[Weights]) -> dict[str, Tensor]:
    """Return the mean of weights, which are read one after another.

    >>> mean([{"bias": torch.tensor([1.0])}, {"bias": torch.tensor([3.0])}])["bias"]
    tensor([2.])
    """
    found: dict[str, Tensor] = {}
    for n, each in enumerate(weights):
        found = {name: torch.lerp(found[name], x, 1 / (n + 1)) if found else x.clone() for name, x in each.items()}
    return found


def greedy(job: TaskJob, members: Iterable[tuple[int, Weights]], best: Goal) -> tuple[list[int], dict[str, Tensor]]:
    """Take members, the best first, into an average where it then validates better → which were taken, and their mean.

    `best` is how the first one validates.
    """
    taken, weights = list[int](), dict[str, Tensor]()
    for number, each in members:
        if not taken:
            taken, weights = [number], dict(each)
            continue
        tried = {name: torch.lerp(x, each[name], 1 / (len(taken) + 1)) for name, x in weights.items()}
        score = _measured(job, tried)[0]
        if score > best:
            taken, weights, best = [*taken, number], tried, score
    return taken, weights


def _outputs(job: TaskJob, weights: Weights) -> Outputs:
    job.model.load_state_dict(dict(weights))
    return job.outputs()


def _measured(job: TaskJob, weights: Weights) -> tuple[Goal, dict[str, float]]:
    job.model.load_state_dict(dict(weights))
    job.model.eval()
    return job.validate()
