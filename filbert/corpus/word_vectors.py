"""Initial word vectors from co-occurrence counts, in one pass over the text.

Pairs of tokens within a window of eight are counted, near ones with a larger weight → positive pointwise mutual
information → truncated SVD (Levy, Goldberg & Dagan 2015). Tokens used alike get similar vectors, which random
embeddings need millions of training tokens to learn. To bound memory, only the commonest tokens are context tokens.

Shapes: V vocabulary, C context tokens, D width of a vector, N tokens of a block.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from filbert.records import FloatArray, IntArray

WINDOW = 8  # tokens to either side; one k tokens away has weight 1/k
CELLS = 1 << 26  # of the table of counts, at most: 256 MB
MIN_COUNT = 5  # weighted co-occurrences of a token, or its vector is zero
SMOOTHING = 0.75  # exponent of the context frequencies, against the bias of PMI to rare tokens (Levy et al.)
OVERSAMPLING = 44  # further dimensions in the randomised SVD (Halko et al. 2011)


def word_vectors(
    blocks: Iterable[tuple[IntArray, IntArray, float]], counts_V: FloatArray, width: int, seed: int = 0
) -> Tensor:
    """Return vectors_VD of norm 1, and of zeros for tokens with fewer than MIN_COUNT co-occurrences.

    A block is ids_N, the number of each token's document, and the block's weight; `counts_V` are token counts. Where
    the table has a rank below D, the last components of a vector are 0.

    >>> ids = np.tile([0, 1, 2, 1], 9)  # 0 and 2 occur in the same contexts
    >>> vectors = word_vectors([(ids, np.zeros(36, int), 1.0)], np.bincount(ids), width=2)
    >>> vectors.shape, bool(vectors[0] @ vectors[2] > 0.95)
    (torch.Size([3, 2]), True)
    """
    table_VC = _mutual_information(_counted(blocks, counts_V))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        rank = min(width + OVERSAMPLING, *table_VC.shape)
        left_VR, values_R, _ = torch.svd_lowrank(table_VC, q=rank, niter=4)
    vectors_VR = left_VR[:, :width] * values_R[:width].sqrt()
    vectors_VR[table_VC.sum(1) == 0] = 0
    vectors_VD = torch.zeros(len(counts_V), width)
    vectors_VD[:, : vectors_VR.shape[1]] = torch.nn.functional.normalize(vectors_VR)
    return vectors_VD


def _counted(blocks: Iterable[tuple[IntArray, IntArray, float]], counts_V: FloatArray) -> Tensor:
    """Return the weighted co-occurrence counts of each token with the commonest ones, inside documents."""
    commonest_C = np.argsort(-counts_V, kind="stable")[: max(1, CELLS // len(counts_V))]
    columns_V = torch.full((len(counts_V),), -1, dtype=torch.int64)
    columns_V[torch.from_numpy(commonest_C)] = torch.arange(len(commonest_C))
    table_VC = torch.zeros(len(counts_V), len(commonest_C))
    for block_N, documents, weight in blocks:
        ids_N, documents_N = torch.from_numpy(block_N).long(), torch.from_numpy(documents)
        for distance in range(1, WINDOW + 1):
            together_N = documents_N[distance:] == documents_N[:-distance]
            left_N, right_N = ids_N[:-distance][together_N], ids_N[distance:][together_N]
            for token_N, neighbour_N in ((left_N, right_N), (right_N, left_N)):
                column_N = columns_V[neighbour_N]
                cells_N = (token_N * len(commonest_C) + column_N)[column_N >= 0]
                share = torch.tensor(weight / distance).expand(len(cells_N))
                table_VC.view(-1).scatter_add_(0, cells_N, share)
    return table_VC


def _mutual_information(table_VC: Tensor) -> Tensor:
    """Replace co-occurrence counts, in place, by positive pointwise mutual information."""
    total_V, smoothed_C = table_VC.sum(1), table_VC.sum(0) ** SMOOTHING
    chance_C = smoothed_C / smoothed_C.sum().clamp_min(1e-9)
    table_VC.div_(total_V.clamp_min(1e-9)[:, None]).div_(chance_C.clamp_min(1e-30))
    table_VC.clamp_min_(1e-30).log_().clamp_min_(0.0)
    table_VC[total_V < MIN_COUNT] = 0
    return table_VC
