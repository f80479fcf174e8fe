"""Cross-entropy (Devlin et al. 2018, §4.1), weighed by class where that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits_BC: Tensor, targets_B: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Return the cross-entropy summed over the texts; a target is the number of a class, or a probability of each.

    >>> round(cross_entropy(torch.zeros(3, 2), torch.tensor([0, 1, 1])).item() / 3, 4)  # a coin tossed
    0.6931
    """
    weight_C = torch.tensor(weights, dtype=torch.float32, device=logits_BC.device) if weights else None
    if targets_B.ndim == 1:
        targets_B = targets_B.long()
    return F.cross_entropy(logits_BC, targets_B, weight_C, reduction="sum")
