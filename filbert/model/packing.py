"""Pack texts end to end in one row, without padding, under a token budget.

Inside a batch texts are sorted by length, so that attention can group texts of similar length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from filbert.errors import out_of_memory
from filbert.records import Features, IntArray, Marks, PackedBatch

Found = TypeVar("Found")
TOKENS = 8192  # of a batch for scoring: enough for full speed on two cores, about 200 MB at MiniLM's width


def pack(features: Sequence[Features], order: Sequence[int] | IntArray | None = None) -> PackedBatch:
    """Pack the features at the indices `order` (all, if None) end to end, shortest first.

    >>> a = Features(np.array([2, 9, 9, 3]), np.zeros(4, np.int32))
    >>> b = Features(np.array([2, 7, 3]), np.zeros(3, np.int32))
    >>> batch = pack([a, b]); batch.starts_B.tolist(), batch.order_B.tolist()
    ([0, 3, 7], [1, 0])
    """
    chosen = np.arange(len(features)) if order is None else np.asarray(order)
    lengths = np.array([len(features[int(i)]) for i in chosen])
    by_length = np.argsort(lengths, kind="stable")
    chosen, lengths = chosen[by_length], lengths[by_length]
    rows = [features[int(i)] for i in chosen]
    starts_B = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    targets = [row.target for row in rows]
    marks = _marks(rows, starts_B)
    return PackedBatch(
        ids_T=np.concatenate([row.ids for row in rows]),
        positions_T=(np.arange(starts_B[-1]) - np.repeat(starts_B[:-1], lengths)).astype(np.int32),
        segments_T=np.concatenate([row.segments for row in rows]),
        starts_B=starts_B,
        order_B=chosen.astype(np.int32),
        targets_B=None if any(t is None for t in targets) else _stacked(targets, joined=marks is not None),
        marks=marks,
    )


def pack_texts(texts: Sequence[Sequence[Features]], order: Sequence[int] | IntArray) -> PackedBatch:
    """Pack all windows of the texts at the indices `order`; the targets are one of each text, in that order.

    >>> a = Features(np.array([2, 9, 9, 3]), np.zeros(4, np.int32), 1)
    >>> b = Features(np.array([2, 7, 3]), np.zeros(3, np.int32), 0)
    >>> batch = pack_texts([[a, b], [b]], [1, 0]); batch.texts_B.tolist(), batch.targets_B.tolist()
    ([0, 1, 1], [0, 1])
    """
    chosen = [texts[int(i)] for i in order]
    batch = pack([window for each in chosen for window in each])
    owner_B = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(each) for each in chosen])
    targets = [each[0].target for each in chosen]
    return replace(
        batch,
        order_B=np.asarray(order, dtype=np.int32),
        texts_B=owner_B[batch.order_B],
        targets_B=None if any(t is None for t in targets) else _stacked(targets, joined=False),
    )


def _marks(rows: Sequence[Features], starts_B: IntArray) -> Marks | None:
    """Return the marked rows of the batch; None where a text has no marks."""
    found = [row.marks for row in rows if row.marks is not None]
    if len(found) < len(rows):
        return None
    counts = [len(marks) for marks in found]
    return Marks(
        rows_M=(np.concatenate(found) + np.repeat(starts_B[:-1], counts)).astype(np.int32),
        starts_B=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
        places_M=np.concatenate([row.marked + np.arange(n) for row, n in zip(rows, counts, strict=True)]).astype(
            np.int32
        ),
    )


def _stacked(targets: Sequence[Any], *, joined: bool) -> npt.NDArray[Any]:
    """Return the targets as one array, concatenated if `joined`: integers as int32, others as float32."""
    found_B = np.concatenate(targets) if joined else np.array(targets)
    return found_B.astype(np.int32 if found_B.dtype.kind in "iub" else np.float32)


def by_budget(lengths: Sequence[int] | IntArray, budget: int) -> Iterator[IntArray]:
    """Yield groups of indices, shortest texts first, each of at most `budget` tokens (or one longer text)."""
    lengths_N = np.asarray(lengths)
    order = np.argsort(lengths_N, kind="stable").astype(np.int32)
    yield from split_by_budget(order, lengths_N[order], budget)


def split_by_budget(order: IntArray, lengths: Sequence[int] | IntArray, budget: int) -> Iterator[IntArray]:
    """Split `order` into consecutive parts of at most `budget` tokens each; `lengths` are those of `order`.

    >>> [part.tolist() for part in split_by_budget(np.array([4, 0, 7]), [5, 5, 3], budget=10)]
    [[4, 0], [7]]
    """
    begin = total = 0
    for n, length in enumerate(map(int, lengths)):
        if n > begin and total + length > budget:
            yield order[begin:n]
            begin, total = n, 0
        total += length
    if begin < len(order):
        yield order[begin:]


def scored(
    groups: Iterable[IntArray | list[int]], score: Callable[[IntArray | list[int]], Found]
) -> Iterator[tuple[IntArray | list[int], Found]]:
    """Yield each group of texts with what `score` returns for it; where memory runs out, its halves, one text at least.

    >>> [found for _, found in scored([[0, 1, 2]], sum)]
    [3]
    """
    for group in groups:
        left = [group]
        while left:
            part = left.pop()
            try:
                found = score(part)
            except (MemoryError, RuntimeError) as error:
                if len(part) == 1 or not out_of_memory(error):
                    raise
                half = len(part) // 2
                left += [part[half:], part[:half]]
                continue
            yield part, found


def shuffled(count: int, seed: int, epoch: int) -> IntArray:
    """Return the order of an epoch: a permutation that depends on seed and epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)
