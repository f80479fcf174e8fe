"""A base model that is asked as it is: no labels, no training; what its vectors are good for is a task's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from filbert.bases.find import find_base
from filbert.bases.load import open_base_parts
from filbert.errors import ConfigError
from filbert.inference.engine import Engine
from filbert.inference.model import Model
from filbert.model.device import best_device
from filbert.tasks.task import Task


def untrained(
    base: str | None,
    task: Task,
    settings_of: Callable[[int], Any],
    *,
    texts: Sequence[str] = (),
    device: str | None = None,
) -> tuple[Engine, str]:
    """Return an engine on a base's own vectors, and which base was taken and why; None: by the texts' language.

    `settings_of` makes the task's settings of the width of the vectors. Raises ConfigError for a random start,
    ModelError where the base is missing, damaged or unsafe.
    """
    where = best_device(device)
    found = find_base(base, texts_sample=texts, device=where)
    if found.folder is None:
        raise ConfigError(f"base {found.name} — has random weights, which know nothing — choose minilm or filbert-mini")
    parts = open_base_parts(found.folder)
    settings = settings_of(parts.config.hidden)
    model = Model(
        task,
        settings,
        parts.config,
        parts.weights,
        task.head(settings),
        {},
        parts.tokenizer,
        parts.config.max_positions,
        {"columns": {"inputs": [[]], "target": []}},
    )
    return Engine(model, device=where), f"base {found.name} — {found.reason}"
