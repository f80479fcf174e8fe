"""Several processes that train one model: `torchrun -m filbert …` on one machine or many.

Every process holds the whole model and works on its share of each batch; gradients are summed in fp32, so the update is
the one that a single process would make. Where a process dies, the others end within a minute.
torch's DistributedDataParallel is not used: it would sum the bf16 gradients of the model, before they are added up in
fp32 (`MasterWeights` in optimizer.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from filbert.errors import ConfigError, TrainingError, shown

TIMEOUT = timedelta(seconds=60)  # for a process that does not answer

# A reference to the last sum is kept to the end. Else gloo's own thread may be the one that frees its tensors, which
# needs the interpreter, and where that is already shutting down the process aborts.
_last: list[Any] = []


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run: this one is number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all processes, in place and in one message; TrainingError where a process is gone."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        try:
            work = dist.all_reduce(flat, async_op=True)
            work.wait()
            _last[:] = [work]
        except RuntimeError as error:
            raise TrainingError(
                f"another process of this run ended or does not answer ({str(error)[:120]}) — the newest checkpoint is "
                "complete: repeat the command to go on"
            ) from None
        begin = 0
        for tensor in tensors:
            tensor.copy_(flat[begin : begin + tensor.numel()].view_as(tensor))
            begin += tensor.numel()

    def all_sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over all processes."""
        sums = torch.tensor(values, dtype=torch.float64, device=self._device())
        self.all_reduce([sums])
        return [float(value) for value in sums]

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every process, by rank."""
        rows = torch.zeros(self.size, *tensor.shape, dtype=torch.int64, device=self._device())
        rows[self.rank] = tensor.to(rows)
        self.all_reduce([rows])
        return [row.to(tensor) for row in rows]

    def _device(self) -> str:
        return "cuda" if self.size > 1 and dist.get_backend() == "nccl" else "cpu"


def local_device(device: str) -> str:
    """Return this process's own GPU where several processes share a machine; the device as given without `torchrun`."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Connect to the other processes that `torchrun` started; without it, a group of this process alone."""
    told = os.environ.get("WORLD_SIZE", "1")
    if not told.isdecimal():
        raise ConfigError(f"WORLD_SIZE is {shown(told)} — start with torchrun, or unset it")
    size = int(told)
    if size == 1 or "RANK" not in os.environ or dist.is_initialized():
        yield ProcessGroup()
        return
    try:
        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:  # one never starts, or MASTER_ADDR, MASTER_PORT, RANK are wrong
        raise TrainingError(
            f"the {size} processes of this run did not find each other within {TIMEOUT.seconds} s "
            f"({shown(str(error), 120)}) — start all of them with the same torchrun command"
        ) from None
    try:
        yield ProcessGroup(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
