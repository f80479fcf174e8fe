"""What pre-training trains on: documents → pairs of spans for next sentence prediction, or single spans without it.

    shards (memory-mapped ids) → Pool → plan of an epoch: one row of token ranges for each training text

As in the original (Devlin et al. 2018, appendix A.2): a text is as many neighbouring sentences as fit, cut in two at a
sentence; half of the second parts come from elsewhere. No text holds tokens of two documents, but for those.
Nothing is tokenised, masked or packed here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filbert.data.shards import Shards
from filbert.records import IntArray

Long = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHORT = 0.1  # share of texts made shorter than need be, so that the model meets all lengths
OTHER = 0.5  # share of second parts that come from another document
HELD_OUT_TOKENS = 200_000  # of a corpus at most, and a hundredth of it


class Row(NamedTuple):
    """One training text: tokens [a, a_end) and, of a pair, [b, b_end), as positions in the pool."""

    a: int
    a_end: int
    b: int
    b_end: int
    other: int  # 1 where the second part comes from another document


@dataclass(frozen=True)
class Corpus:
    """One source of the pool: where its sentences stand, which documents are kept apart, how often it is read."""

    sentences_S: Long
    documents_D: Long
    held_out_D: Mask
    weight: float


class Pool:
    """Token shards of one or several corpora as one row of ids, and the texts that an epoch makes of them."""

    def __init__(self, shards: Sequence[Shards], weights: Sequence[float] | None = None) -> None:
        self._shards = shards
        sizes = [len(each.ids_T) for each in shards]
        self.offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._corpora = [
            Corpus(np.asarray(each.sentences_S) + offset, np.asarray(each.documents_D), _held_out(each), weight)
            for each, offset, weight in zip(shards, self.offsets[:-1], weights or [1.0] * len(shards), strict=True)
        ]

    def take(self, places_N: Long) -> tuple[IntArray, Mask]:
        """Return the ids at places of the pool, and whether each begins a word."""
        if len(self._shards) == 1:
            one = self._shards[0]
            return one.ids_T[places_N].astype(np.int32), one.begins_T[places_N] != 0
        ids_N, begins_N = np.empty(len(places_N), np.int32), np.empty(len(places_N), np.bool_)
        which_N = np.searchsorted(self.offsets, places_N, side="right") - 1
        for number, each in enumerate(self._shards):
            mine = which_N == number
            local = places_N[mine] - self.offsets[number]
            ids_N[mine], begins_N[mine] = each.ids_T[local], each.begins_T[local] != 0
        return ids_N, begins_N

    def tokens(self, *, held_out: bool = False) -> int:
        """Tokens of a pass over the corpora, by their weights; or those held out."""
        total = 0.0
        for each in self._corpora:
            lengths_D = np.diff(each.sentences_S[each.documents_D])
            total += float(lengths_D[each.held_out_D == held_out].sum()) * (1.0 if held_out else each.weight)
        return int(total)

    def plan(self, length: int, *, pairs: bool, seed: int, epoch: int, held_out: bool = False) -> Long:
        """Return the texts of an epoch, (N, 5), shuffled: the fields of Row. `length` counts [CLS] and [SEP]."""
        rows: list[Row] = []
        for number, corpus in enumerate(self._corpora):
            draw = random.Random(f"{seed} {epoch} {number} {length}")
            for documents in _passes(corpus, draw, held_out=held_out):
                make = _pairs(corpus, documents, length - 3, draw) if pairs else _spans(corpus, documents, length - 2)
                rows.extend(make)
        table_N5 = np.array(rows, dtype=np.int64).reshape(-1, 5)
        return table_N5[np.random.default_rng((seed, epoch, length)).permutation(len(table_N5))]


def _held_out(shards: Shards) -> Mask:
    """Choose documents that are never trained on: a hundredth of the tokens, 200,000 at most, of two or more one."""
    lengths_D = np.diff(np.asarray(shards.sentences_S)[np.asarray(shards.documents_D)])
    order_D = np.random.default_rng(0).permutation(len(lengths_D))
    limit = min(HELD_OUT_TOKENS, lengths_D.sum() / 100)
    held_D = np.zeros(len(lengths_D), np.bool_)
    held_D[order_D[np.cumsum(lengths_D[order_D]) <= limit]] = True
    if len(held_D) > 1:
        held_D[order_D[0]] = True  # a small corpus still needs something to measure on
    return held_D


def _passes(corpus: Corpus, draw: random.Random, *, held_out: bool) -> Iterator[list[int]]:
    """Yield the documents of each pass an epoch makes: weight 2.5 is two passes and a half of the documents."""
    kept: list[int] = np.flatnonzero(corpus.held_out_D == held_out).tolist()
    weight = 1.0 if held_out else corpus.weight
    for _ in range(int(weight)):
        yield kept
    if rest := weight - int(weight):
        yield sorted(draw.sample(kept, round(rest * len(kept))))


def _spans(corpus: Corpus, documents: list[int], room: int) -> Iterator[Row]:
    """Neighbouring sentences of one document, as many as fit; a sentence that does not fit is cut."""
    starts, bounds = corpus.sentences_S.tolist(), corpus.documents_D.tolist()
    for document in documents:
        begin = end = starts[bounds[document]]
        for sentence in range(bounds[document], bounds[document + 1]):
            after = starts[sentence + 1]
            if after - begin > room and end > begin:
                yield Row(begin, end, 0, 0, 0)
                begin = end
            while after - begin > room:
                yield Row(begin, begin + room, 0, 0, 0)
                begin += room
            end = after
        if end > begin:
            yield Row(begin, end, 0, 0, 0)


def _pairs(corpus: Corpus, documents: list[int], room: int, draw: random.Random) -> Iterator[Row]:
    """Two spans each: neighbours in a document or, half of the time, the second one from another document."""
    starts, bounds = corpus.sentences_S.tolist(), corpus.documents_D.tolist()
    for document in documents:
        first, end = bounds[document], bounds[document + 1]
        while first < end:
            target = draw.randint(2, room) if draw.random() < SHORT else room
            last = first + 1
            while last < end and starts[last] - starts[first] < target:
                last += 1
            middle = draw.randint(first + 1, max(first + 1, last - 1))
            a, follows = (starts[first], starts[middle]), middle < last
            if len(documents) > 1 and (not follows or draw.random() < OTHER):
                wanted = max(1, target - (a[1] - a[0]))
                other = document
                while other == document:
                    other = documents[int(draw.random() * len(documents))]
                b = _some(starts, bounds[other], bounds[other + 1], wanted, draw)
                yield Row(*_fitted(a, b, room, draw), 1)
                first = middle  # what the other document's sentences replaced is used again
            elif follows:
                yield Row(*_fitted(a, (starts[middle], starts[last]), room, draw), 0)
                first = last
            else:
                yield Row(a[0], min(a[1], a[0] + room), 0, 0, 0)
                first = last


def _some(starts: list[int], first: int, last: int, wanted: int, draw: random.Random) -> tuple[int, int]:
    """Return `wanted` tokens or a little more, from a random one of the sentences first … last - 1 on."""
    sentence = draw.randint(first, last - 1)
    begin, sentence = starts[sentence], sentence + 1
    while sentence < last and starts[sentence] - begin < wanted:
        sentence += 1
    return begin, starts[sentence]


def _fitted(a: tuple[int, int], b: tuple[int, int], room: int, draw: random.Random) -> tuple[int, int, int, int]:
    """Cut the longer part, at random from its front or its end, until both fit (Devlin et al.'s code does the same)."""
    long_a, long_b = a[1] - a[0], b[1] - b[0]
    if (excess := long_a + long_b - room) > 0:
        keep_a = min(long_a, max(room - long_b, room - room // 2))
        keep_b = min(long_b, room - keep_a)
        front_a, front_b = (round(draw.random() * cut) for cut in (long_a - keep_a, long_b - keep_b))
        assert excess <= long_a - keep_a + long_b - keep_b
        a, b = (a[0] + front_a, a[0] + front_a + keep_a), (b[0] + front_b, b[0] + front_b + keep_b)
    return (*a, *b)
