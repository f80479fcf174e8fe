"""The sentences of a document and its windows: whole sentences, each with a [CLS] and a [SEP] of its own.

    [CLS] first [SEP] [CLS] second [SEP] …        segments 0 0 0 1 1 1 … (Liu 2019), a mark on each [CLS]

A document that is too long stands in as few windows as can be, of lengths as even as can be; every sentence is in
exactly one of them. A sentence that is longer than a window is cut at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from filbert.records import Encoding, Features, FloatArray, IntArray
from filbert.text import sentences as cuts
from filbert.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sentence:
    """Where a sentence stands in its document: code points, and word pieces."""

    begin: int
    end: int
    first: int
    last: int
    """The piece after its last one."""

    @property
    def pieces(self) -> int:
        """How many word pieces it has."""
        return self.last - self.first


def split(text: str) -> tuple[str, ...]:
    """Return the sentences of a text.

    >>> split("She left.He stayed.")
    ('She left.', 'He stayed.')
    """
    return tuple(cuts.split(text))


def gap(before: str, after: str) -> str:
    r"""Return what stands between two sentences of a summary: a line break after one without a stop, as headlines are;
    else a blank, but none beside Chinese, and nothing at the summary's ends.

    >>> gap("It rose.", "It fell."), gap("它增长了。", "下降了。"), gap("Rates rise", "It fell."), gap("", "It fell.")
    (' ', '', '\n', '')
    """
    if not (before and after):
        return ""
    if not cuts.stopped(before):
        return "\n"
    return "" if cuts.unspaced(before[-1]) or cuts.unspaced(after[0]) else " "


def sentences_of(encoding: Encoding) -> list[Sentence]:
    """Return the sentences that have word pieces; where none has, the text as one.

    A piece belongs to the sentence in which it begins.
    """
    begins_P = encoding.offsets[:, 0]
    found = []
    for begin, end in cuts.spans(encoding.text):
        first, last = np.searchsorted(begins_P, (begin, end)).tolist()
        if last > first:
            found.append(Sentence(begin, end, first, last))
    return found or [Sentence(0, len(encoding.text), 0, len(encoding.ids))]


def texts_of(encoding: Encoding) -> tuple[list[Sentence], list[str]]:
    """Return the sentences of a document, and the text of each."""
    found = sentences_of(encoding)
    return found, [encoding.text[each.begin : each.end] for each in found]


def windows_of(
    encoding: Encoding, tokenizer: Tokenizer, length: int, target_S: FloatArray | None = None
) -> list[Features]:
    """Return the windows of a document, at most `length` tokens each, and the part of the target that each has.

    >>> tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "."])
    >>> (encoding,) = tokenizer.encode(["A b. B a. A a."], offsets=True)
    >>> [window.ids.tolist() for window in windows_of(encoding, tokenizer, 10)]
    [[2, 5, 6, 7, 3, 2, 6, 5, 7, 3], [2, 5, 5, 7, 3]]
    """
    found = sentences_of(encoding)
    made = []
    for begin, end in grouped([min(each.pieces, length - 2) + 2 for each in found], length):
        part_S = None if target_S is None else target_S[begin:end]
        made.append(replace(_window(encoding, tokenizer, found[begin:end], length, part_S), marked=begin))
    return made


def _window(
    encoding: Encoding, tokenizer: Tokenizer, chosen: Sequence[Sentence], length: int, target_S: FloatArray | None
) -> Features:
    ids: list[IntArray] = []
    counts, cut = [], 0
    for each in chosen:
        kept = min(each.pieces, length - 2)
        pieces = encoding.ids[each.first : each.first + kept]
        ids.append(np.concatenate(([tokenizer.cls], pieces, [tokenizer.sep])).astype(np.int32))
        counts.append(kept + 2)
        cut += each.pieces - kept
    marks = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int32)
    segments = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.int32)
    return Features(np.concatenate(ids), segments, target_S, cut, source=encoding, begin=chosen[0].first, marks=marks)


def grouped(tokens: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Return neighbours that share a window: as few windows as can be, and the longest of them as short as can be.

    >>> grouped([4, 4, 4, 4, 4], 16)
    [(0, 3), (3, 5)]
    """
    fewest = len(_filled(tokens, length))
    low, high = max(tokens), length
    while low < high:
        middle = (low + high) // 2
        if len(_filled(tokens, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return _filled(tokens, high)


def _filled(tokens: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Fill one window after the other."""
    found, begin, used = [], 0, 0
    for i, count in enumerate(tokens):
        if i > begin and used + count > length:
            found.append((begin, i))
            begin, used = i, 0
        used += count
    return [*found, (begin, len(tokens))]


def alone(encoding: Encoding, tokenizer: Tokenizer, length: int) -> list[Features]:
    """Return each sentence in a window of its own, as encoders of sentences read them."""
    found = []
    for each in sentences_of(encoding):
        window = _window(encoding, tokenizer, [each], length, None)
        found.append(Features(window.ids, window.segments, cut=window.cut, source=encoding, begin=each.first))
    return found
