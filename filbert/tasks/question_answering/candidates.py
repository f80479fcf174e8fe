"""Which spans of a text may be its answer, and how probable each is: from the head's outputs to candidates.

Shapes: L tokens of a window, S starts, J tokens after a start, K candidates of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filbert.records import BREAK, Encoding, Features, FloatArray
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.task import Outputs, Windows

Tokens = npt.NDArray[np.int64]

BEST = 20  # candidates of a window and of a text, as in Devlin et al. 2018


@dataclass(frozen=True)
class Candidates:
    """The best spans of one text, best first."""

    scores_K: FloatArray
    """Logit of the start plus logit of the end."""
    spans: tuple[tuple[int, int], ...]
    """First and last token of the text."""
    null: float
    """What [CLS] scores: the least over the windows, as each must find no answer (Devlin et al. 2018)."""
    source: Encoding

    def lead_of_null(self) -> float:
        """Return by how much "no answer" scores higher than the best span; infinite where there is no span."""
        return self.null - float(self.scores_K[0]) if len(self.spans) else float("inf")

    def place(self, number: int) -> tuple[int, int]:
        """Return where a candidate begins and ends in the text, in code points."""
        first, last = self.spans[number]
        return int(self.source.offsets[first, 0]), int(self.source.offsets[last, 1])

    def text(self, number: int) -> str:
        """Return a candidate as the text has it."""
        begin, end = self.place(number)
        return self.source.text[begin:end]

    def probabilities(self, settings: Settings, temperature: float = 1.0) -> FloatArray:
        """Return the probability of each candidate; the last one is that of no answer, 0 where that is never said."""
        null = self.null - settings.threshold if settings.unanswerable or not len(self.spans) else -np.inf
        all_K = np.append(self.scores_K, null) / temperature
        powers_K = np.exp(all_K - all_K.max())
        return np.asarray(powers_K / powers_K.sum(), dtype=np.float64)


def all_candidates(outputs: Outputs, windows: Windows, settings: Settings) -> list[Candidates]:
    """Return the candidates of each text."""
    return [candidates(each, parts, settings) for each, parts in zip(outputs, windows, strict=True)]


def candidates(outputs: Sequence[FloatArray], windows: Sequence[Features], settings: Settings) -> Candidates:
    """Return the best spans over all windows of a text; one that stands in two of them has its better score.

    None runs across a BREAK (U+2029), which parts the passages of a search.

    >>> source = Encoding(np.array([7, 8]), np.array([[0, 2], [3, 5]]), "my hat")
    >>> window = Features(np.array([2, 5, 3, 7, 8, 3]), np.array([0, 0, 0, 1, 1, 1]), source=source)
    >>> found = candidates([np.array([[1, 1], [9, 9], [9, 9], [2, 0], [0, 3], [9, 9]])], [window], Settings())
    >>> found.text(0), found.scores_K.tolist(), found.null
    ('my ha', [5.0, 3.0, 2.0], 2.0)
    """
    scores, firsts, lasts, null = [], [], [], np.inf
    for logits_L2, window in zip(outputs, windows, strict=True):
        score_K, first_K, last_K = _best(logits_L2, window, settings.longest)
        scores.append(score_K)
        firsts.append(first_K + window.begin)
        lasts.append(last_K + window.begin)
        null = min(null, float(logits_L2[0, 0] + logits_L2[0, 1]))
    score_K, first_K, last_K = np.concatenate(scores), np.concatenate(firsts), np.concatenate(lasts)
    order_K = np.lexsort((last_K, first_K, -score_K))
    spans: dict[tuple[int, int], float] = {}
    for i in order_K.tolist():
        spans.setdefault((int(first_K[i]), int(last_K[i])), float(score_K[i]))
        if len(spans) == BEST:
            break
    source = windows[0].source
    assert source is not None
    return Candidates(np.array(list(spans.values()), dtype=np.float64), tuple(spans), null, source)


def _best(logits_L2: FloatArray, window: Features, longest: int) -> tuple[FloatArray, Tokens, Tokens]:
    """Return score, first and last token, counted from the window's first, of its best spans: `BEST`, or all."""
    head = int(window.segments.argmax())
    start_S, end_S = np.asarray(logits_L2[head:-1], dtype=np.float64).T
    tokens = len(start_S)
    if not tokens:
        nothing = np.empty(0)
        return nothing, nothing.astype(np.int64), nothing.astype(np.int64)
    width = min(longest, tokens)
    padded = np.concatenate((end_S, np.full(width - 1, -np.inf)))
    scores_SJ = start_S[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    if window.source is not None and BREAK in window.source.text:
        scores_SJ[_crossing(window.source, window.begin, tokens, width)] = -np.inf
    flat = scores_SJ.ravel()
    count = min(BEST, int(np.isfinite(flat).sum()))
    chosen = np.argpartition(-flat, count - 1)[:count] if count < len(flat) else np.arange(len(flat))
    first_K, more_K = np.divmod(chosen, width)
    return flat[chosen], first_K, first_K + more_K


def _crossing(source: Encoding, begin: int, tokens: int, width: int) -> npt.NDArray[np.bool_]:
    """Return which spans of a window, S × J, run across a BREAK."""
    breaks = [i for i, character in enumerate(source.text) if character == BREAK]
    part_S = np.searchsorted(breaks, source.offsets[begin : begin + tokens, 0])
    padded = np.concatenate((part_S, np.full(width - 1, len(breaks) + 1)))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width) != part_S[:, None])
