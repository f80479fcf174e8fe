"""The training loop, the same for every task: packed steps, schedule, validation, best weights, checkpoints.

    plan → step × n → validate now and then → keep the best → stop at the end, at the deadline, or early

A `Feed` gives the loop the batches of a step; a `Job` the model, the summed losses of a batch, and a validation
(job.py). Weights are held in fp32 (`MasterWeights`), and in bf16 by the model where the processor multiplies bf16
natively. With several processes each works on its share of every batch, and the main one writes.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from filbert.config import RunConfig
from filbert.errors import Stopped, TrainingError
from filbert.files import write_tensors
from filbert.model.device import working_dtype
from filbert.model.run import tensors_of
from filbert.progress import Silent, Watcher
from filbert.records import PackedBatch
from filbert.training import checkpoints
from filbert.training.distributed import ProcessGroup
from filbert.training.job import Feed, Job, Trained
from filbert.training.log import LOG, training_log, truncate_log
from filbert.training.optimizer import MasterWeights, Optimizer, parameter_groups, schedule
from filbert.training.plan import RESERVE, Plan
from filbert.training.speed import raise_unless_smaller_helps
from filbert.training.tracking import Tracker, open_trackers

CHECKPOINT_SECONDS = 120.0  # a kill loses at most this much work
FEWEST_VALIDATIONS = 4  # of a run, evenly spread; one an epoch where there are more epochs
MOST_VALIDATIONS = 20


@dataclass
class Loop:
    """A run in progress; `run` trains to its end. Its state is one object because a checkpoint holds all of it."""

    job: Job
    feed: Feed
    config: RunConfig
    plan: Plan
    layers: int
    rate: float
    folder: Path
    identity: dict[str, Any]
    """Data and settings; a checkpoint of a run with others is refused."""
    device: str = "cpu"
    group: ProcessGroup = field(default_factory=ProcessGroup)
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of an embedding table → the rows of it that the run uses, where it does not use all."""
    head_rates: Mapping[str, float] = field(default_factory=dict)
    """Name of a module that is new → its own peak learning rate."""
    head_warmup: float = 0.0
    """Share of the run, at its begin, in which only these modules are trained (Kumar et al. 2022)."""
    validations: int = FEWEST_VALIDATIONS
    watch: Watcher = field(default_factory=Silent)
    track: Sequence[str] = ()
    """What else gets the training log: tensorboard, mlflow."""
    after: Callable[[float, Trained], None] = lambda progress, result: None
    """Called after each validation with the share of the run that is done; what it raises ends the run."""
    result: Trained = field(default_factory=Trained)

    def __post_init__(self) -> None:
        self.dtype = working_dtype(self.config.precision, self.device)
        self.job.model.to(self.device)
        self.masters = MasterWeights(self.job.model, self.dtype, keep=self.job.keep)
        groups = parameter_groups(self.masters, self.layers, self.config, self.rate, self.head_rates)
        self.optimizer = Optimizer(self.masters, groups, self.rate, self.rows)
        self.steps = max(1, math.ceil(self.feed.steps * self.plan.epochs))
        self.planned_tokens = self.plan.epochs * self.feed.tokens
        self.validations = max(self.validations, min(MOST_VALIDATIONS, math.ceil(self.plan.epochs)))
        self.validation_seconds = 0.0  # of the last one
        self.stop_signal: int | None = None  # that this process got
        self.stopping = 0  # the signal for which all processes save and stop after this step

    def _trackers(self) -> list[Tracker]:
        return open_trackers(self.track, self.folder.parent, self.folder, self.config)

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end of the schedule, the deadline or an early stop; the model then holds the best weights."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._resume():
            if self.group.is_main:
                (self.folder.parent / LOG).unlink(missing_ok=True)
            torch.manual_seed(self.config.seed + 1_000_003 * self.group.rank)
        began, before = time.monotonic(), self.result.seconds
        log_file, enabled = self.folder.parent / LOG, self.group.is_main
        with training_log(log_file, self._trackers, enabled=enabled) as log, self._signals():
            saved = time.monotonic()
            while not self._finished():
                due = math.floor(self._progress() * self.validations) + 1
                losses, norm = self.step()
                self.result.seconds = before + time.monotonic() - began
                overdue = self._synchronize(time.monotonic() - saved > CHECKPOINT_SECONDS)
                log(self._figures(losses, norm))
                if self._progress() * self.validations >= due or self._finished():
                    self._validate(log)
                    self.validation_seconds = before + time.monotonic() - began - self.result.seconds
                    self.result.seconds += self.validation_seconds
                    self._synchronize(False)
                if overdue or self.stopping:
                    self.save()
                    saved = time.monotonic()
                if self.stopping:
                    raise Stopped(self.stopping)
            self.save()  # what comes after training may take longer than training
            if self.result.best_step != self.result.steps and self.group.is_main:
                self.masters.load(load_file(str(self._best)))
        self.masters.to_fp32()
        return self.result

    def _synchronize(self, overdue: bool) -> bool:
        """Give all processes the main one's clock, and stop all where one got a signal; return whether to save."""
        if self.group.size == 1:
            self.stopping = self.stop_signal or 0
            return overdue
        mine = [self.result.seconds, self.validation_seconds, float(overdue)] if self.group.is_main else [0.0] * 3
        seconds, validation_seconds, save, stop = self.group.all_sum([*mine, float(bool(self.stop_signal))])
        self.result.seconds, self.validation_seconds = seconds, validation_seconds
        if stop:
            self.stopping = self.stop_signal or int(signal.SIGTERM)
        return bool(save)

    def _progress(self) -> float:
        done = self.result.steps / self.steps
        if self.plan.seconds is not None:
            usable = self.plan.seconds * (1 - RESERVE) - self.validation_seconds
            done = max(done, self.result.seconds / max(usable, 1e-9))
        return min(1.0, done)

    def _finished(self) -> bool:
        if self.result.steps >= self.steps:
            return True
        if self.result.stale >= self.config.patience:
            self.result.stopped = (
                f"early: no better validation {self.result.best_by} {self.result.stale} times in a row"
            )
            return True
        if self._progress() >= 1:
            self.result.stopped = f"at the deadline of {self.config.minutes:g} minutes"
        return self._progress() >= 1

    def step(self) -> tuple[list[float], float]:
        """Take one optimizer step; return the mean of each loss, and the norm of the gradient before clipping."""
        progress = self._progress()
        batches = self.feed.batches(self.result.steps, progress)
        counted = [self.job.units(batch) for batch in batches]
        mine = [float(sum(column)) for column in zip(*counted, strict=True)] or [0.0] * len(self.job.losses)
        *units, tokens = self.group.all_sum([*mine, float(sum(len(batch.ids_T) for batch in batches))])
        # The optimizer divides the whole gradient by the units of the first loss; the other losses are scaled for that.
        shares = torch.tensor([units[0] / max(count, 1) for count in units], device=self.device)
        self.job.model.train()
        for name, weight in self.masters.working.items():
            weight.requires_grad_(progress >= self.head_warmup or name.split(".")[0] in self.head_rates)
        self.result.head_only_steps += progress < self.head_warmup
        while (sums := self._backward(batches, shares)) is None:
            self.feed.budget //= 2
            self.watch.say(f"out of memory: batches of {self.feed.budget:,} tokens from now on, the same step")
            batches = self.feed.batches(self.result.steps, progress)
        self.result.tokens += int(tokens)
        if self.group.size > 1:
            self.group.all_reduce([*self.masters.gradients(), sums])
        means = [float(value) / max(count, 1) for value, count in zip(sums.tolist(), units, strict=True)]
        norm = self.optimizer.norm() / max(units[0], 1)
        if not (math.isfinite(sum(means)) and math.isfinite(norm)):
            rows = ", ".join(str(i) for i in self.feed.rows(self.result.steps, progress)[:8])
            raise TrainingError(
                f"step {self.result.steps + 1}: loss {sum(means)}, gradient norm {norm} on training rows {rows} … — "
                f"the update was not applied; try --learning-rate {self.rate / 10:.1g}, or use --precision fp32"
            )
        progress = self._progress() + 0.5 / self.steps
        clipped = min(1.0, self.config.clip / (norm + 1e-6))
        shape = self.config.warmup, self.config.decay
        factor = schedule(max(0.0, progress - self.head_warmup) / (1 - self.head_warmup), *shape)
        self.optimizer.step(factor, clipped / max(units[0], 1), schedule(progress, *shape))
        self.result.steps += 1
        self.result.epochs = self.result.steps / self.feed.steps
        return means, norm

    def _backward(self, batches: Sequence[PackedBatch], shares: Tensor) -> Tensor | None:
        """Return the summed losses and leave their gradients; None where memory ran out and smaller batches may fit."""
        self.masters.zero_grad()
        sums = torch.zeros_like(shares)
        for batch in batches:
            try:
                losses = self.job.loss(batch, tensors_of(batch, self.device)).reshape(-1)
                (losses[0] if len(shares) == 1 else (losses * shares).sum()).backward()  # type: ignore[no-untyped-call]
            except (MemoryError, RuntimeError) as error:
                raise_unless_smaller_helps(error, batch, f"step {self.result.steps + 1}")
                return None
            if len(batches) > 1 or self.group.size > 1:
                self.masters.collect_gradients()
            sums += losses.detach()
        return sums

    def _figures(self, losses: Sequence[float], norm: float) -> dict[str, float]:
        speed = self.result.tokens_per_second
        left = max(0.0, self.planned_tokens - self.result.tokens) / max(speed, 1e-9)
        if self.plan.seconds is not None:
            left = min(left, max(0.0, self.plan.seconds - self.result.seconds))
        loss = sum(losses)
        self.watch.progress("training", self._progress(), 1.0, tokens_per_second=speed, loss=loss, seconds_left=left)
        parts = zip(self.job.losses, losses, strict=True) if len(losses) > 1 else ()
        return {
            "step": self.result.steps,
            "epoch": round(self.result.epochs, 4),
            "loss": round(loss, 5),
            **{name: round(value, 5) for name, value in parts},
            "gradient_norm": round(norm, 4),
            "learning_rate": self.optimizer.rate,
            "tokens_per_second": round(speed, 1),
            "seconds": round(self.result.seconds, 2),
        }

    def _validate(self, log: Callable[[dict[str, Any]], None]) -> None:
        self.job.model.eval()
        with torch.inference_mode():
            score, figures = self.job.validate()
        if figures:
            log({"step": self.result.steps, "epoch": round(self.result.epochs, 4), "validation": figures})
        shown = " · ".join(f"{name} {value:.4f}" for name, value in figures.items())
        better = score > self.result.best_score or not self.result.best_score
        if better:
            self.result.best_score, self.result.best_step, self.result.stale = score, self.result.steps, 0
            self.result.best_figures = dict(figures)
        else:
            self.result.stale += 1
        best = f" — best {self.result.best_by} so far" if better else ""
        if figures:
            self.watch.say(f"validation after {self.result.epochs:.2f} epochs: {shown}{best}")
        if better and self.group.is_main:
            write_tensors(self._best, self.masters.weights)
            checkpoints.delete_unused_best(self.folder, self._best)
        self.after(self._progress(), self.result)

    @property
    def _best(self) -> Path:
        return checkpoints.best_file(self.folder, self.result.best_step)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint that `run` goes on from."""
        tensors = {f"weight.{name}": weight for name, weight in self.masters.weights.items()}
        tensors |= self.optimizer.state(self.masters.weights)
        states = self.group.all_gather(torch.get_rng_state())
        tensors |= {f"random.{rank}": state for rank, state in enumerate(states)}
        if self.device.startswith("cuda"):
            states = self.group.all_gather(torch.cuda.get_rng_state(self.device))
            tensors |= {f"random_cuda.{rank}": state for rank, state in enumerate(states)}
        if self.group.is_main:
            state = {"identity": self.identity, "result": asdict(self.result), "plan": asdict(self.plan)}
            checkpoints.save_checkpoint(self.folder, self.result.steps, tensors, state, self._best)

    def _resume(self) -> bool:
        """Go on from the newest undamaged checkpoint; return whether there was one."""
        found = checkpoints.newest_checkpoint(self.folder)
        self.group.all_sum([0.0])  # a barrier: nothing is deleted before every process has looked
        if self.group.is_main:
            for damaged in checkpoints.damaged_checkpoints(self.folder, found[0] if found else None):
                self.watch.say(
                    f"warning: {damaged.stem} is damaged (its SHA-256 differs or a file is missing): left out"
                )
                checkpoints.delete_checkpoint(damaged)
        if found is None:
            return False
        path, state = found
        checkpoints.refuse_changes(state["identity"], self.identity, self.folder)
        tensors = load_file(str(path))
        self.masters.load({name: tensors[f"weight.{name}"] for name in self.masters.weights})
        self.optimizer.load(self.masters.weights, tensors)
        torch.set_rng_state(tensors[f"random.{self.group.rank}"])
        if self.device.startswith("cuda"):
            torch.cuda.set_rng_state(tensors[f"random_cuda.{self.group.rank}"], self.device)
        result = {**state["result"], "best_score": tuple(state["result"]["best_score"])}
        self.result = Trained(**result)
        if self.group.is_main:
            truncate_log(self.folder.parent / LOG, self.result.steps)
        self.watch.say(f"resumed at step {self.result.steps:,} of {self.steps:,} from {path.name}")
        return True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """While it runs, Ctrl-C and SIGTERM stop the run after the step in progress; a second one stops it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, _frame: object) -> None:
            if self.stop_signal:
                raise Stopped(number)
            self.stop_signal = number
            self.watch.say("stopping after this step; a second Ctrl-C stops at once")

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
