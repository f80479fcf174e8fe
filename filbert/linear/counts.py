"""How often each run of units stands in a text, hashed: the features of a linear model, of texts or of pairs.

Units are numbers: word pieces, hashed words, code points. A run of 1 to n of them falls into one of 2^22 buckets, so
memory does not grow with the vocabulary. For a pair of texts the features are those of each, what they share, what they
do not, and how similar they are.

Shapes: N texts, U units of a text, K features found in them (all texts end to end), S similarities, B buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.hashing import mix64
from filbert.records import FloatArray
from filbert.text.tokenizer import grouped

BITS = 22
BUCKETS = 2**BITS  # IMDb has 1.5 M different words and pairs
PAIR_BITS = BITS - 2  # of each of the four parts of a pair's features
SIMILARITIES = 3  # of a pair
BATCH_TEXTS = 2_000  # hashed at once …
BATCH_UNITS = 2_000_000  # … of at most so many units, but for a single longer text

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Feature counts of texts: text n has the distinct features `buckets_K[starts[n]:starts[n + 1]]`."""

    starts: Ints
    buckets_K: npt.NDArray[np.int32]
    counts_K: npt.NDArray[np.int32]
    similar_NS: FloatArray | None = None
    """Of pairs: the cosine of their counts, the Jaccard index, the ratio of their lengths."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def matrix(self) -> Any:
        """Return the counts as scipy's sparse matrix, N × B; to fit with, not to predict."""
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # scikit-learn's own

        return csr_matrix((self.counts_K.astype(np.float32), self.buckets_K, self.starts), shape=(len(self), BUCKETS))


def count_runs(texts: Sequence[npt.NDArray[Any]], longest: int, bits: int = BITS) -> Counts:
    """Count the runs of 1 to `longest` units in texts, each an array of numbers below 2^32.

    >>> counts = count_runs([np.array([7, 8, 7]), np.array([], np.int32)], 3)
    >>> counts.starts.tolist(), sorted(counts.counts_K.tolist())
    ([0, 5, 5], [1, 1, 1, 1, 2])
    """
    starts, buckets, counts = [np.zeros(1, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for part in grouped(texts, len, BATCH_UNITS, BATCH_TEXTS):
        text_T = np.repeat(np.arange(len(part)), [len(units) for units in part])
        key_K, count_K = np.unique(_keys(part, text_T, longest, bits), return_counts=True)
        many_N = np.bincount(key_K >> bits, minlength=len(part))
        starts.append(starts[-1][-1] + np.cumsum(many_N))
        buckets.append((key_K & ((1 << bits) - 1)).astype(np.int32))
        counts.append(count_K.astype(np.int32))
    return Counts(np.concatenate(starts), np.concatenate(buckets), np.concatenate(counts))


def _keys(texts: Sequence[npt.NDArray[Any]], text_T: Ints, longest: int, bits: int) -> Ints:
    """Return text · buckets + bucket of every run of units."""
    units_T = np.concatenate(texts).astype(np.uint64)
    run, keys = np.zeros(len(units_T), np.uint64), [np.empty(0, np.int64)]
    for many in range(1, longest + 1):
        last = len(units_T) - many + 1
        if last <= 0:
            break
        run = mix64(run[:last] ^ (units_T[many - 1 :] + np.uint64(many << 32)))
        inside = text_T[:last] == text_T[many - 1 :]
        keys.append((text_T[:last][inside] << bits) + (run[inside] >> np.uint64(64 - bits)).astype(np.int64))
    return np.concatenate(keys)


def count_pairs(first: Sequence[npt.NDArray[Any]], second: Sequence[npt.NDArray[Any]], longest: int) -> Counts:
    """Count the runs in pairs of texts: in the first, in the second, in both, and in one more often.

    >>> found = count_pairs([np.array([7, 8])], [np.array([7])], 1)
    >>> len(found.buckets_K), found.similar_NS.round(2).tolist()
    (5, [[0.71, 0.5, 0.5]])
    """
    both = [count_runs(texts, longest, PAIR_BITS) for texts in (first, second)]
    keys = [(np.repeat(np.arange(len(each)), np.diff(each.starts)) << PAIR_BITS) + each.buckets_K for each in both]
    key_K = np.union1d(*keys)
    one_K, two_K = (np.zeros(len(key_K), np.int64) for _ in both)
    for count_K, key, each in zip((one_K, two_K), keys, both, strict=True):
        count_K[np.searchsorted(key_K, key)] = each.counts_K
    text_K, bucket_K = key_K >> PAIR_BITS, key_K & ((1 << PAIR_BITS) - 1)
    parts = one_K, two_K, np.minimum(one_K, two_K), np.abs(one_K - two_K)
    whole = [
        ((text_K << BITS) + (place << PAIR_BITS) + bucket_K)[part > 0] for place, part in enumerate(parts)
    ]  # a part has a quarter of the buckets
    key_M, count_M = np.concatenate(whole), np.concatenate([part[part > 0] for part in parts])
    order = np.argsort(key_M, kind="stable")
    key_M = key_M[order]
    starts = np.concatenate(([0], np.cumsum(np.bincount(key_M >> BITS, minlength=len(first)))))
    buckets = (key_M & (BUCKETS - 1)).astype(np.int32)
    similar = _similarities(text_K, one_K.astype(np.float64), two_K.astype(np.float64), len(first))
    return Counts(starts, buckets, count_M[order].astype(np.int32), similar)


def _similarities(text_K: Ints, one_K: FloatArray, two_K: FloatArray, texts: int) -> FloatArray:
    """Return of each pair cosine, Jaccard index and ratio of lengths, N × 3."""

    def summed(values_K: FloatArray) -> FloatArray:
        return np.bincount(text_K, values_K, minlength=texts).astype(np.float64)

    lengths = np.sqrt(summed(one_K * one_K)) * np.sqrt(summed(two_K * two_K))
    shared, one, two = summed(np.minimum(one_K, two_K)), summed(one_K), summed(two_K)
    cosine = summed(one_K * two_K) / np.maximum(lengths, 1e-9)
    jaccard = shared / np.maximum(one + two - shared, 1e-9)
    ratio = np.minimum(one, two) / np.maximum(np.maximum(one, two), 1e-9)
    return np.stack((cosine, jaccard, ratio), axis=1)
