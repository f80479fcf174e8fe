"""[CLS] question [SEP] a part of the text [SEP]: the windows that a long text is read in, and what stands in them.

    text   0 ················································ n
    windows  |<------ room ------>|
                     |<------ room ------>|          each begins `room - shared` later

Two neighbours share `stride` tokens, and as many as an answer may have less one, so that every answer that may be
given stands whole in one window at least. But they share no more than three quarters of a window, or each would begin
one token after the last one where answers are as long as a window (500 tokens in 388 windows).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from filbert.errors import counted
from filbert.records import Encoding, Example, Features, IntArray
from filbert.tasks.question_answering.settings import LONGEST, MOST, Answer, Settings
from filbert.text.tokenizer import Tokenizer

QUESTION = 64  # tokens of the longest question (Devlin et al. 2018); its end is cut, never the text

Target = tuple[Answer, ...]


def windows(
    encodings: Sequence[Encoding], target: Target | None, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the windows of a text, at most `length` tokens each, and where the first answer stands in each.

    The numeric target is (start, end), tokens counted from [CLS]; (0, 0), [CLS] itself, where the answer is not, or not
    whole, in the window.

    >>> tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "a", "b", "c"])
    >>> encodings = tokenizer.encode(["who", "a b c a"], offsets=True)
    >>> parts = windows(encodings, (Answer("c", 4),), tokenizer, Settings(stride=1, longest=2), 6)
    >>> [(part.ids.tolist(), part.begin, part.target.tolist()) for part in parts]
    [([2, 5, 3, 6, 7, 3], 0, [0, 0]), ([2, 5, 3, 7, 8, 3], 1, [4, 4]), ([2, 5, 3, 8, 6, 3], 2, [3, 3])]
    """
    question, context = encodings[0], encodings[-1]
    asked = question.ids[: min(QUESTION, max(0, (length - 3) // 2))]
    room = max(1, length - 3 - len(asked))
    place = None if target is None else token_span(context, target[0]) if target else (-1, -1)
    head = np.concatenate(([tokenizer.cls], asked, [tokenizer.sep]))
    found = []
    for begin in starts(len(context.ids), room, settings):
        part = context.ids[begin : begin + room]
        ids = np.concatenate((head, part, [tokenizer.sep])).astype(np.int32)
        segments = np.repeat(np.array([0, 1], np.int32), [len(head), len(part) + 1])
        inside = None if place is None else _inside(place, begin, len(part), len(head))
        found.append(Features(ids, segments, inside, len(question.ids) - len(asked), context, begin))
    return found


def starts(tokens: int, room: int, settings: Settings) -> Iterator[int]:
    """Yield which token of a text stands first in each window.

    >>> list(starts(10, 4, Settings(stride=2, longest=2))), list(starts(0, 4, Settings()))
    ([0, 2, 4, 6], [0])
    """
    shared = max(min(settings.stride, room // 2), min(settings.longest - 1, 3 * room // 4))
    begin = 0
    while True:
        yield begin
        if begin + room >= tokens:
            return
        begin += room - shared


def token_span(context: Encoding, answer: Answer) -> tuple[int, int]:
    """Return the first and the last token of a text that an answer touches; (-1, -1) where it touches none."""
    begins, ends = context.offsets[:, 0], context.offsets[:, 1]
    touched = np.flatnonzero((ends > answer.start) & (begins < answer.end) & (ends > begins))
    return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


def settle_pieces(
    train: Sequence[Example], encodings: Sequence[Sequence[Encoding]], settings: Settings
) -> tuple[Settings, list[str]]:
    """Return the settings with the longest answer to look for, so that 99 of 100 training answers can be given."""
    lengths = []
    for example, each in zip(train, encodings, strict=True):
        if example.target:
            first, last = token_span(each[-1], example.target[0])
            lengths.append(last + 1 - first)
    lengths.sort()
    longest = max(LONGEST, min(MOST, lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))]))
    beyond = sum(length > longest for length in lengths)
    longer = (
        f"; of {counted(len(lengths), 'training answer')} {beyond:,} are longer and cannot be given" if beyond else ""
    )
    return replace(settings, longest=longest), [f"answers of up to {longest} tokens are looked for{longer}"]


def _inside(place: tuple[int, int], begin: int, tokens: int, head: int) -> IntArray:
    start, end = place[0] - begin, place[1] - begin
    if place[0] < 0 or start < 0 or end >= tokens:
        return np.zeros(2, np.int32)
    return np.array([start + head, end + head], np.int32)
