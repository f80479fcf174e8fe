"""The loss, in a file of its own because it alone needs torch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(logits_BQ: Tensor, above_BQ: Tensor) -> Tensor:
    """Return the mean over the questions, summed over the texts.

    >>> import torch
    >>> round(binary_cross_entropy(torch.zeros(1, 3), torch.tensor([[1.0, 1.0, 0.0]])).item(), 4)
    0.6931
    """
    loss = F.binary_cross_entropy_with_logits(logits_BQ, above_BQ, reduction="sum")
    return loss / logits_BQ.shape[1]
