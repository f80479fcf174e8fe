"""What the training loop is given, a `Feed` and a `Job`, and what it gives back, a `Trained`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from filbert.model.run import Tensors
from filbert.records import IntArray, PackedBatch


class Feed(Protocol):
    """The batches of a run. Those of a step depend on its number alone, so that a resumed run sees the same."""

    budget: int
    """Tokens of a batch, at most; a longer text is a batch by itself."""

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""

    @property
    def tokens(self) -> float:
        """Tokens in an epoch, over all processes."""

    def rows(self, step: int, progress: float) -> IntArray:
        """Return which texts a step trains on."""

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return this process's batches of a step; `progress` is the share of the run that is done, 0 to 1."""


class Job(Protocol):
    """The model that is trained, the loss of a batch, and a validation."""

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
        """Return each loss, summed over its units."""

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return by how many units each loss has to be divided for its mean: texts, or masked tokens."""

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return a score to maximise (compared entry by entry) and the figures for the training log.

        The first figure is the first entry of the score, or its negative.
        """


@dataclass
class Trained:
    """What a run did, so far or in all."""

    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    head_only_steps: int = 0
    """Steps in which only the new heads were trained."""
    best_score: tuple[float, ...] = ()
    best_figures: dict[str, float] = field(default_factory=dict)
    """What the training log says of the best step."""
    stale: int = 0
    """Validations since the best one."""
    stopped: str = "at the end of the schedule"

    @property
    def tokens_per_second(self) -> float:
        """Real tokens trained on per second, validation included in the time."""
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def best_by(self) -> str:
        """The figure that the best step was chosen by, in words."""
        return next(iter(self.best_figures), "score").replace("_", " ")

    def facts(self) -> dict[str, Any]:
        """Return what report.json says of the run."""
        return {
            "seconds": round(self.seconds, 1),
            "steps": self.steps,
            "epochs": round(self.epochs, 3),
            "tokens": self.tokens,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "best_step": self.best_step,
            "best_by": self.best_by,
            "stopped": self.stopped,
        }
