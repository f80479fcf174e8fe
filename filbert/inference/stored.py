"""Texts stored in a model's manifest with the numbers it gave them: who opens the model can see that it still does.

The numbers are those people read, on a scale of 0 to 1 (`task.sureness`), so one bar holds for every task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return {"inputs": [list(each) for each in chosen], "numbers": numbers(engine, chosen)}


def texts_of(info: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the texts that a manifest holds.

    >>> texts_of({"stored": {"inputs": [["a"], ["b"]], "numbers": [[0.5], [0.25]]}})
    [('a',), ('b',)]
    """
    return [tuple(map(str, each)) for each in (info.get("stored") or {}).get("inputs") or ()]


def apart(engine: Engine) -> list[float]:
    """Answer the stored texts again and return for each the largest difference of a number to what was stored."""
    told, found = (engine.info.get("stored") or {}).get("numbers") or (), numbers(engine, texts_of(engine.info))
    differences = []
    for was, now in zip(told, found, strict=True):
        one, two = np.asarray(was, dtype=np.float64), np.asarray(now, dtype=np.float64)
        differences.append(float(np.abs(one - two).max()) if one.shape == two.shape else float("inf"))
    return differences


def replay(engine: Engine, precision: str = "fp32") -> int:
    """Answer the stored texts again and return how many there are; ModelError where a number differs."""
    bar, found = APART.get(precision, max(APART.values())), apart(engine)
    for number, difference in enumerate(found):
        if not difference <= bar:
            raise ModelError(
                f"filbert.json stored — text {number + 1} is answered otherwise than when the model was saved: "
                f"{difference:.2g} apart, at most {bar:g} in {precision} — restore the folder, or fit the model again"
            )
    return len(found)


def answers(engine: Engine, predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the cells of each prediction that are an answer: labels, texts, places; no probabilities or numbers."""
    kinds = engine.task.columns(engine.settings)
    rows = [engine.task.row(each, engine.settings) for each in predictions]
    return [{name: cell for name, cell in row.items() if kinds[name] != "float"} for row in rows]


def numbers(engine: Engine, inputs: Sequence[tuple[str, ...]]) -> list[Any]:
    """Return the numbers that people read of each example, rounded as they are stored."""
    if not inputs:
        return []
    windows = engine.features(inputs)
    found = engine.task.sureness(engine.outputs(windows), engine.settings, windows)[0]
    return [np.asarray(each, dtype=np.float64).round(7).tolist() for each in found]
