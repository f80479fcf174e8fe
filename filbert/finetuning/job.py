"""What the training loop needs to know of a task: the batches of a step, their loss, how good the model is.

The loop itself is training/loop.py's; from labelled texts to a finished folder is fit.py's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filbert.errors import TrainingError
from filbert.finetuning.dataset import Soft
from filbert.inference.engine import averaged, finite, scored
from filbert.inference.scorer import TorchScorer
from filbert.model.network import Network
from filbert.model.network import averaged as averaged_in_torch
from filbert.model.packing import pack, pack_texts, shuffled, split_by_budget
from filbert.model.run import Tensors
from filbert.records import Example, Features, FloatArray, IntArray, PackedBatch
from filbert.tasks.task import Goal, Outputs, Task, Windows

MOST_WINDOWS = 8  # of a text that a step trains on: a batch of 8,192 tokens holds two such texts


@dataclass
class TextFeed:
    """The batches of a run over texts: shuffled anew each epoch, the same ones for the same seed and step."""

    features: Sequence[Features]
    early: Sequence[Features] | None  # the same texts cut shorter, for the first half of the run
    batch_size: int
    budget: int
    seed: int
    chances_N: FloatArray | None = None  # of each text to be drawn, where an epoch is drawn with replacement
    _order: tuple[int, IntArray] = field(default=(-1, np.empty(0, dtype=np.int32)), repr=False)

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return math.ceil(len(self.features) / self.batch_size)

    @cached_property
    def tokens(self) -> float:
        """Tokens of an epoch, on average over the run."""
        return sum(len(row) for half in (self.early or self.features, self.features) for row in half) / 2

    @cached_property
    def ids(self) -> IntArray:
        """The token ids that a run meets, each once."""
        return np.unique(np.concatenate([row.ids for row in (*self.features, *(self.early or ()))]))

    def rows(self, step: int, progress: float) -> IntArray:
        """Return the texts of a step of the run, as numbers of `features`; the progress changes only their crop."""
        epoch, i = divmod(step, self.steps)
        if self._order[0] != epoch:
            self._order = epoch, self._drawn(epoch)
        return self._order[1][i * self.batch_size : (i + 1) * self.batch_size]

    def _drawn(self, epoch: int) -> IntArray:
        count = len(self.features)
        if self.chances_N is None:
            return shuffled(count, self.seed, epoch)
        random = np.random.default_rng((self.seed, epoch))
        return random.choice(count, count, p=self.chances_N).astype(np.int32)

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return the packed parts of a step, each within the token budget."""
        order = self.rows(step, progress)
        features = self.features if self.early is None or progress >= 0.5 else self.early
        parts = split_by_budget(order, [len(features[i]) for i in order], self.budget)
        return [pack(features, part) for part in parts]


@dataclass
class WindowFeed(TextFeed):
    """The batches of a run over texts in several windows each; `features` are the first ones.

    All windows of a text are in one batch, so that their weights are trained. Of a text of many a step draws eight, or
    fewer where a batch has no room for them.
    """

    texts: Windows = ()

    def __post_init__(self) -> None:
        self._longest = max(len(window) for each in self.texts for window in each)

    @cached_property
    def tokens(self) -> float:
        """Tokens of an epoch, on average over the run."""
        late = sum(window_tokens(self.texts))
        return (late if self.early is None else (sum(map(len, self.early)) + late) / 2) * 1.0

    @cached_property
    def ids(self) -> IntArray:
        """The token ids that a run meets, each once."""
        rows = (window for each in self.texts for window in each)
        return np.unique(np.concatenate([row.ids for row in (*rows, *(self.early or ()))]))

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return the packed parts of a step, each within the token budget."""
        order = self.rows(step, progress)
        if self.early is not None and progress < 0.5:
            drawn: list[Sequence[Features]] = [[self.early[i]] for i in order]
        else:
            drawn = [self._drawn_windows(int(i), step) for i in order]
        lengths = [sum(map(len, each)) for each in drawn]
        places = split_by_budget(np.arange(len(drawn), dtype=np.int32), lengths, self.budget)
        return [replace(batch, order_B=order[batch.order_B]) for batch in (pack_texts(drawn, part) for part in places)]

    def _drawn_windows(self, text: int, step: int) -> Sequence[Features]:
        windows = self.texts[text]
        most = max(1, min(MOST_WINDOWS, self.budget // self._longest))
        if len(windows) <= most:
            return windows
        random = np.random.default_rng((self.seed, step, text))
        return [windows[i] for i in sorted(random.choice(len(windows), most, replace=False).tolist())]


def window_tokens(texts: Windows) -> list[int]:
    """Return how many tokens a step trains on of each text.

    >>> window_tokens([[Features(np.zeros(4, np.int32), np.zeros(4, np.int32))] * 20])
    [32]
    """
    lengths = [[len(window) for window in each] for each in texts]
    return [round(sum(each) * min(1.0, MOST_WINDOWS / len(each))) for each in lengths]


class TaskJob:
    """A task as the training loop sees it."""

    losses = ("loss",)

    def __init__(
        self,
        task: Task,
        settings: Any,
        model: Network,
        validation: tuple[Sequence[Example], Windows],
        device: str,
        *,
        soft: Soft | None = None,
    ) -> None:
        self.task, self.settings, self.model, self.device, self.soft = task, settings, model, device, soft
        self.examples, self.windows = validation
        self.unseen: FloatArray | None = None  # what models gave that had not seen these texts, where this one has
        self.keep = tuple({name.split(".")[0] for name in model.head.names()})

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the task's loss summed over a packed batch; of a student at the temperature of what it learns.

        Its gradients fall with the square of the temperature, and are scaled back (Hinton et al. 2015).
        """
        outputs = self.model(*tensors)
        if batch.texts_B is not None:
            outputs = averaged_in_torch(
                outputs, torch.as_tensor(batch.texts_B).long().to(outputs.device), len(batch.order_B)
            )
        if self.soft is None:
            return self.task.loss(outputs, batch, self.settings)
        heat = self.soft.temperature
        return self.task.loss(outputs / heat, batch, self.settings) * heat**2

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of texts."""
        return (len(batch.order_B),)

    def validate(self) -> tuple[Goal, dict[str, float]]:
        """Return what is to be maximised, and the figures for the log; TrainingError where the model gives NaN."""
        found = self.outputs()
        if not finite(found):
            raise TrainingError("validation gives NaN — lower --learning-rate, or use --precision fp32")
        return self.task.validate(found, self.examples, self.settings, self.windows)

    def outputs(self) -> Outputs:
        """Return what the model gives the validation texts now, in the numbers it trains in; or `unseen`."""
        return self.unseen if self.unseen is not None else outputs_of(self.model, self.windows, self.device)


def outputs_of(model: Network, windows: Windows, device: str) -> Outputs:
    """Return what a network gives each window of each text, as it stands: nothing is converted."""
    return averaged(scored(TorchScorer(model, device, None), windows), model.head)[0]
