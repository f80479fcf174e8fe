"""Word vectors before any training: from which tokens stand near which, in one pass over the text.

Pairs at most eight tokens apart are counted, near ones weighing more → positive pointwise mutual information → the
largest singular values (Levy, Goldberg & Dagan 2015). Tokens used alike get vectors that point alike, which a random
start takes millions of tokens of training to find out. To bound memory, only the commonest tokens count as neighbours.

Shapes: V vocabulary, C tokens that count as neighbours, D width of a vector, N tokens of a block.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from filbert.records import FloatArray, IntArray

WINDOW = 8  # tokens to either side; one k tokens away weighs 1/k
CELLS = 1 << 26  # of the table of counts, at most: 256 MB
FEWEST = 5  # neighbours that a token must have been met with
SMOOTHING = 0.75  # of the neighbours' frequencies, so that rare ones do not stand out (Levy et al.)
EXTRA = 44  # more directions than are asked for, in the randomised decomposition (Halko et al. 2011)


def word_vectors(
    blocks: Iterable[tuple[IntArray, IntArray, float]], counts_V: FloatArray, width: int, seed: int = 0
) -> Tensor:
    """Return vectors_VD of length 1, and of zeros for tokens hardly met.

    Each block is ids_N, the number of each token's document, and how much the block weighs; `counts_V` say how often
    each token occurs. Where the text has fewer than D directions, the last numbers of a vector are 0.

    >>> ids = np.tile([0, 1, 2, 1], 9)  # 0 and 2 stand in the same places
    >>> vectors = word_vectors([(ids, np.zeros(36, int), 1.0)], np.bincount(ids), width=2)
    >>> vectors.shape, bool(vectors[0] @ vectors[2] > 0.95)
    (torch.Size([3, 2]), True)
    """
    table_VC = _mutual_information(_counted(blocks, counts_V))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        rank = min(width + EXTRA, *table_VC.shape)
        left_VR, values_R, _ = torch.svd_lowrank(table_VC, q=rank, niter=4)
    vectors_VR = left_VR[:, :width] * values_R[:width].sqrt()
    vectors_VR[table_VC.sum(1) == 0] = 0
    vectors_VD = torch.zeros(len(counts_V), width)
    vectors_VD[:, : vectors_VR.shape[1]] = torch.nn.functional.normalize(vectors_VR)
    return vectors_VD


def _counted(blocks: Iterable[tuple[IntArray, IntArray, float]], counts_V: FloatArray) -> Tensor:
    """Return how often each token meets each of the commonest, by weight; never across documents."""
    commonest_C = np.argsort(-counts_V, kind="stable")[: max(1, CELLS // len(counts_V))]
    columns_V = torch.full((len(counts_V),), -1, dtype=torch.int64)
    columns_V[torch.from_numpy(commonest_C)] = torch.arange(len(commonest_C))
    table_VC = torch.zeros(len(counts_V), len(commonest_C))
    for block_N, documents, weight in blocks:
        ids_N, documents_N = torch.from_numpy(block_N).long(), torch.from_numpy(documents)
        for apart in range(1, WINDOW + 1):
            together_N = documents_N[apart:] == documents_N[:-apart]
            left_N, right_N = ids_N[:-apart][together_N], ids_N[apart:][together_N]
            for token_N, neighbour_N in ((left_N, right_N), (right_N, left_N)):
                column_N = columns_V[neighbour_N]
                cells_N = (token_N * len(commonest_C) + column_N)[column_N >= 0]
                share = torch.tensor(weight / apart).expand(len(cells_N))
                table_VC.view(-1).scatter_add_(0, cells_N, share)
    return table_VC


def _mutual_information(table_VC: Tensor) -> Tensor:
    """Turn counts, in their place, into how much oftener than by chance two tokens meet: its logarithm, if positive."""
    met_V, smooth_C = table_VC.sum(1), table_VC.sum(0) ** SMOOTHING
    chance_C = smooth_C / smooth_C.sum().clamp_min(1e-9)
    table_VC.div_(met_V.clamp_min(1e-9)[:, None]).div_(chance_C.clamp_min(1e-30))
    table_VC.clamp_min_(1e-30).log_().clamp_min_(0.0)
    table_VC[met_V < FEWEST] = 0
    return table_VC
