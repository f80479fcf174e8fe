"""What the training loop needs to know of text classification: batches of a step, their loss, how good the model is.

The loop itself is train.py's; from labelled texts to a finished folder is fit.py's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import f1_score, log_loss
from torch import Tensor

from filbert.errors import TrainingError
from filbert.metrics import calibration
from filbert.model.network import Classifier, cross_entropy
from filbert.model.packing import pack, shuffled, split_by_budget
from filbert.model.run import Tensors, outputs
from filbert.records import Features, FloatArray, IntArray, PackedBatch


@dataclass
class TextFeed:
    """The batches of a run over labelled texts: shuffled anew each epoch, the same ones for the same seed and step."""

    features: Sequence[Features]
    early: Sequence[Features] | None  # the same texts cut shorter, for the first half of the run
    batch_size: int
    budget: int
    seed: int
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
            self._order = epoch, shuffled(len(self.features), self.seed, epoch)
        return self._order[1][i * self.batch_size : (i + 1) * self.batch_size]

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return the packed parts of a step, each within the token budget."""
        order = self.rows(step, progress)
        features = self.features if self.early is None or progress >= 0.5 else self.early
        parts = split_by_budget(order, [len(features[i]) for i in order], self.budget)
        return [pack(features, part) for part in parts]


class ClassifyJob:
    """What the training loop needs to know of text classification."""

    losses = ("loss",)
    keep = ("pooler", "classifier")

    def __init__(self, model: Classifier, validation: Sequence[Features], device: str) -> None:
        self.model = model
        self.device = device
        self._validation = validation
        self.true_N = np.array([row.target for row in validation], dtype=np.int32)

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the summed cross-entropy of a packed batch."""
        assert batch.targets_B is not None
        targets_B = torch.as_tensor(batch.targets_B, dtype=torch.int64, device=self.device)
        return cross_entropy(self.model(*tensors), targets_B)

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of texts."""
        return (len(batch.order_B),)

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return (macro-F1, -loss) to maximise, and the figures for the log."""
        probabilities_NC = calibration.softmax(self.logits())
        predicted_N = probabilities_NC.argmax(axis=1)
        macro_f1 = float(f1_score(self.true_N, predicted_N, average="macro", zero_division=0))
        if not np.isfinite(probabilities_NC).all():
            raise TrainingError("validation gives NaN — lower --learning-rate, or use --precision fp32")
        loss = float(log_loss(self.true_N, probabilities_NC, labels=range(probabilities_NC.shape[1])))
        accuracy = float((predicted_N == self.true_N).mean())
        return (macro_f1, -loss), {"accuracy": accuracy, "macro_f1": macro_f1, "loss": loss}

    def logits(self) -> FloatArray:
        """Return logits_NC of the validation texts."""
        return outputs(self.model, self._validation, self.device)
