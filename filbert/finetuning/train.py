"""Train a prepared run: plan, loop, and, where the classes are to be balanced, the way that validates best."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from filbert.errors import ConfigError, ModelError
from filbert.files import read_sealed, sha256, write_sealed, write_tensors
from filbert.finetuning.job import TaskJob, TextFeed
from filbert.finetuning.prepare import Run, cuts, warn_cut
from filbert.model.network import Network
from filbert.progress import Watcher
from filbert.records import Features, FloatArray
from filbert.tasks.task import Calibrated
from filbert.training.checkpoints import ANEW, newest_checkpoint, refuse_changes
from filbert.training.job import Trained
from filbert.training.log import LOG
from filbert.training.loop import Loop
from filbert.training.plan import Plan, plan
from filbert.training.speed import measure_speed

TRIED = ("none", "weights", "sampling")  # by auto
UNEVEN = 2  # times as many texts of the largest class as of the smallest: below, auto has nothing to try
DONE, WEIGHTS = "done.json", "done.safetensors"  # of a way that was tried to its end


@dataclass(frozen=True)
class Result:
    """A trained run."""

    trained: Trained
    job: TaskJob
    plan: Plan
    balance: dict[str, Any]
    """What was done about uneven classes, for the report."""


def train(run: Run, model: Network, out: Path, *, track: Sequence[str], watch: Watcher) -> Result:
    """Train the network; with `--balance auto` once in each way, of which the best by validation is kept.

    Raises ConfigError where the task cannot be balanced, TrainingError as the loop does.
    """
    how, task = run.config.balance, run.data.task
    if how != "none" and task.BALANCE:
        raise ConfigError(f"--balance {how} — {task.BALANCE} — leave it out")
    work = out / "checkpoints"
    if how == "auto" and (even := _even(run)):
        watch.say(f"balance none: {even}")
        how = "none"
    if how != "auto":
        trained, job, used = _train(run, model, work, how, track=track, watch=watch)
        return Result(trained, job, used, {"balance": how})
    return _best_balance(run, model, out, watch)


def _even(run: Run) -> str:
    """Say so where the classes are even enough that nothing needs to be balanced, else nothing."""
    counts = Counter(run.data.task.strata(run.data.splits.train)).values()
    if max(counts) >= UNEVEN * min(counts):
        return ""
    return f"the classes are even, {min(counts):,} to {max(counts):,} training texts each"


def _best_balance(run: Run, model: Network, out: Path, watch: Watcher) -> Result:
    """Train in each way, or take what was trained before an interruption, and keep the best."""
    settings = run.data.settings
    minutes = run.config.minutes
    run.config = replace(run.config, minutes=None if minutes is None else minutes / len(TRIED))
    facts: dict[str, Any] = {}
    results: dict[str, tuple[Trained, Plan]] = {}
    for how in TRIED:
        folder = out / "checkpoints" / f"balance-{how}"
        done, identity = folder / DONE, {**run.identity, "balance": how}
        watch.say(f"training with balance {how}")
        if done.is_file():
            saved = read_sealed(done, ANEW)
            refuse_changes(saved["identity"], identity, folder.parent)
            if sha256(folder / WEIGHTS) != saved["weights"]:
                raise ModelError(f"{folder / WEIGHTS} — is damaged: its SHA-256 is another one — {ANEW}")
            score = tuple(saved["trained"]["best_score"])
            trained, used = Trained(**{**saved["trained"], "best_score": score}), Plan(**saved["plan"])
        else:
            trained, _, used = _train(run, model, folder / "steps", how, track=(), watch=watch)
            write_tensors(folder / WEIGHTS, {name: x.contiguous() for name, x in model.state_dict().items()})
            weights = sha256(folder / WEIGHTS)
            told = {"identity": identity, "trained": asdict(trained), "plan": asdict(used), "weights": weights}
            write_sealed(done, told)
            shutil.rmtree(folder / "steps")
        results[how] = trained, used
        facts[how] = {"score": _score(trained)[0], "seconds": trained.seconds}
        run.data = replace(run.data, settings=settings)
        if used.max_length != run.config.max_length:
            run.cut(run.config.max_length)  # the next way has a plan of its own
        model = run.network()
    best = max(TRIED, key=lambda how: _score(results[how][0]))
    trained, used = results[best]
    folder = out / "checkpoints" / f"balance-{best}"
    model.load_state_dict(load_file(str(folder / WEIGHTS)))
    shutil.copyfile(folder / LOG, out / LOG)
    if used.max_length != run.config.max_length:
        run.cut(used.max_length)
    job = job_of(run, model.to(run.device))
    shown = ", ".join(f"{how} {facts[how]['score']:.4f}" for how in TRIED)
    watch.say(f"balance {best} validates best: {shown}")
    return Result(trained, job, used, {"balance": best, "tried": facts})


def _score(trained: Trained) -> tuple[float, ...]:
    """Return what the ways are compared by: macro-F1 where the task has it, then what validation maximises."""
    first = trained.best_figures.get("macro_f1")
    return trained.best_score if first is None else (first, *trained.best_score)


def job_of(run: Run, model: Network) -> TaskJob:
    """Return what the training loop needs to know of a run.

    >>> job_of(run, model).outputs()  # doctest: +SKIP
    """
    validation = run.data.splits.validation, run.features["validation"]
    return TaskJob(run.data.task, run.data.settings, model, validation, run.device)


def _train(
    run: Run, model: Network, work: Path, how: str, *, track: Sequence[str], watch: Watcher
) -> tuple[Trained, TaskJob, Plan]:
    """Train once, in one way of balancing."""
    config, layers, task = run.config, run.encoder_config.layers, run.data.task
    chances_N: FloatArray | None = None
    if how != "none":
        settings, chances_N = task.balanced(run.data.splits.train, run.data.settings, how)
        run.data = replace(run.data, settings=settings)

    def feed(early: int | None) -> TextFeed:
        short = flat(run.windows("train", early)) if early else None
        rows = flat(run.features["train"])
        return TextFeed(rows, short, config.batch_size, config.tokens_per_batch, config.seed, chances_N)

    def measure() -> float:
        watch.say("measuring the speed of this machine for a few seconds")
        texts = feed(None)
        return measure_speed(job, texts, config, run.device, layers=layers, rows=_rows_of(texts))

    job = job_of(run, model)
    interrupted = newest_checkpoint(work)
    known = Plan(**interrupted[1]["plan"]) if interrupted else None
    used = known or plan(config, run.lengths, model.head.outputs, measure, whole=task.WINDOWS)
    if used.reason:
        watch.say(used.reason)
    if used.max_length != config.max_length:
        run.cut(used.max_length)
        job = job_of(run, model)
    warn_cut(cuts(run.features["train"]), used.max_length, watch, task)
    texts = feed(used.early_length)
    loop = Loop(
        job,
        texts,
        config,
        used,
        layers=layers,
        rate=run.rate,
        folder=work,
        identity={**run.identity, "balance": how},
        device=run.device,
        rows=_rows_of(texts),
        watch=watch,
        track=track,
    )
    return loop.run(), job, used


def calibrated(job: TaskJob) -> Calibrated:
    """Fit what the task fits on the validation texts, and fold what can be folded into the last layer.

    Folded, the outputs are right wherever the weights go, `transformers` included.

    >>> calibrated(job).facts["temperature"]  # doctest: +SKIP
    1.31
    """
    found = job.task.calibrate(job.outputs(), job.examples, job.settings, job.windows)
    with torch.no_grad():
        job.model.last.weight.div_(found.fold.divisor)
        job.model.last.bias.div_(found.fold.divisor)
        if found.fold.shift:
            job.model.last.bias.add_(found.fold.shift)
    return found


def flat(windows: Sequence[Sequence[Features]]) -> list[Features]:
    """Return the windows of all texts one after another: each is trained on as a text."""
    return [window for each in windows for window in each]


def _rows_of(texts: TextFeed) -> dict[str, Tensor]:
    """Return which rows of the embedding table a run can change."""
    return {"encoder.embeddings.token.weight": torch.from_numpy(texts.ids)}
