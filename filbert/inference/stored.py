"""Texts stored in a model's manifest with the numbers it gave them: who opens the model can see that it still does.

The numbers are those people read, on a scale of 0 to 1 (`task.sureness`), so one bar holds for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.errors import ModelError
from filbert.inference.engine import Engine
from filbert.records import Prediction

STORED = 32
LONGEST = 20_000  # characters of a text that is stored
APART = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.05}  # most a number may differ; "auto" is one of the two faster ones


def stored(engine: Engine, inputs: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Return up to 32 of these texts, none of them very long, with the numbers that the model gives them."""
    chosen = [each for each in inputs if sum(map(len, each)) <= LONGEST][:STORED]
    return {"inputs": [list(each) for each in chosen], "numbers": _numbers(engine, chosen)}


def replay(engine: Engine, precision: str = "fp32") -> int:
    """Answer the stored texts again and return how many there are; ModelError where a number differs."""
    told = engine.info.get("stored") or {}
    inputs = [tuple(map(str, each)) for each in told.get("inputs") or ()]
    found = _numbers(engine, inputs)
    bar = APART.get(precision, max(APART.values()))
    for number, (was, now) in enumerate(zip(told.get("numbers") or (), found, strict=True)):
        one, two = np.asarray(was, dtype=np.float64), np.asarray(now, dtype=np.float64)
        apart = float(np.abs(one - two).max()) if one.shape == two.shape else float("inf")
        if not apart <= bar:
            raise ModelError(
                f"filbert.json stored — text {number + 1} is answered otherwise than when the model was saved: "
                f"{apart:.2g} apart, at most {bar:g} in {precision} — restore the folder, or fit the model again"
            )
    return len(inputs)


def answers(engine: Engine, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the cells of each prediction that are an answer: labels, texts, places; no probabilities or numbers."""
    kinds = engine.task.columns(engine.settings)
    rows = [engine.task.row(each, engine.settings) for each in predictions]
    return [{name: cell for name, cell in row.items() if kinds[name] != "float"} for row in rows]


def _numbers(engine: Engine, inputs: Sequence[tuple[str, ...]]) -> list[Any]:
    if not inputs:
        return []
    windows = engine.features(inputs)
    numbers = engine.task.sureness(engine.outputs(windows), engine.settings, windows)[0]
    return [np.asarray(each, dtype=np.float64).round(7).tolist() for each in numbers]
