"""A linear model blended with BERT: on the outputs, before a task decodes them; the one place for all engines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filbert.linear.blend import Blend
from filbert.records import Features
from filbert.tasks.task import Outputs


def blended(blend: Blend | None, bert: Outputs, windows: Sequence[Sequence[Features]]) -> Outputs:
    """Return the outputs of BERT and the linear model together, where each text is one window; without one BERT's.

    Numbers behind the task's outputs, those for a detector of unknown texts, stay as they are.

    >>> blended(None, [[np.array([0.5])]], [])
    [[array([0.5])]]
    """
    if blend is None:
        return bert
    rows_NO, own = np.asarray(bert)[:, 0], len(blend.linear.linear.bias_C)
    both_NO = blend.outputs(rows_NO[:, :own], [each[0].texts for each in windows])
    return np.concatenate((both_NO, rows_NO[:, own:]), axis=1)[:, None]
