"""Which windows of a long text decided its answer, where the outputs of windows are averaged (model/head.py).

The answer is explained by a sum of outputs (the task's `quantities`: a logit, or its lead over the next), which is the
weighted mean of what it is in each window.

Shapes: W windows of a text, O outputs of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.model.head import average
from filbert.records import Encoding, Evidence, Features, FloatArray
from filbert.tasks.task import Task


def evidence(
    task: Task, settings: Any, rows: Sequence[FloatArray], windows: Sequence[Features], pieces: Sequence[Encoding]
) -> tuple[Evidence, ...]:
    """Return the windows of one text, of which `rows` were averaged, the one that decided most first."""
    own = task.head(settings).outputs  # behind them may stand others, for a detector of unknown texts
    outputs_O, weights_W = average(np.asarray(rows, dtype=np.float64))
    answer = task.quantities([outputs_O[:own]], settings, windows)[0]
    answers_W = [weight * answer.of(row[:own]) for weight, row in zip(weights_W.tolist(), rows, strict=True)]
    found = []
    for weight, share, window in zip(weights_W.tolist(), answers_W, windows, strict=True):
        part = next(i for i, each in enumerate(pieces) if each is window.source)
        offsets = pieces[part].offsets
        place = int(offsets[window.begin, 0]), int(offsets[window.end - 1, 1])
        found.append(Evidence(part, *place, weight, share))
    sign = np.sign(sum(answers_W)) or 1.0
    return tuple(sorted(found, key=lambda each: -sign * each.answer))
