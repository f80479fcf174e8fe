"""One loop that trains any task: packed steps, schedule, validation, best weights, checkpoints.

    plan → step × n → validate now and then → keep the best → stop at the end, at the deadline, or early

The loop knows no task: a `Feed` gives it the batches of a step, a `Job` the summed losses of a batch and a validation.
Weights are held in fp32 by `Masters` and in bf16 by the model where the processor multiplies bf16 natively. Everything
a resumed run needs (weights, optimizer, random state, position) is written together under a checksum, as safetensors
and JSON. With a `Crew` of several processes each works on its share of every batch, and the first one writes.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from filbert.config import RunConfig
from filbert.errors import ConfigError, ModelError, TrainingError
from filbert.files import read_json, sha256, write_json, write_tensors
from filbert.model.device import working_dtype
from filbert.model.run import Tensors, tensors_of
from filbert.progress import Silent, Watcher
from filbert.records import IntArray, PackedBatch
from filbert.training.distributed import Crew
from filbert.training.log import LOG, cut, written
from filbert.training.optimizer import Masters, Optimizer, parameter_groups, schedule
from filbert.training.plan import PROBE_SECONDS, RESERVE, Plan

CHECKPOINT_SECONDS = 120.0  # a kill loses at most this much work
FEWEST_VALIDATIONS = 4  # of a run, evenly spread; one an epoch where there are more epochs
MOST_VALIDATIONS = 20


class Feed(Protocol):
    """Where the batches come from; a step's batches depend on its number alone, so that a resumed run sees the same."""

    budget: int
    """Tokens of a batch, at most; a longer text stands alone."""

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""

    @property
    def tokens(self) -> float:
        """Tokens in an epoch, over all processes."""

    def rows(self, step: int, progress: float) -> IntArray:
        """Return which texts a step trains on."""

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return this process's parts of a step; `progress` is the share of the run that is done."""


class Job(Protocol):
    """What the loop asks of a task: a model, the losses of a batch, and how good the model is now."""

    @property
    def losses(self) -> tuple[str, ...]:
        """Return the names of the losses; a step follows the sum of their means."""

    @property
    def keep(self) -> tuple[str, ...]:
        """Return the names of the modules that stay in fp32."""

    @property
    def model(self) -> nn.Module:
        """Return the model that is trained."""

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return each loss summed over what it is counted by."""

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return what each loss is counted by: texts, or masked tokens."""

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return a score to maximise (compared entry by entry) and the figures to write down."""


@dataclass
class Trained:
    """What a run did."""

    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    alone: int = 0  # steps in which new parts learned alone
    best_score: tuple[float, ...] = ()
    stale: int = 0  # validations since the best one
    stopped: str = "at the end of the schedule"

    @property
    def tokens_per_second(self) -> float:
        """Real tokens trained on per second, validation included in the time."""
        return self.tokens / max(self.seconds, 1e-9)

    def facts(self) -> dict[str, Any]:
        """Return what report.json says of the run."""
        return {
            "seconds": round(self.seconds, 1),
            "steps": self.steps,
            "epochs": round(self.epochs, 3),
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "best_step": self.best_step,
            "stopped": self.stopped,
        }


@dataclass
class Loop:
    """A run in progress; `run` drives it to its end. One object, because a checkpoint must hold all of it."""

    job: Job
    feed: Feed
    config: RunConfig
    plan: Plan
    layers: int
    rate: float
    folder: Path
    identity: dict[str, Any]  # what must be the same for a checkpoint to be taken up again
    device: str = "cpu"
    crew: Crew = field(default_factory=Crew)
    rows: Mapping[str, Tensor] = field(default_factory=dict)  # of a table of which a run uses only some
    rates: Mapping[str, float] = field(default_factory=dict)  # of parts that have a peak rate of their own
    ahead: float = 0.0  # share of the run in which these parts learn alone (Kumar et al. 2022)
    validations: int = FEWEST_VALIDATIONS
    watch: Watcher = field(default_factory=Silent)
    track: Path | None = None  # TensorBoard folder
    result: Trained = field(default_factory=Trained)

    def __post_init__(self) -> None:
        self.dtype = working_dtype(self.config.precision, self.device)
        self.job.model.to(self.device)
        self.masters = Masters(self.job.model, self.dtype, keep=self.job.keep)
        groups = parameter_groups(self.masters, self.layers, self.config, self.rate, self.rates)
        self.optimizer = Optimizer(self.masters, groups, self.rate, self.rows)
        self.steps = max(1, math.ceil(self.feed.steps * self.plan.epochs))
        self.planned_tokens = self.plan.epochs * self.feed.tokens
        self.validations = max(self.validations, min(MOST_VALIDATIONS, math.ceil(self.plan.epochs)))
        self.validation_seconds = 0.0  # of the last one
        self.stop_signal: int | None = None  # as this process heard it
        self.stopping = 0  # as all have agreed: they save and end together

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end of the schedule, the deadline or an early stop; the model then holds the best weights."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._resume():
            if self.crew.leads:
                (self.folder.parent / LOG).unlink(missing_ok=True)
            torch.manual_seed(self.config.seed + 1_000_003 * self.crew.rank)
        began, before = time.monotonic(), self.result.seconds
        with written(self.folder.parent / LOG, self.track, quiet=not self.crew.leads) as log, self._signals():
            saved = time.monotonic()
            while not self._finished():
                due = math.floor(self._progress() * self.validations) + 1
                losses, norm = self.step()
                self.result.seconds = before + time.monotonic() - began
                overdue = self._agree(time.monotonic() - saved > CHECKPOINT_SECONDS)
                log(self._figures(losses, norm))
                if self._progress() * self.validations >= due or self._finished():
                    self._validate(log)
                    self.validation_seconds = before + time.monotonic() - began - self.result.seconds
                    self.result.seconds += self.validation_seconds
                    self._agree(False)
                if overdue or self.stopping:
                    self.save()
                    saved = time.monotonic()
                if self.stopping:
                    raise Interrupted(self.stopping)
            self.save()  # what comes after training may take longer than training
            if self.result.best_step != self.result.steps and self.crew.leads:
                self.masters.load(load_file(str(self._best())))
        self.masters.to_fp32()
        return self.result

    def _agree(self, overdue: bool) -> bool:
        """Let all processes go by the first one's clock, and stop together where one was told to stop."""
        if self.crew.size == 1:
            self.stopping = self.stop_signal or 0
            return overdue
        mine = [self.result.seconds, self.validation_seconds, float(overdue)] if self.crew.leads else [0.0] * 3
        told = self.crew.total([*mine, float(bool(self.stop_signal))])
        self.result.seconds, self.validation_seconds = told[:2]
        if told[3]:
            self.stopping = self.stop_signal or int(signal.SIGTERM)
        return bool(told[2])

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
            self.result.stopped = f"early: no better validation {self.result.stale} times"
            return True
        if self._progress() >= 1:
            self.result.stopped = f"at the deadline of {self.config.minutes:g} minutes"
        return self._progress() >= 1

    def step(self) -> tuple[list[float], float]:
        """One optimizer step: the mean of each loss, and the norm of the gradient before it was clipped."""
        progress = self._progress()
        batches = self.feed.batches(self.result.steps, progress)
        counted = [self.job.units(batch) for batch in batches]
        mine = [float(sum(column)) for column in zip(*counted, strict=True)] or [0.0] * len(self.job.losses)
        *units, tokens = self.crew.total([*mine, float(sum(len(batch.ids_T) for batch in batches))])
        # the gradient of the first loss is divided by its units after it was summed up, the others' share before
        shares = torch.tensor([units[0] / max(count, 1) for count in units], device=self.device)
        self.job.model.train()
        for name, weight in self.masters.working.items():
            weight.requires_grad_(progress >= self.ahead or name.split(".")[0] in self.rates)
        self.result.alone += progress < self.ahead
        while (sums := self._backward(batches, shares)) is None:
            self.feed.budget //= 2
            self.watch.say(f"out of memory: batches of {self.feed.budget:,} tokens from now on, the same step")
            batches = self.feed.batches(self.result.steps, progress)
        self.result.tokens += int(tokens)
        if self.crew.size > 1:
            self.crew.add([*self.masters.gradients(), sums])
        means = [float(value) / max(count, 1) for value, count in zip(sums.tolist(), units, strict=True)]
        norm = self.optimizer.norm() / max(units[0], 1)
        if not (math.isfinite(sum(means)) and math.isfinite(norm)):
            rows = ", ".join(str(i) for i in self.feed.rows(self.result.steps, progress)[:8])
            raise TrainingError(
                f"step {self.result.steps + 1}: loss {sum(means)}, gradient norm {norm} on training rows {rows} … — "
                "the update was not applied; lower --learning-rate, or use --precision fp32"
            )
        progress = self._progress() + 0.5 / self.steps
        clipped = min(1.0, self.config.clip / (norm + 1e-6))
        shape = self.config.warmup, self.config.decay
        late = schedule(max(0.0, progress - self.ahead) / (1 - self.ahead), *shape)
        self.optimizer.step(late, clipped / max(units[0], 1), schedule(progress, *shape))
        self.result.steps += 1
        self.result.epochs = self.result.steps / self.feed.steps
        return means, norm

    def _backward(self, batches: Sequence[PackedBatch], shares: Tensor) -> Tensor | None:
        """Sum up the losses, and their gradients in the masters; None where memory ran out and smaller batches help."""
        self.masters.forget_gradients()
        sums = torch.zeros_like(shares)
        for batch in batches:
            try:
                losses = self.job.loss(batch, tensors_of(batch, self.device)).reshape(-1)
                (losses[0] if len(shares) == 1 else (losses * shares).sum()).backward()  # type: ignore[no-untyped-call]
            except (MemoryError, RuntimeError) as error:
                _refuse_hopeless(error, batch, f"step {self.result.steps + 1}")
                return None
            if len(batches) > 1 or self.crew.size > 1:
                self.masters.collect()
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
        log({"step": self.result.steps, "epoch": round(self.result.epochs, 4), "validation": figures})
        shown = " · ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.watch.say(f"validation after {self.result.epochs:.2f} epochs: {shown}")
        if score > self.result.best_score or not self.result.best_score:
            self.result.best_score, self.result.best_step, self.result.stale = score, self.result.steps, 0
            if self.crew.leads:
                write_tensors(self._best(), self.masters.weights)
                self._forget()
        else:
            self.result.stale += 1

    def _best(self) -> Path:
        return self.folder / f"best-{self.result.best_step:08d}.safetensors"

    # -- what is written ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint: tensors first, then the JSON with their checksum; the last two stay."""
        tensors = {f"weight.{name}": weight for name, weight in self.masters.weights.items()}
        tensors |= self.optimizer.state(self.masters.weights)
        tensors |= {f"random.{rank}": state for rank, state in enumerate(self.crew.gather(torch.get_rng_state()))}
        if self.device.startswith("cuda"):
            states = self.crew.gather(torch.cuda.get_rng_state(self.device))
            tensors |= {f"random_cuda.{rank}": state for rank, state in enumerate(states)}
        if not self.crew.leads:
            return
        path = self.folder / f"step-{self.result.steps:08d}.safetensors"
        write_tensors(path, {name: tensor.contiguous() for name, tensor in tensors.items()})
        best = self._best()
        state = {
            "identity": self.identity,
            "result": asdict(self.result),
            "plan": asdict(self.plan),
            "sha256": sha256(path),
            "best": {"file": best.name, "sha256": sha256(best)} if best.is_file() else None,
        }
        write_json(path.with_suffix(".json"), state)
        for old in sorted(self.folder.glob("step-*.json"))[:-2]:  # the last two stay: one may turn out damaged
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        """Delete best weights that neither this run nor a checkpoint on disk refers to."""
        needed = {self._best().name}
        for path in self.folder.glob("step-*.json"):
            with suppress(ModelError, KeyError, TypeError):
                needed.add(read_json(path)["best"]["file"])
        for path in self.folder.glob("best-*.safetensors"):
            if path.name not in needed:
                path.unlink()

    def _resume(self) -> bool:
        found = newest_checkpoint(self.folder)
        newest = found[0].stem if found else ""
        self.crew.total([0.0])  # nobody deletes before all have looked
        for damaged in [path for path in self.folder.glob("step-*.json") if path.stem > newest and self.crew.leads]:
            self.watch.say(f"warning: {damaged.stem} is damaged (its SHA-256 differs or a file is missing): left out")
            damaged.unlink()
            damaged.with_suffix(".safetensors").unlink(missing_ok=True)
        if found is None:
            return False
        path, state = found
        refuse_changes(state["identity"], self.identity, self.folder)
        tensors = load_file(str(path))
        self.masters.load({name: tensors[f"weight.{name}"] for name in self.masters.weights})
        self.optimizer.load(self.masters.weights, tensors)
        torch.set_rng_state(tensors[f"random.{self.crew.rank}"])
        if self.device.startswith("cuda"):
            torch.cuda.set_rng_state(tensors[f"random_cuda.{self.crew.rank}"], self.device)
        result = {**state["result"], "best_score": tuple(state["result"]["best_score"])}
        self.result = Trained(**result)
        if self.crew.leads:
            cut(self.folder.parent / LOG, self.result.steps)
        self.watch.say(f"resumed at step {self.result.steps:,} of {self.steps:,} from {path.name}")
        return True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the step in progress, with a checkpoint; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: object) -> None:
            if self.stop_signal:
                raise KeyboardInterrupt
            self.stop_signal = number
            self.watch.say("stopping after this step; a second Ctrl-C stops at once")

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal, after a checkpoint."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def measure_speed(
    job: Job, feed: Feed, config: RunConfig, device: str, *, layers: int, rows: Mapping[str, Tensor]
) -> float:
    """Train for a few seconds at a rate of 0, which leaves the weights as they are, and return tokens/s."""
    state = torch.get_rng_state()
    model = job.model.to(device)
    masters = Masters(model, working_dtype(config.precision, device), keep=job.keep)
    optimizer = Optimizer(masters, parameter_groups(masters, layers, config, 0.0), 0.0, rows)
    model.train()
    tokens, began, ended = 0, 0.0, time.monotonic() + PROBE_SECONDS
    for n in range(10_000):
        for batch in feed.batches(n * feed.steps, 1.0):  # the first batch of an epoch: drawn from all texts
            try:
                job.loss(batch, tensors_of(batch, device)).sum().backward()  # type: ignore[no-untyped-call]
            except (MemoryError, RuntimeError) as error:
                _refuse_hopeless(error, batch, "measuring the speed")
                feed.budget //= 2
                break
            tokens += len(batch.ids_T) if began else 0
        else:
            optimizer.step(0.0, 1.0)
            masters.forget_gradients()
            if began and time.monotonic() > ended:
                break
            began = began or time.monotonic()  # the first batch warms up
    model.zero_grad()
    masters.to_fp32()
    torch.set_rng_state(state)
    return tokens / (time.monotonic() - began)


def out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, of the GPU or of the machine."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


def _refuse_hopeless(error: Exception, batch: PackedBatch, where: str) -> None:
    """Raise what is no lack of memory, or one that smaller batches would not end."""
    if not out_of_memory(error):
        raise error
    if len(batch.order_B) == 1:
        what = f"{where}: out of memory on a single text of {len(batch.ids_T):,} tokens"
        raise TrainingError(f"{what} — cut texts shorter, or choose a smaller model") from error


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find the newest checkpoint whose files are whole, and what it says."""
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        with suppress(ModelError, OSError, KeyError, TypeError):
            state = read_json(path)
            tensors, best = path.with_suffix(".safetensors"), state["best"]
            if sha256(tensors) == state["sha256"] and (best is None or sha256(folder / best["file"]) == best["sha256"]):
                return tensors, state
    return None


def refuse_changes(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse to resume a run whose data or settings are no longer the same, naming each difference."""
    now = json.loads(json.dumps(now))
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    changed = [f"{name}: {before.get(name)!r} → {now.get(name)!r}" for name in names]
    if changed:
        raise ConfigError(
            f"{folder.parent} holds an unfinished run with other settings ({'; '.join(changed)}) — repeat the first "
            "command to resume it, choose another folder with -o, or start over with --overwrite"
        )
