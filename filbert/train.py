"""One loop that trains any task: order, packed steps, schedule, validation, best weights, checkpoints.

    plan → step × n → validate now and then → keep the best → stop at the end, at the deadline, or early

The loop knows no task: a `Job` gives it the summed loss of a batch and a validation. Weights are held in fp32 by
`Masters` and in bf16 by the model where the processor multiplies bf16 natively. Everything a resumed run needs
(weights, optimizer, random state, position) is written together under a checksum, as safetensors and JSON.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from filbert.batching import pack, shuffled, split_by_budget
from filbert.checkpoint import read_json, sha256, write_json, write_tensors
from filbert.config import TrainConfig
from filbert.errors import ConfigError, ModelError, TrainingError
from filbert.model.forward import Tensors, tensors_of, working_dtype
from filbert.records import Features, PackedBatch

CHECKPOINT_SECONDS = 120.0  # a kill loses at most this much work
PROBE_SECONDS = 6.0  # of the measuring steps before a run with a deadline
LENGTHS = (512, 384, 256, 192, 128, 96, 64)  # crops a deadline may choose
RESERVE = 0.03  # share of a deadline kept for the last validation and for writing the model


class Watcher(Protocol):
    """Where a run tells what it does: a terminal, a log, or nobody."""

    def say(self, text: str) -> None:
        """Tell one line."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        """Tell how far a stage has come; figures are what there is to show beside the bar."""


class Silent:
    """A Watcher that tells nobody."""

    def say(self, text: str) -> None:
        """Keep it."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        """Keep it."""


class Job(Protocol):
    """What the loop asks of a task: a model, the loss of a batch, and how good the model is now."""

    @property
    def model(self) -> nn.Module:
        """Return the model that is trained."""

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the loss summed over the texts of the batch."""

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
    best_score: tuple[float, ...] = ()
    stale: int = 0  # validations since the best one
    stopped: str = "at the end of the schedule"

    @property
    def tokens_per_second(self) -> float:
        """Real tokens trained on per second, validation included in the time."""
        return self.tokens / max(self.seconds, 1e-9)


def default_epochs(texts: int, classes: int) -> float:
    """Passes over the training texts when none are asked for: 30,000 texts seen and 300 more for each class, 1 to 8.

    >>> default_epochs(24_000, 2), default_epochs(15_000, 150), default_epochs(600, 2)
    (2.0, 5.0, 8.0)
    """
    return float(min(8, max(1, math.ceil((30_000 + 300 * classes) / texts))))


def default_learning_rate(hidden: int, *, random_start: bool = False) -> float:
    """Peak learning rate by width: 1e-4 at 384, 3e-5 at 768, as published for BERT; higher from a random start."""
    return 5e-4 if random_start else min(1e-4, 1e-4 * (384 / hidden) ** 1.75)


class Masters:
    """The fp32 weights that the optimizer changes; the model works on a copy in `dtype`, made anew after each step.

    Without them an update of 1e-4 would vanish: bf16 has 8 bits, so near 1 its numbers stand 0.004 apart.
    Modules named in `keep` (heads) stay fp32 in the model.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, keep: Sequence[str] = ()) -> None:
        self.model = model
        self.weights = {name: p.detach().clone().float() for name, p in model.named_parameters() if p.requires_grad}
        for name, part in model.named_children():
            if name not in keep:
                part.to(dtype)
        self.working = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def take_gradients(self, scale: float) -> None:
        """Move the model's gradients to the masters, times `scale`."""
        for name, p in self.working.items():
            grad, p.grad = p.grad, None
            self.weights[name].grad = None if grad is None else grad.float().mul_(scale)

    @torch.no_grad()
    def give_back(self) -> None:
        """Copy the masters into the model."""
        for name, p in self.working.items():
            p.copy_(self.weights[name])

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Take weights from a checkpoint."""
        for name, master in self.weights.items():
            master.copy_(weights[name])
        self.give_back()

    def to_fp32(self) -> None:
        """End mixed work: the model itself in fp32, with the masters' numbers."""
        self.model.float()
        self.give_back()


def parameter_groups(masters: Masters, layers: int, config: TrainConfig, rate: float) -> list[dict[str, Any]]:
    """Group weights by depth and decay: the rate falls by `layer_decay` a layer from the top; vectors do not decay."""
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, weight in masters.weights.items():
        depth = layers + 1
        if ".embeddings." in f".{name}":
            depth = 0
        elif ".layers." in f".{name}":
            depth = int(name.split("layers.")[1].split(".")[0]) + 1
        groups.setdefault((depth, weight.ndim > 1), []).append(weight)
    return [
        {
            "params": weights,
            "weight_decay": config.weight_decay if decays else 0.0,
            "peak": rate * config.layer_decay ** (layers + 1 - depth),
        }
        for (depth, decays), weights in sorted(groups.items())
    ]


def schedule(progress: float, warmup: float) -> float:
    """Return the factor on the learning rate: a straight rise over `warmup`, then a straight fall to 0.

    >>> [round(schedule(p, 0.1), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return max(0.0, (1 - progress) / (1 - warmup))


@dataclass
class Plan:
    """How long to train and on how much of each text."""

    epochs: float
    max_length: int
    early_length: int | None = None  # of the first half of the run, where it is shorter
    seconds: float | None = None  # the deadline, from the start of training
    reason: str = ""


def plan(config: TrainConfig, lengths: Sequence[int], classes: int, measure: Callable[[], float]) -> Plan:
    """Fit epochs and crop to `config.minutes` from the speed that `measure` finds; without a deadline ask nothing.

    `lengths` are the texts' own, in tokens. The longest crop is chosen that still shows each text once.
    """
    wanted = default_epochs(len(lengths), classes) if config.epochs is None else config.epochs
    lengths_N = np.asarray(lengths)

    def early(epochs: float, crop: int) -> int | None:
        return config.early_length if epochs >= 2 and config.early_length < min(crop, lengths_N.max()) else None

    def tokens(epochs: float, crop: int) -> float:
        short = np.minimum(lengths_N, early(epochs, crop) or crop).sum()
        return float(epochs / 2 * (short + np.minimum(lengths_N, crop).sum()))

    if config.minutes is None:
        return Plan(wanted, config.max_length, early(wanted, config.max_length))
    seconds = config.minutes * 60
    speed = measure()
    able = max(1.0, speed * (seconds * (1 - RESERVE) - PROBE_SECONDS))
    crops = [n for n in (config.max_length, *LENGTHS) if n <= config.max_length]
    crop = next((n for n in crops if tokens(1, n) <= able), crops[-1])
    fitting = [wanted, *(n for n in range(math.ceil(wanted) - 1, 0, -1)), able / tokens(1, crop)]
    epochs = next((n for n in fitting if tokens(n, crop) <= able), fitting[-1])
    reason = f"{speed:,.0f} tokens/s: {config.minutes:g} min hold {epochs:.2g} epochs of texts cut at {crop} tokens"
    return Plan(epochs, crop, early(epochs, crop), seconds, reason)


@dataclass
class Loop:
    """A run in progress; `run` drives it to its end. One object, because a checkpoint must hold all of it."""

    job: Job
    features: Sequence[Features]
    early: Sequence[Features] | None  # the same texts cut shorter, for the first half of the run
    config: TrainConfig
    plan: Plan
    layers: int
    rate: float
    folder: Path
    identity: dict[str, Any]  # what must be the same for a checkpoint to be taken up again
    device: str = "cpu"
    watch: Watcher = field(default_factory=Silent)
    track: Path | None = None  # TensorBoard folder
    result: Trained = field(default_factory=Trained)

    def __post_init__(self) -> None:
        self.dtype = working_dtype(self.config.precision, self.device)
        self.job.model.to(self.device)
        self.masters = Masters(self.job.model, self.dtype, keep=("pooler", "classifier"))
        groups = parameter_groups(self.masters, self.layers, self.config, self.rate)
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, fused=True)
        self.batches = math.ceil(len(self.features) / self.config.batch_size)  # per epoch
        self.steps = max(1, math.ceil(self.batches * self.plan.epochs))
        per_epoch = min(2, max(1, len(self.features) // 5000))
        self.validate_every = max(1, self.batches // per_epoch)
        self.stop_signal: int | None = None

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        """Train to the end of the schedule, the deadline or an early stop; the model then holds the best weights."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._resume():
            (self.folder.parent / "train.jsonl").unlink(missing_ok=True)
            torch.manual_seed(self.config.seed)
        began, before = time.monotonic(), self.result.seconds
        with self._log() as log, self._signals():
            saved = time.monotonic()
            while not self._finished():
                loss, norm = self.step()
                self.result.seconds = before + time.monotonic() - began
                log(self._figures(loss, norm))
                if self.result.steps % self.validate_every == 0 or self._finished():
                    self._validate(log)
                    self.result.seconds = before + time.monotonic() - began
                    self.watch.progress("training", self._progress(), 1.0)
                if time.monotonic() - saved > CHECKPOINT_SECONDS or self.stop_signal:
                    self.save()
                    saved = time.monotonic()
                if self.stop_signal:
                    raise Interrupted(self.stop_signal)
            if self.result.best_step != self.result.steps:
                self.masters.load(load_file(str(self._best())))
        self.masters.to_fp32()
        return self.result

    def _progress(self) -> float:
        done = self.result.steps / self.steps
        if self.plan.seconds is not None:
            done = max(done, self.result.seconds / (self.plan.seconds * (1 - RESERVE)))
        return min(1.0, done)

    def _finished(self) -> bool:
        if self.result.stale >= self.config.patience:
            self.result.stopped = f"early: no better validation {self.result.stale} times"
            return True
        if self.result.steps < self.steps and self._progress() >= 1:
            self.result.stopped = f"at the deadline of {self.config.minutes:g} minutes"
        return self._progress() >= 1

    def step(self) -> tuple[float, float]:
        """One optimizer step on one batch of texts, split where it is over the token budget."""
        epoch, i = divmod(self.result.steps, self.batches)
        size = self.config.batch_size
        features = self.features if self.early is None or self._progress() >= 0.5 else self.early
        order = shuffled(len(features), self.config.seed, epoch)[i * size : (i + 1) * size]
        self.job.model.train()
        total = 0.0
        for part in split_by_budget(order, [len(f) for f in features], self.config.tokens_per_batch):
            batch = pack(features, part)
            loss = self.job.loss(batch, tensors_of(batch, self.device))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
            self.result.tokens += len(batch.ids_T)
        self.masters.take_gradients(1 / len(order))
        norm = float(torch.nn.utils.clip_grad_norm_(list(self.masters.weights.values()), self.config.clip))
        if not (math.isfinite(total) and math.isfinite(norm)):
            rows = ", ".join(str(i) for i in order[:8])
            raise TrainingError(
                f"step {self.result.steps + 1}: loss {total}, gradient norm {norm} on training rows {rows} … — the "
                "update was not applied; lower --learning-rate, or use --precision fp32"
            )
        factor = schedule(self._progress() + 0.5 / self.steps, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.step()
        self.masters.give_back()
        self.result.steps += 1
        self.result.epochs = self.result.steps / self.batches
        return total / len(order), norm

    def _figures(self, loss: float, norm: float) -> dict[str, float]:
        speed = self.result.tokens_per_second
        left = self.result.seconds * (1 / max(self._progress(), 1e-6) - 1)
        self.watch.progress("training", self._progress(), 1.0, tokens_per_second=speed, loss=loss, seconds_left=left)
        return {
            "step": self.result.steps,
            "epoch": round(self.result.epochs, 4),
            "loss": round(loss, 5),
            "gradient_norm": round(norm, 4),
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
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
            write_tensors(self._best(), self.masters.weights)
            self._forget()
        else:
            self.result.stale += 1

    def _best(self) -> Path:
        return self.folder / f"best-{self.result.best_step:08d}.safetensors"

    # -- what is written ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint: tensors first, then the JSON with their checksum; the one before the last goes."""
        tensors = {f"weight.{name}": weight for name, weight in self.masters.weights.items()}
        for name, weight in self.masters.weights.items():
            state = self.optimizer.state.get(weight, {})
            tensors |= {f"{key}.{name}": value for key, value in state.items() if isinstance(value, Tensor)}
        tensors["random"] = torch.get_rng_state()
        if self.device.startswith("cuda"):
            tensors["random_cuda"] = torch.cuda.get_rng_state()
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
        if found is None:
            return False
        path, state = found
        refuse_changes(state["identity"], self.identity, self.folder)
        tensors = load_file(str(path))
        self.masters.load({name: tensors[f"weight.{name}"] for name in self.masters.weights})
        for name, weight in self.masters.weights.items():
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{name}" in tensors]
            if keys:
                self.optimizer.state[weight] = {key: tensors[f"{key}.{name}"].to(weight.device) for key in keys}
                self.optimizer.state[weight]["step"] = self.optimizer.state[weight]["step"].cpu()
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_cuda"])
        result = {**state["result"], "best_score": tuple(state["result"]["best_score"])}
        self.result = Trained(**result)
        _cut_log(self.folder.parent / "train.jsonl", self.result.steps)
        self.watch.say(f"resumed at step {self.result.steps:,} of {self.steps:,} from {path.name}")
        return True

    @contextmanager
    def _log(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        writer = _tensorboard(self.track)
        with (self.folder.parent / "train.jsonl").open("a", encoding="utf-8") as file:
            yield lambda row: _write_row(file, writer, row)
        if writer is not None:
            writer.close()

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


def measure_speed(job: Job, features: Sequence[Features], config: TrainConfig, device: str) -> float:
    """Train on nothing for a few seconds and return tokens/s: real batches, forward and backward, no update."""
    state = torch.get_rng_state()
    model = job.model.to(device)
    dtype = working_dtype(config.precision, device)
    masters = Masters(model, dtype, keep=("pooler", "classifier"))
    model.train()
    lengths = [len(f) for f in features]
    tokens, began, ended = 0, 0.0, time.monotonic() + PROBE_SECONDS
    for n in range(10_000):
        order = shuffled(len(features), config.seed, n)[: config.batch_size]
        for part in split_by_budget(order, lengths, config.tokens_per_batch):
            batch = pack(features, part)
            job.loss(batch, tensors_of(batch, device)).backward()  # type: ignore[no-untyped-call]
            tokens += len(batch.ids_T) if began else 0
        began = began or time.monotonic()  # the first batch warms up
        if n and time.monotonic() > ended:
            break
    model.zero_grad()
    masters.to_fp32()
    torch.set_rng_state(state)
    return tokens / (time.monotonic() - began)


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


def _write_row(file: IO[str], writer: Any, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
    if writer is not None:
        figures = row.get("validation", {k: row.get(k) for k in ("loss", "learning_rate", "tokens_per_second")})
        for name, value in figures.items():
            writer.add_scalar(f"{'validation' if 'validation' in row else 'train'}/{name}", value, row["step"])


def _cut_log(path: Path, steps: int) -> None:
    """Forget the log lines of steps that a resumed run does again."""
    if path.is_file():
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in rows if json.loads(line)["step"] <= steps]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _tensorboard(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed — pip install 'filbert[track]', or leave it out") from None
    return SummaryWriter(str(folder))
