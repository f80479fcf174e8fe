"""One of several trainings of a run: its weights, and what it did, are kept until the whole run is finished.

    OUT/checkpoints/NAME/   done.json   weights.safetensors   train.jsonl   checkpoints/ (while it trains)

Folds, ways of balancing, trials of a search and members of an ensemble are such trainings. An interrupted run takes
those that are done from their folders, and goes on with the one that it was at.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from filbert.errors import ModelError
from filbert.files import read_sealed, sha256, write_sealed, write_tensors
from filbert.training.checkpoints import ANEW, refuse_changes
from filbert.training.job import Trained
from filbert.training.plan import Plan

DONE, WEIGHTS = "done.json", "weights.safetensors"


@dataclass(frozen=True)
class Training:
    """A finished training and where it is kept."""

    folder: Path
    trained: Trained
    plan: Plan
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What else was noted of it."""

    def weights(self) -> dict[str, Tensor]:
        """Read the weights; ModelError where the file is damaged."""
        if sha256(self.folder / WEIGHTS) != self.sha256:
            raise ModelError(f"{self.folder / WEIGHTS} — is damaged: its SHA-256 is another one — {ANEW}")
        return load_file(str(self.folder / WEIGHTS))


def recalled(folder: Path, identity: Mapping[str, Any]) -> Training | None:
    """Return the training that a folder keeps, None where it is not finished.

    Raises ConfigError where it was one with other data or settings, ModelError where its record is damaged.

    >>> recalled(Path("nowhere"), {}) is None
    True
    """
    done = folder / DONE
    if not done.is_file():
        return None
    saved = read_sealed(done, ANEW)
    refuse_changes(saved["identity"], dict(identity), folder.parent)
    trained = Trained(**{**saved["trained"], "best_score": tuple(saved["trained"]["best_score"])})
    return Training(folder, trained, Plan(**saved["plan"]), saved["weights"], saved["facts"])


def keep(
    folder: Path, identity: Mapping[str, Any], done: tuple[Trained, Plan], weights: Mapping[str, Tensor], **facts: Any
) -> Training:
    """Write weights and record of a finished training, the record last, and delete its checkpoints.

    >>> keep(folder, run.identity, (trained, plan), model.state_dict())  # doctest: +SKIP
    """
    trained, plan = done
    write_tensors(folder / WEIGHTS, {name: x.contiguous() for name, x in weights.items()})
    digest = sha256(folder / WEIGHTS)
    told = {"trained": asdict(trained), "plan": asdict(plan), "weights": digest, "facts": facts}
    write_sealed(folder / DONE, {"identity": dict(identity), **told})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return Training(folder, trained, plan, digest, facts)
