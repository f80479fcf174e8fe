"""How fast this machine trains, measured for a few seconds; and what to do where memory runs out."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from filbert.config import RunConfig
from filbert.errors import TrainingError, out_of_memory
from filbert.model.device import working_dtype
from filbert.model.run import tensors_of
from filbert.records import PackedBatch
from filbert.training.job import Feed, Job
from filbert.training.optimizer import MasterWeights, Optimizer, parameter_groups
from filbert.training.plan import MEASURING_SECONDS


def measure_speed(
    job: Job, feed: Feed, config: RunConfig, device: str, *, layers: int, rows: Mapping[str, Tensor]
) -> float:
    """Train for a few seconds at a learning rate of 0, which leaves the weights as they are, and return tokens/s."""
    state = torch.get_rng_state()
    model = job.model.to(device)
    masters = MasterWeights(model, working_dtype(config.precision, device), keep=job.keep)
    optimizer = Optimizer(masters, parameter_groups(masters, layers, config, 0.0), 0.0, rows)
    model.train()
    tokens, began, ended = 0, 0.0, time.monotonic() + MEASURING_SECONDS
    for n in range(10_000):
        for batch in feed.batches(n * feed.steps, 1.0):  # of the first step of an epoch: a random sample of all texts
            try:
                job.loss(batch, tensors_of(batch, device)).sum().backward()  # type: ignore[no-untyped-call]
            except (MemoryError, RuntimeError) as error:
                raise_unless_smaller_helps(error, batch, "measuring the speed")
                feed.budget //= 2
                break
            tokens += len(batch.ids_T) if began else 0
        else:
            optimizer.step(0.0, 1.0)
            masters.zero_grad()
            if began and time.monotonic() > ended:
                break
            began = began or time.monotonic()  # the first step warms up and is not counted
    model.zero_grad()
    masters.to_fp32()
    torch.set_rng_state(state)
    return tokens / (time.monotonic() - began)


def raise_unless_smaller_helps(error: Exception, batch: PackedBatch, where: str) -> None:
    """Return where memory ran out and smaller batches may fit; otherwise raise the error, or a TrainingError."""
    if not out_of_memory(error):
        raise error
    if len(batch.starts_B) == 2:
        what = f"{where}: out of memory on a single text of {len(batch.ids_T):,} tokens"
        raise TrainingError(f"{what} — cut texts shorter, or choose a smaller model") from error
