"""Training texts of pre-training: documents → pairs of spans for next sentence prediction, or single spans without it.

    shards (memory-mapped ids) → Pool → plan of an epoch: one row of token ranges for each training text

As in the original (Devlin et al. 2018, appendix A.2): a text is as many consecutive sentences as fit, split in two at a
sentence; half of the second spans are replaced by one from another document. Otherwise no text crosses documents.
Nothing is tokenised, masked or packed here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray, IntArray

if TYPE_CHECKING:  # takes 0.2 s to import, and fill mask does not need it
    from filbert.corpus.shards import Shards

Long = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHORT = 0.1  # share of texts of a random, shorter length, so that the model is trained on all lengths
RANDOM_NEXT = 0.5  # share of pairs whose second span is from another document
BLOCK_TOKENS = 250_000  # of a block, about, to bound memory
BLOCK = 100_000  # texts held as tuples before they become an array, which takes an eighth of the memory
HELD_OUT_TOKENS = 200_000  # of a corpus, at most, and at most a hundredth of it


class Row(NamedTuple):
    """One training text: tokens [a, a_end) and, for a pair, [b, b_end), as positions in the pool."""

    a: int
    a_end: int
    b: int
    b_end: int
    other: int  # 1 where the second span is from another document


@dataclass(frozen=True)
class Corpus:
    """One corpus of the pool: offsets of sentences and documents, which documents are excluded, and its weight."""

    sentences_S: Long
    documents_D: Long
    duplicate_D: Mask  # documents that an earlier corpus of the pool also has: left out
    held_out_D: Mask
    weight: float

    def chosen(self, *, held_out: bool = False) -> Long:
        """Return the numbers of the documents that are trained on, or of those held out."""
        return np.flatnonzero((self.held_out_D == held_out) & ~self.duplicate_D)


class Pool:
    """Token shards of one or several corpora as one sequence of ids, and the plan of each epoch's texts."""

    def __init__(self, shards: Sequence[Shards], weights: Sequence[float] | None = None) -> None:
        self.shards = shards
        sizes = [len(each.ids_T) for each in shards]
        self.offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._corpora = []
        for each, duplicate_D, weight in zip(shards, _duplicates(shards), weights or [1.0] * len(shards), strict=True):
            held_D = _held_out(each, ~duplicate_D)
            self._corpora.append(Corpus(each.sentences_S, each.documents_D, duplicate_D, held_D, weight))

    @property
    def repeated(self) -> int:
        """Number of documents left out because an earlier corpus has them, too."""
        return sum(int(each.duplicate_D.sum()) for each in self._corpora)

    def take(self, places_N: Long) -> tuple[IntArray, Mask]:
        """Return the ids at positions of the pool, and whether each begins a word."""
        if len(self.shards) == 1:
            one = self.shards[0]
            return one.ids_T[places_N].astype(np.int32), one.begins_T[places_N] != 0
        ids_N, begins_N = np.empty(len(places_N), np.int32), np.empty(len(places_N), np.bool_)
        which_N = np.searchsorted(self.offsets, places_N, side="right") - 1
        for number, each in enumerate(self.shards):
            mine = which_N == number
            local = places_N[mine] - self.offsets[number]
            ids_N[mine], begins_N[mine] = each.ids_T[local], each.begins_T[local] != 0
        return ids_N, begins_N

    def tokens(self, *, held_out: bool = False) -> int:
        """Return the number of tokens of an epoch, by the corpora's weights; or of those held out."""
        total = 0.0
        for each in self._corpora:
            chosen_D = each.chosen(held_out=held_out)
            total += float(_lengths(each)[chosen_D].sum()) * (1.0 if held_out else each.weight)
        return int(total)

    @property
    def documents(self) -> int:
        """Number of documents that are trained on."""
        return sum(len(each.chosen()) for each in self._corpora)

    def counts(self, vocabulary: int) -> FloatArray:
        """Return each token's count in an epoch, by the corpora's weights, without held-out documents."""
        counts_V = np.zeros(vocabulary)
        for ids_N, _, weight in self.blocks():
            counts_V += weight * np.bincount(ids_N, minlength=vocabulary)
        return counts_V

    def blocks(self, limit: float = float("inf")) -> Iterator[tuple[IntArray, IntArray, float]]:
        """Yield the training documents in blocks: ids_N, each token's document, and the weight of the corpus.

        Where there are more than `limit` tokens, every second document is taken, or every third, and so on.
        """
        total = sum(int(_lengths(each)[each.chosen()].sum()) for each in self._corpora)
        step = max(1, math.ceil(total / limit))
        for shards, corpus in zip(self.shards, self._corpora, strict=True):
            bounds_D = np.asarray(shards.sentences_S)[np.asarray(shards.documents_D)]
            used_D = corpus.chosen()[::step]
            lengths_D = bounds_D[used_D + 1] - bounds_D[used_D]
            block_D = np.cumsum(lengths_D) // BLOCK_TOKENS
            for part_D in np.split(np.arange(len(used_D)), np.flatnonzero(np.diff(block_D)) + 1):
                ids = [shards.ids_T[bounds_D[d] : bounds_D[d + 1]] for d in used_D[part_D].tolist()]
                ids_N = np.concatenate([np.empty(0, np.int32), *ids]).astype(np.int32)
                documents_N = np.repeat(used_D[part_D], lengths_D[part_D]).astype(np.int32)
                for begin in range(0, len(ids_N), BLOCK_TOKENS):
                    block = slice(begin, begin + BLOCK_TOKENS)
                    yield ids_N[block], documents_N[block], corpus.weight

    def plan(
        self,
        length: int,
        *,
        pairs: bool,
        seed: int,
        epoch: int,
        held_out: bool = False,
        portion: tuple[int, int] = (0, 1),
    ) -> Long:
        """Return the texts of an epoch, (N, 5) with the fields of Row, shuffled. `length` includes [CLS] and [SEP].

        `portion=(2, 8)` plans only the third of eight equal random parts of the documents.
        """
        tables = [np.empty((0, 5), np.int64)]
        for number, corpus in enumerate(self._corpora):
            rng = random.Random(f"{seed} {epoch} {number} {length}")
            for whole in _passes(corpus, rng, held_out=held_out):
                documents = _portion(whole, (seed, epoch, number), *portion)
                make = _pairs(corpus, documents, length - 3, rng) if pairs else _spans(corpus, documents, length - 2)
                while some := list(islice(make, BLOCK)):
                    table_N5 = np.array(some, dtype=np.int64)
                    table_N5[:, :2] += self.offsets[number]
                    table_N5[table_N5[:, 3] > 0, 2:4] += self.offsets[number]
                    tables.append(table_N5)
        whole_N5 = np.concatenate(tables)
        return whole_N5[np.random.default_rng((seed, epoch, length, portion[0])).permutation(len(whole_N5))]


def _lengths(of: Corpus | Shards) -> Long:
    """Return the tokens of each document."""
    return np.diff(np.asarray(of.sentences_S)[np.asarray(of.documents_D)])


def _duplicates(shards: Sequence[Shards]) -> Iterator[Mask]:
    """Yield for each corpus which of its documents an earlier corpus has, too, by a 64-bit hash of their ids."""
    seen = np.empty(0, np.uint64)
    for each in shards:
        count = len(each.documents_D) - 1
        if len(shards) == 1:
            yield np.zeros(count, np.bool_)
            return
        bounds = np.asarray(each.sentences_S)[np.asarray(each.documents_D)].tolist()
        keys = (blake2b(each.ids_T[a:b].astype("<i4").tobytes(), digest_size=8).digest() for a, b in pairwise(bounds))
        keys_D = np.frombuffer(b"".join(keys), "<u8")
        yield np.isin(keys_D, seen)
        seen = np.union1d(seen, keys_D)


def _held_out(shards: Shards, usable_D: Mask) -> Mask:
    """Choose the held-out documents: a hundredth of the tokens, 200,000 at most, always the same.

    Where every document is longer than that, the shortest one is held out; a single document is trained on.
    """
    lengths_D = _lengths(shards)
    order_D = np.random.default_rng(0).permutation(len(lengths_D))
    order_D = order_D[usable_D[order_D]]
    held_D = np.zeros(len(lengths_D), np.bool_)
    limit = min(HELD_OUT_TOKENS, lengths_D[order_D].sum() / 100)
    fitting_D = order_D[lengths_D[order_D] <= limit]
    held_D[fitting_D[np.cumsum(lengths_D[fitting_D]) <= limit]] = True
    if not held_D.any() and len(order_D) > 1:
        held_D[order_D[lengths_D[order_D].argmin()]] = True
    return held_D


def _passes(corpus: Corpus, rng: random.Random, *, held_out: bool) -> Iterator[IntArray]:
    """Yield the documents of each pass of an epoch: with weight 2.5 all of them twice, then a random half."""
    kept_D = corpus.chosen(held_out=held_out).astype(np.int32)
    weight = 1.0 if held_out else corpus.weight
    for _ in range(int(weight)):
        yield kept_D
    if rest := weight - int(weight):
        yield kept_D[sorted(rng.sample(range(len(kept_D)), round(rest * len(kept_D))))]


def _portion(documents: IntArray, seed: tuple[int, ...], number: int, of: int) -> IntArray:
    """Choose one of `of` equal shares of documents, at random, in their order."""
    if of == 1:
        return documents
    return np.sort(np.random.default_rng(seed).permutation(documents)[number::of])


def _spans(corpus: Corpus, documents: IntArray, room: int) -> Iterator[Row]:
    """Yield spans of consecutive sentences of one document, as many as fit; a longer sentence is split."""
    for document in documents:
        starts = _starts(corpus, document)
        begin = end = starts[0]
        for after in starts[1:]:
            if after - begin > room and end > begin:
                yield Row(begin, end, 0, 0, 0)
                begin = end
            while after - begin > room:
                yield Row(begin, begin + room, 0, 0, 0)
                begin += room
            end = after
        if end > begin:
            yield Row(begin, end, 0, 0, 0)


def _starts(corpus: Corpus, document: int | np.int32) -> list[int]:
    """Return the start of each sentence of a document, and the end of the last one."""
    bounds: list[int] = corpus.documents_D[document : document + 2].tolist()
    starts: list[int] = corpus.sentences_S[bounds[0] : bounds[1] + 1].tolist()
    return starts


def _pairs(corpus: Corpus, documents: IntArray, room: int, rng: random.Random) -> Iterator[Row]:
    """Yield pairs of spans: consecutive in a document or, half of the time, the second one from another document."""
    for number, document in enumerate(documents):
        starts, first = _starts(corpus, document), 0
        end = len(starts) - 1
        while first < end:
            target = rng.randint(2, room) if rng.random() < SHORT else room
            last = first + 1
            while last < end and starts[last] - starts[first] < target:
                last += 1
            middle = rng.randint(first + 1, max(first + 1, last - 1))
            a, follows = (starts[first], starts[middle]), middle < last
            if len(documents) > 1 and (not follows or rng.random() < RANDOM_NEXT):
                other = number
                while other == number:
                    other = int(rng.random() * len(documents))
                b = _random_span(_starts(corpus, documents[other]), max(1, target - (a[1] - a[0])), rng)
                yield Row(*_truncated(a, b, room, rng), 1)
                first = middle  # the sentences that were replaced are used again
            elif follows:
                yield Row(*_truncated(a, (starts[middle], starts[last]), room, rng), 0)
                first = last
            else:
                yield Row(a[0], min(a[1], a[0] + room), 0, 0, 0)
                first = last


def _random_span(starts: list[int], wanted: int, rng: random.Random) -> tuple[int, int]:
    """Return a span from a random sentence on, of as many sentences as make `wanted` tokens, if there are enough."""
    last = len(starts) - 1
    sentence = rng.randint(0, last - 1)
    begin, sentence = starts[sentence], sentence + 1
    while sentence < last and starts[sentence] - begin < wanted:
        sentence += 1
    return begin, starts[sentence]


def _truncated(a: tuple[int, int], b: tuple[int, int], room: int, rng: random.Random) -> tuple[int, int, int, int]:
    """Truncate the longer span, randomly from its start or its end, until both fit, as Devlin et al.'s code does."""
    long_a, long_b = a[1] - a[0], b[1] - b[0]
    if (excess := long_a + long_b - room) > 0:
        keep_a = min(long_a, max(room - long_b, room - room // 2))
        keep_b = min(long_b, room - keep_a)
        cut_a, cut_b = (round(rng.random() * cut) for cut in (long_a - keep_a, long_b - keep_b))
        assert excess <= long_a - keep_a + long_b - keep_b
        a, b = (a[0] + cut_a, a[0] + cut_a + keep_a), (b[0] + cut_b, b[0] + cut_b + keep_b)
    return (*a, *b)
