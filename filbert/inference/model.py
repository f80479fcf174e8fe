"""Open a finished model: its task, settings, weights and tokenizer. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filbert import tasks
from filbert.config import EncoderConfig
from filbert.errors import ModelError
from filbert.folder.open import Arrays, head_arrays, open_model_parts
from filbert.linear.blend import Blend
from filbert.linear.cascade import Cascade
from filbert.linear.detector import Detector
from filbert.model.head import Head
from filbert.tasks.task import Task
from filbert.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Model:
    """A finished model in memory, ready for `scorer_of`."""

    task: Task
    settings: Any  # of the task
    config: EncoderConfig
    weights: Arrays  # the encoder's
    head: Head
    arrays: Arrays  # the head's
    tokenizer: Tokenizer
    max_length: int
    info: dict[str, Any]  # filbert.json, or {} where the folder has none
    cascade: Cascade | None = None
    blend: Blend | None = None
    detector: Detector | None = None
    folder: Path | None = None
    """Where it was opened; None for one made in memory."""


def open_model(folder: str | Path) -> Model:
    """Open a run folder, or any BERT classifier of a task known here, after checking that its parts belong together.

    Raises ModelError naming what is missing, damaged, foreign or inconsistent.

    >>> open_model("runs/reviews").task.NAME  # doctest: +SKIP
    'single-label'
    """
    parts = open_model_parts(folder)
    task = tasks.of_folder(parts.info, parts.fields, str(folder))
    try:
        settings = task.reopen(parts.info, parts.fields)
    except ValueError as error:
        raise ModelError(f"{folder}/{error}") from None
    head = task.head(settings)
    arrays = head_arrays(parts.base, head, folder)
    if parts.cascade is not None and (task.CASCADE or len(parts.cascade.linear.bias_C) != head.outputs):
        raise ModelError(f"{folder} — its cascade does not belong to this model — restore the folder")
    if parts.blend is not None and (task.BLEND or len(parts.blend.linear.linear.bias_C) != head.outputs):
        raise ModelError(f"{folder} — its blend does not belong to this model — restore the folder")
    detector = parts.detector
    if detector is not None and (task.UNKNOWN or detector.directions_KD.shape[1] != parts.base.config.hidden):
        raise ModelError(f"{folder} — what tells unknown texts does not belong to this model — restore the folder")
    base = parts.base
    return Model(
        task,
        settings,
        base.config,
        base.weights,
        head,
        arrays,
        base.tokenizer,
        parts.max_length,
        parts.info,
        parts.cascade,
        parts.blend,
        detector,
        Path(folder),
    )
