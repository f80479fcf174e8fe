"""Mask tokens for masked language modelling, and pack the batch (Devlin et al. 2018, §3.1).

The masked tokens are chosen by a hash of seed, epoch, the text's number and the token's position. So they do not depend
on the batch or the number of processes, and differ in each epoch (dynamic masking, Liu et al. 2019).

Shapes: T tokens in the batch, B texts, E tokens that may be masked, W words, M masked tokens, N anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from filbert.corpus.pool import Long, Mask, Pool
from filbert.hashing import splitmix64
from filbert.records import PackedBatch
from filbert.text.tokenizer import SPECIALS, Tokenizer

MASKED, RANDOM = 0.8, 0.1  # shares of the chosen tokens that become [MASK], or a random token; the rest is not changed
LIMIT = 4096  # tokens of a text, at most: the hash of token i of text n is that of n · LIMIT + i
IGNORED = -1  # target of a text that is not a pair

Uniform = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Masking:
    """How tokens are masked."""

    rate: float = 0.15
    """Share of the tokens that are predicted."""
    whole_words: bool = False
    """Mask all pieces of a word together (whole word masking)."""
    vocabulary: int = 0
    """Size of the vocabulary, from which random tokens are sampled."""
    mask: int = 4
    """Id of [MASK]."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, rate: float, whole_words: bool) -> Masking:
        """Return the masking for a tokenizer's vocabulary."""
        return cls(rate, whole_words, len(tokenizer), tokenizer.mask)


def features(
    pool: Pool, rows_N5: Long, numbers_N: Long, *, tokenizer: Tokenizer, masking: Masking, key: int
) -> PackedBatch:
    """Pack [CLS] A [SEP] B [SEP] of each row, shortest first, and mask tokens.

    The targets for next sentence prediction are 0 where B follows A and 1 where it does not, as in the paper's code;
    IGNORED where there is no B. The masks depend on `numbers_N`, the texts' numbers in their epoch, and on `key`, which
    is made of seed and epoch.
    """
    a_N, b_N = rows_N5[:, 1] - rows_N5[:, 0], rows_N5[:, 3] - rows_N5[:, 2]
    order_B = np.argsort(a_N + b_N + (b_N > 0), kind="stable")
    rows_B5, numbers_B, a_B, b_B = rows_N5[order_B], numbers_N[order_B], a_N[order_B], b_N[order_B]
    pair_B = b_B > 0
    starts_B = np.concatenate(([0], np.cumsum(a_B + 2 + np.where(pair_B, b_B + 1, 0))))
    firsts_B, total = starts_B[:-1], int(starts_B[-1])
    ids_T, begins_T = np.full(total, tokenizer.sep, np.int32), np.ones(total, np.bool_)
    words_T, segments_T = np.zeros(total, np.bool_), np.zeros(total, np.int32)
    ids_T[firsts_B] = tokenizer.cls
    slots = np.concatenate((_ranges(firsts_B + 1, a_B), _ranges(firsts_B + a_B + 2, b_B)))
    ids_T[slots], begins_T[slots] = pool.take(
        np.concatenate((_ranges(rows_B5[:, 0], a_B), _ranges(rows_B5[:, 2], b_B)))
    )
    words_T[slots] = True
    segments_T[_ranges(firsts_B + a_B + 2, np.where(pair_B, b_B + 1, 0))] = 1
    lengths_B = np.diff(starts_B)
    plain = PackedBatch(
        ids_T=ids_T,
        positions_T=(np.arange(total) - np.repeat(firsts_B, lengths_B)).astype(np.int32),
        segments_T=segments_T,
        starts_B=starts_B.astype(np.int32),
        order_B=order_B.astype(np.int32),
        targets_B=np.where(pair_B, rows_B5[:, 4], IGNORED).astype(np.int32),
    )
    return mask_tokens(plain, words_T, begins_T, numbers_B, masking=masking, key=key)


def _ranges(firsts_N: Long, counts_N: Long) -> Long:
    """Return first, first + 1, … (count of them) for each of N, one after another.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before_N = np.cumsum(counts_N) - counts_N
    return np.asarray(np.arange(int(counts_N.sum())) + np.repeat(firsts_N - before_N, counts_N), np.int64)


def mask_tokens(
    batch: PackedBatch, words_T: Mask, begins_T: Mask, numbers_B: Long, *, masking: Masking, key: int
) -> PackedBatch:
    """Choose a share of each text's tokens, at least one: 80 % become [MASK], 10 % a random token, 10 % stay unchanged.

    `words_T` marks the tokens that may be chosen: all but the special ones. With whole words `begins_T` says where a
    word begins; words are taken in random order until the next one would exceed the share.
    """
    places_E = np.flatnonzero(words_T)
    text_E = np.repeat(np.arange(len(numbers_B)), np.diff(batch.starts_B))[places_E]
    slot_E = numbers_B[text_E] * LIMIT + batch.positions_T[places_E]
    begins_E = np.ones(len(places_E), np.bool_)
    if masking.whole_words:
        begins_E = (
            begins_T[places_E] | ~words_T[places_E - 1]
        )  # the first token after [CLS] or [SEP] begins a word, too
    word_E, first_W = np.cumsum(begins_E) - 1, np.flatnonzero(begins_E)
    text_W, size_W = text_E[first_W], np.bincount(word_E)
    order_W = np.lexsort((uniform(slot_E[first_W], key, 0), text_W))
    within_W = np.cumsum(size_W[order_W])
    tokens_B = np.bincount(text_E, minlength=len(numbers_B))
    within_W -= (np.cumsum(tokens_B) - tokens_B)[text_W[order_W]]  # pieces of the same text up to and with this word
    share_B = np.maximum(1, np.rint(masking.rate * tokens_B))
    first_of_text_W = np.concatenate(([True], np.diff(text_W[order_W]) != 0))  # taken even if it exceeds the share
    chosen_W = np.zeros(len(first_W), np.bool_)
    chosen_W[order_W] = (within_W <= share_B[text_W[order_W]]) | first_of_text_W
    chosen_E = chosen_W[word_E]
    masked_M, slot_M = places_E[chosen_E], slot_E[chosen_E]
    originals_M = batch.ids_T[masked_M]
    choice_M = uniform(slot_M, key, 1)
    ordinary = masking.vocabulary - len(SPECIALS)
    random_M = len(SPECIALS) + (uniform(slot_M, key, 2) * ordinary).astype(np.int32)
    input_M = np.where(choice_M < MASKED, masking.mask, np.where(choice_M < MASKED + RANDOM, random_M, originals_M))
    ids_T = batch.ids_T.copy()
    ids_T[masked_M] = input_M
    return replace(batch, ids_T=ids_T, masked_M=masked_M.astype(np.int32), originals_M=originals_M)


def uniform(numbers_N: Long, key: int, stream: int) -> Uniform:
    """Return a pseudo-random number in [0, 1) for each of N: a hash of number, key and stream.

    >>> uniform(np.array([7, 8]), key=0, stream=0).round(3).tolist()
    [0.891, 0.807]
    """
    seed = np.random.SeedSequence((key, stream)).generate_state(1, np.uint64)[0]
    bits_N = splitmix64(numbers_N, int(seed))
    return np.asarray((bits_N >> np.uint64(11)).astype(np.float64) * 2.0**-53)
