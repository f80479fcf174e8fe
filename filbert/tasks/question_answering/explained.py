"""What can be explained of an answer: why it begins and ends where it does, and why there is one at all.

Shapes: L tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filbert.errors import shown
from filbert.records import Features, FloatArray
from filbert.tasks.question_answering.candidates import candidates
from filbert.tasks.question_answering.outputs import NO_ANSWER, says_none
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.task import Quantity

ANSWER = "answer"


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return the answer's logits of start and end less the mean of the text's tokens, and "no answer" in its window."""
    whole = candidates(outputs, windows, settings)
    spans = [candidates([part], [window], settings) for part, window in zip(outputs, windows, strict=True)]
    none = int(np.argmin([float(part[0].sum()) for part in outputs]))
    found = [
        Quantity(NO_ANSWER, "the logits of [CLS], which stand for no answer,", _factors(outputs, windows, none), none)
    ]
    if whole.spans:
        best = max(range(len(spans)), key=lambda w: spans[w].scores_K[0] if spans[w].spans else -np.inf)
        begin, end = whole.place(0)
        meaning = f"the logits of start and end of {shown(whole.source.text[begin:end], 60)}"
        factors_L2 = _factors(outputs, windows, best, whole.spans[0])
        found.insert(1 if says_none(whole, settings) else 0, Quantity(ANSWER, meaning, factors_L2, best))
    return found


def _factors(
    outputs: Sequence[FloatArray], windows: Sequence[Features], number: int, span: tuple[int, int] | None = None
) -> FloatArray:
    """Return 1 for start and end of a span, or for [CLS], less the mean over the tokens of the text in a window."""
    window, factors_L2 = windows[number], np.zeros(outputs[number].shape)
    head = int(window.segments.argmax())
    tokens = len(window) - 1 - head
    factors_L2[head:-1] = -1.0 / max(tokens, 1)
    rows = (0, 0) if span is None else (head + span[0] - window.begin, head + span[1] - window.begin)
    for column, row in enumerate(rows):
        factors_L2[row, column] += 1.0
    return factors_L2
