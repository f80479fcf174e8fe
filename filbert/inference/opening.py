"""How a model is opened for scoring, in this process or in another one; and by what its results are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filbert.bases.load import files_of
from filbert.config import EncoderConfig
from filbert.files import files_sha256
from filbert.folder.open import BESIDE
from filbert.inference.abstention import threshold_of
from filbert.inference.engine import Engine, load
from filbert.inference.model import open_model
from filbert.inference.scorer import scored_by
from filbert.inference.unknown import farthest_of
from filbert.linear.cascade import Cascade
from filbert.model.device import best_device
from filbert.owned import MANIFEST
from filbert.tasks.task import Task
from filbert.version import __version__


@dataclass
class Known:
    """What is known of a model that other processes score with, under the names that an engine has."""

    task: Task
    settings: Any
    config: EncoderConfig
    info: dict[str, Any]
    cascade: Cascade | None
    least_confidence: float
    farthest: float | None


@dataclass(frozen=True)
class Opening:
    """A model folder and the options of `load`.

    >>> Opening("runs/reviews", precision="bf16").engine()  # doctest: +SKIP
    """

    model: str
    device: str | None = None
    precision: str = "fp32"
    cascade: bool = True
    abstain: float | None = None
    unknown: float | None = None

    def engine(self) -> Engine:
        """Open the model; ModelError or ConfigError."""
        how = {"device": self.device, "cascade": self.cascade, "abstain": self.abstain, "unknown": self.unknown}
        return load(self.model, precision=self.precision, **how)  # type: ignore[arg-type]

    def known(self) -> Known:
        """Return what is to be known of the model, its weights left out; ModelError or ConfigError."""
        model = open_model(self.model)
        least = threshold_of(model.info, self.abstain)
        farthest = farthest_of(model.info, model.detector, self.unknown)
        cascade = model.cascade if farthest is None else None
        return Known(model.task, model.settings, model.config, model.info, cascade, least, farthest)

    def identity(self, model: Known | Engine) -> dict[str, Any]:
        """Return what results depend on beside their texts, so that those of two runs are never mixed."""
        folder = Path(self.model)
        names = {MANIFEST, *BESIDE, *files_of(folder)}
        device = best_device(self.device)
        return {
            "model": f"SHA-256 {files_sha256(folder, names)[:16]}",
            "precision": self.precision,
            "device": device,
            "least confidence": model.least_confidence,
            "farthest": model.farthest,
            "cascade": self.cascade and model.cascade is not None,
            "engine": scored_by(model.config, device, self.precision),
            "filbert": __version__,
        }
