"""[CLS] a [SEP], or [CLS] a [SEP] b [SEP]: special tokens, segments, and what is cut of a text that is too long.

The one place where this is decided: training, scoring and the linear probe all come through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.records import Encoding, Features, FloatArray, IntArray
from filbert.text.tokenizer import Tokenizer


def framed(
    encodings: Sequence[Encoding], tokenizer: Tokenizer, length: int, target: Any = None, *, head_only: bool = False
) -> Features:
    """Frame one text or two, at most `length` tokens with the special ones.

    One text that is too long keeps the first quarter and the last three (Sun et al. 2019), or its begin, with
    `head_only`. Of two the longer one is cut first, at its end, as `transformers` does ("longest_first").

    >>> tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])
    >>> row = framed(tokenizer.encode(["a b b b b b b b a a"]), tokenizer, length=8)
    >>> row.ids.tolist(), row.cut
    ([2, 5, 6, 6, 6, 5, 5, 3], 4)
    >>> pair = framed(tokenizer.encode(["a a", "b b b b"]), tokenizer, length=8)
    >>> pair.ids.tolist(), pair.segments.tolist(), pair.cut
    ([2, 5, 5, 3, 6, 6, 6, 3], [0, 0, 0, 0, 1, 1, 1, 1], 1)
    """
    texts = tuple(encoding.text for encoding in encodings)
    if len(encodings) == 1:
        ids, cut = _head_and_tail(encodings[0].ids, length - 2, head_only=head_only)
        whole = np.concatenate(([tokenizer.cls], ids, [tokenizer.sep])).astype(np.int32)
        return Features(whole, np.zeros(len(whole), dtype=np.int32), target, cut, texts=texts)
    a, b = (encoding.ids for encoding in encodings)
    left_a, left_b = longest_first(len(a), len(b), length - 3)
    cut = len(a) + len(b) - left_a - left_b
    whole = np.concatenate(([tokenizer.cls], a[:left_a], [tokenizer.sep], b[:left_b], [tokenizer.sep]))
    segments = np.repeat(np.array([0, 1], np.int32), [left_a + 2, left_b + 1])
    return Features(whole.astype(np.int32), segments, target, cut, texts=texts)


def special_tokens(texts: int) -> int:
    """Return how many tokens the frame adds to one text, or to two."""
    return texts + 1


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts stay: what does not fit is taken from the longer, then from both alike.

    >>> longest_first(2, 9, 8), longest_first(9, 9, 9), longest_first(3, 4, 9)
    ((2, 6), (4, 5), (3, 4))
    """
    if a + b <= room:
        return a, b
    short, long = min(a, b), max(a, b)
    if room - short >= short:
        long = room - short
    else:
        short, long = room // 2, room - room // 2
    return (short, long) if a <= b else (long, short)


def _head_and_tail(ids: IntArray, room: int, *, head_only: bool) -> tuple[IntArray, int]:
    cut = max(0, len(ids) - room)
    if cut:
        head = room if head_only else room // 4
        ids = np.concatenate((ids[:head], ids[len(ids) - (room - head) :]))
    return ids, cut


def only_window(outputs: Sequence[Sequence[FloatArray]] | FloatArray) -> FloatArray:
    """Return outputs_NO where each text is one window.

    >>> only_window([[np.array([0.5, 1.5])], [np.array([2.0, 0.0])]]).tolist()
    [[0.5, 1.5], [2.0, 0.0]]
    """
    found = np.asarray(outputs, dtype=np.float64)
    return found[:, 0] if len(found) else found.reshape(0, 0)
