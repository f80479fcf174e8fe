"""Is this sentence part of the summary? The loss of yes-or-no answers, one for each sentence of a window."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sentence_loss(logits_M: Tensor, targets_M: Tensor, counts_B: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a window's sentences, summed over the windows.

    `counts_B` says how many sentences each window has. A window weighs the same whatever that is; so a document of
    several windows weighs as many times as it has windows.

    >>> import torch
    >>> round(sentence_loss(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([2, 1])).item(), 4)
    1.3863
    """
    loss_M = F.binary_cross_entropy_with_logits(logits_M, targets_M, reduction="none")
    return (loss_M / counts_B.repeat_interleave(counts_B)).sum()
