"""Binary cross-entropy, one question for each label, summed over the labels and weighed where that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(logits_BL: Tensor, targets_BL: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Return the mean over labels, summed over the texts; `weights` are for texts that have the label.

    >>> round(binary_cross_entropy(torch.zeros(2, 3), torch.tensor([[1, 0, 0], [0, 0, 0]])).item() / 2, 4)
    0.6931
    """
    weight_L = torch.tensor(weights, dtype=torch.float32, device=logits_BL.device) if weights else None
    loss = F.binary_cross_entropy_with_logits(logits_BL, targets_BL.float(), pos_weight=weight_L, reduction="sum")
    return loss / logits_BL.shape[1]
