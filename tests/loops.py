"""A training loop on 22 tiny texts of three classes, to be run whole, stopped and resumed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import classifier, rows
from torch import Tensor, nn

from filbert.config import TrainConfig
from filbert.errors import Stopped
from filbert.finetuning.job import TextFeed
from filbert.model.run import outputs
from filbert.records import Features
from filbert.training.loop import Loop
from filbert.training.plan import Plan

TEXTS = 22  # in batches of 4: six steps an epoch, the last one of two texts
CONFIG = TrainConfig(batch_size=4, precision="fp32", learning_rate=3e-3, epochs=4, patience=99)
STEPS = 24
FEATURES = rows([5 + i % 9 for i in range(TEXTS)], targets=[i % 3 for i in range(TEXTS)])
EARLY = [replace(row, ids=row.ids[:7], segments=row.segments[:7]) for row in FEATURES]  # for the first half


def summed_loss(logits_BC: Tensor, targets_B: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits_BC.float(), targets_B, reduction="sum")


class Job:
    """Three classes of random words; a hook hears of every batch and may change its loss."""

    losses = ("loss",)
    keep = ("pooler", "last")

    def __init__(self, hook: Callable[[Job, Tensor], Tensor | None] | None = None, seed: int = 0, **changes: Any):
        self.model: nn.Module = classifier(seed=seed, **changes)
        self.hook = hook
        self.batches = self.validations = 0

    def loss(self, batch, tensors) -> Tensor:
        self.batches += 1
        loss = summed_loss(self.model(*tensors), torch.as_tensor(batch.targets_B).long())
        changed = self.hook(self, loss) if self.hook else None
        return loss if changed is None else changed

    def units(self, batch) -> tuple[int, ...]:
        return (len(batch.order_B),)

    def validate(self):
        self.validations += 1
        logits_NC = torch.as_tensor(outputs(self.model, FEATURES, "cpu"))
        targets_N = torch.tensor([row.target for row in FEATURES])
        loss = summed_loss(logits_NC, targets_N).item() / TEXTS
        return (-loss,), {"loss": loss}


def feed(config: TrainConfig = CONFIG, early: Sequence[Features] | None = EARLY) -> TextFeed:
    return TextFeed(FEATURES, early, config.batch_size, config.tokens_per_batch, config.seed)


def loop(folder: Path, job: Job | None = None, config: TrainConfig = CONFIG, **changes: Any) -> Loop:
    settings: dict[str, Any] = {
        "feed": feed(config),
        "plan": Plan(config.epochs or 1, config.max_length),
        "layers": 2,
        "rate": config.learning_rate,
        "folder": folder / "checkpoints",
        "identity": {"data": "abc", **asdict(config)},
    }
    return Loop(job or Job(), config=config, **{**settings, **changes})


def weights(run: Loop) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.job.model.state_dict().items()}


def stop_at(step: int, holder: list[Loop]) -> Callable[[Job, Tensor], None]:
    """A hook that asks the loop to stop, as a signal would, in the given step (from 1)."""

    def hook(job: Job, loss: Tensor) -> None:
        if job.batches == step:
            holder[0].stop_signal = signal.SIGTERM

    return hook


def interrupted(folder: Path, step: int, **changes: Any) -> Loop:
    holder: list[Loop] = []
    holder.append(loop(folder, Job(stop_at(step, holder)), **changes))
    with pytest.raises(Stopped) as stopped:
        holder[0].run()
    assert stopped.value.number == signal.SIGTERM
    return holder[0]


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


class Cramped(Job):
    """A machine with memory for 40 tokens; where it runs out, some gradients of the batch are already there."""

    room = 40

    def loss(self, batch, tensors) -> Tensor:
        loss = super().loss(batch, tensors)
        if len(batch.ids_T) > self.room:
            self.model.last.weight.grad = torch.ones_like(self.model.last.weight)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss
