"""Train a prepared run: plan, loop, and, where the classes are to be balanced, the way that validates best."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filbert.config import TrainConfig
from filbert.errors import ConfigError
from filbert.finetuning.job import TaskJob, TextFeed, WindowFeed, window_tokens
from filbert.finetuning.prepare import Run, cuts, warn_cut
from filbert.finetuning.trainings import Training, keep, recalled
from filbert.model.network import Network
from filbert.progress import Watcher
from filbert.records import Features, FloatArray
from filbert.tasks.long_texts import HEAD
from filbert.tasks.task import Calibrated, Json, Outputs
from filbert.training.checkpoints import newest_checkpoint
from filbert.training.job import Trained
from filbert.training.log import LOG
from filbert.training.loop import Loop
from filbert.training.optimizer import head_rate
from filbert.training.plan import Plan, plan
from filbert.training.speed import measure_speed

TRIED = ("none", "weights", "sampling")  # by auto
UNEVEN = 2  # times as many texts of the largest class as of the smallest: below, auto has nothing to try

After = Callable[[float, Trained], None]


@dataclass(frozen=True)
class Result:
    """A trained run."""

    trained: Trained
    job: TaskJob
    plan: Plan
    balance: dict[str, Any]
    """What was done about uneven classes, for the report."""
    config: TrainConfig | None = None
    """The options that it was trained with, where a search chose them."""
    facts: Json = field(default_factory=dict)
    """Of a search and of an ensemble, for the report."""


def train(
    run: Run, model: Network, out: Path, *, track: Sequence[str], watch: Watcher, after: After = lambda *_: None
) -> Result:
    """Train the network; with `--balance auto` once in each way, of which the best by validation is kept.

    `after` is called after each validation with the share of the run that is done. Raises ConfigError where the task
    cannot be balanced, TrainingError as the loop does.
    """
    how, task = run.config.balance, run.data.task
    if how != "none" and task.BALANCE:
        raise ConfigError(f"--balance {how} — {task.BALANCE} — leave it out")
    work = out / "checkpoints"
    if how == "auto" and (reason := even(run)):
        watch.say(f"balance none: {reason}")
        how = "none"
    if how != "auto":
        trained, job, used = _train(run, model, work, how, track=track, watch=watch, after=after)
        return Result(trained, job, used, {"balance": how})
    return _best_balance(run, out, watch, after)


def even(run: Run) -> str:
    """Say so where the classes are even enough that nothing needs to be balanced, else nothing.

    >>> even(run)  # doctest: +SKIP
    'the classes are even, 27 to 27 training texts each'
    """
    counts = Counter(run.data.task.strata(run.data.splits.train)).values()
    if max(counts) >= UNEVEN * min(counts):
        return ""
    return f"the classes are even, {min(counts):,} to {max(counts):,} training texts each"


def _best_balance(run: Run, out: Path, watch: Watcher, after: After) -> Result:
    """Train in each way, or take what was trained before an interruption, and keep the best."""
    minutes = run.config.minutes
    run.config = replace(run.config, minutes=None if minutes is None else minutes / len(TRIED))
    tried: dict[str, Training] = {}
    for how in TRIED:
        folder = out / "checkpoints" / f"balance-{how}"
        identity = {**run.identity, "balance": how}
        watch.say(f"training with balance {how}")
        known = recalled(folder, identity)
        if known is None:
            one, model = replace(run), run.network()  # a plan and a way of its own
            trained, _, used = _train(one, model, folder / "checkpoints", how, track=(), watch=watch, after=after)
            known = keep(folder, identity, (trained, used), model.state_dict())
        tried[how] = known
    best = max(TRIED, key=lambda how: score_of(tried[how].trained))
    facts = {how: {"score": score_of(each.trained)[0], "seconds": each.trained.seconds} for how, each in tried.items()}
    shutil.copyfile(tried[best].folder / LOG, out / LOG)
    shown = ", ".join(f"{how} {facts[how]['score']:.4f}" for how in TRIED)
    watch.say(f"balance {best} validates best: {shown}")
    job = job_with(run, tried[best].weights(), tried[best].plan)
    return Result(tried[best].trained, job, tried[best].plan, {"balance": best, "tried": facts})


def job_with(run: Run, weights: Mapping[str, Tensor], plan: Plan) -> TaskJob:
    """Return the job of a run with these weights, its texts as long as the plan of their training had them.

    >>> job_with(run, training.weights(), training.plan).outputs()  # doctest: +SKIP
    """
    model = run.network()
    model.load_state_dict(dict(weights))
    if plan.max_length != run.config.max_length:
        run.cut(plan.max_length)
    return job_of(run, model.to(run.device))


def score_of(trained: Trained) -> tuple[float, ...]:
    """Return what ways of balancing are compared by: macro-F1 where the task has it, then what validation maximises.

    >>> score_of(Trained(best_score=(-0.5,), best_figures={"macro_f1": 0.8}))
    (0.8, -0.5)
    """
    first = trained.best_figures.get("macro_f1")
    return trained.best_score if first is None else (first, *trained.best_score)


def job_of(run: Run, model: Network) -> TaskJob:
    """Return what the training loop needs to know of a run.

    >>> job_of(run, model).outputs()  # doctest: +SKIP
    """
    validation = run.data.splits.validation, run.features["validation"]
    return TaskJob(run.data.task, run.data.settings, model, validation, run.device, soft=run.data.soft)


def _train(
    run: Run, model: Network, work: Path, how: str, *, track: Sequence[str], watch: Watcher, after: After
) -> tuple[Trained, TaskJob, Plan]:
    """Train once, in one way of balancing."""
    config, layers, task = run.config, run.encoder_config.layers, run.data.task
    chances_N: FloatArray | None = None
    if how != "none":
        settings, chances_N = task.balanced(run.data.splits.train, run.data.settings, how)
        run.data = replace(run.data, settings=settings)

    def feed(early: int | None) -> TextFeed:
        short, texts = run.short(early) if early else None, run.features["train"]
        how = config.batch_size, config.tokens_per_batch, config.seed, chances_N
        if run.averaged:
            return WindowFeed([each[0] for each in texts], short, *how, texts=texts)
        return TextFeed(flat(texts), short, *how)

    def measure() -> float:
        watch.say("measuring the speed of this machine for a few seconds")
        texts = feed(None)
        return measure_speed(job, texts, config, run.device, layers=layers, rows=_rows_of(texts))

    job = job_of(run, model)
    interrupted = newest_checkpoint(work)
    known = Plan(**interrupted[1]["plan"]) if interrupted else None
    lengths = window_tokens(run.features["train"]) if run.averaged else run.lengths
    whole = {"whole": task.WINDOWS or run.averaged, "shorter": not task.WINDOWS}
    used = known or plan(config, lengths, model.head.outputs, measure, **whole)
    if used.reason:
        watch.say(used.reason)
    if used.max_length != config.max_length:
        run.cut(used.max_length)
        job = job_of(run, model)
    found = cuts(run.features["train"], averaged=run.averaged)
    warn_cut(found, used.max_length, watch, task, head_only=getattr(run.data.settings, "long", "") == HEAD)
    texts = feed(used.early_length)
    loop = Loop(
        job,
        texts,
        config,
        used,
        layers=layers,
        rate=run.rate,
        head_rates=new_head_rates(run, model),
        folder=work,
        identity={**run.identity, "balance": how},
        device=run.device,
        rows=_rows_of(texts),
        watch=watch,
        track=track,
        after=after,
    )
    return loop.run(), job, used


def new_head_rates(run: Run, model: Network) -> dict[str, float]:
    """Return the learning rate of the head's parts, where there is one vector a text and the encoder is not new, too.

    A head at the encoder's rate is still small when a short run ends (docs/log.md, "Rare labels, few texts").

    >>> new_head_rates(run, model)  # doctest: +SKIP
    {'pooler': 0.001, 'last': 0.001}
    """
    rate = head_rate(run.rate, run.config.head_factor)
    if run.base.folder is None or not model.head.one_row or rate == run.rate:
        return {}
    return dict.fromkeys(model.head.names(), rate)


def calibrated(job: TaskJob, outputs: Outputs | None = None) -> Calibrated:
    """Fit what the task fits on the validation texts, and fold what can be folded into the last layer.

    `outputs` are those of the validation texts before that, where they are known.

    Folded, the outputs are right wherever the weights go, `transformers` included.

    >>> calibrated(job).facts["temperature"]  # doctest: +SKIP
    1.31
    """
    drawn, found_for = job.soft.drawn if job.soft else (), job.outputs() if outputs is None else outputs
    found = job.task.calibrate(found_for, drawn or job.examples, job.settings, job.windows)
    with torch.no_grad():
        job.model.last.weight.div_(found.fold.divisor)
        job.model.last.bias.div_(found.fold.divisor)
        if found.fold.shift:
            job.model.last.bias.add_(found.fold.shift)
    if job.unseen is not None:
        job.unseen = job.unseen / found.fold.divisor + found.fold.shift
    return found


def flat(windows: Sequence[Sequence[Features]]) -> list[Features]:
    """Return the windows of all texts one after another: each is trained on as a text."""
    return [window for each in windows for window in each]


def _rows_of(texts: TextFeed) -> dict[str, Tensor]:
    """Return which rows of the embedding table a run can change."""
    return {"encoder.embeddings.token.weight": torch.from_numpy(texts.ids)}
