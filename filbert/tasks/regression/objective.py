"""Squared error of the scaled number: both sides have mean 0 and spread 1 on the training texts."""

from __future__ import annotations

from torch import Tensor


def squared_error(scaled_B: Tensor, targets_B: Tensor) -> Tensor:
    """Return the squared error summed over the texts.

    >>> import torch
    >>> squared_error(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.0])).item()
    0.25
    """
    return ((scaled_B - targets_B) ** 2).sum()
