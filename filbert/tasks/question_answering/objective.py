"""Cross-entropy of where the answer starts and of where it ends, among the tokens of its window (Devlin et al. 2018).

Shapes: T tokens in the batch (rows of no text may follow), B windows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def span_loss(logits_T2: Tensor, starts_B: Tensor, targets_B2: Tensor) -> Tensor:
    """Return the mean of both cross-entropies within each window, summed over the windows.

    >>> logits, starts = torch.zeros(5, 2), torch.tensor([0, 2, 5])
    >>> round(span_loss(logits, starts, torch.tensor([[0, 1], [2, 2]])).item(), 4)  # ln 2 + ln 3
    1.7918
    """
    lengths_B = starts_B.diff()
    rows_T2 = logits_T2[: int(starts_B[-1])]
    window_T = torch.repeat_interleave(torch.arange(len(lengths_B), device=rows_T2.device), lengths_B)
    with torch.no_grad():  # a shift leaves the loss as it is
        top_B2 = torch.segment_reduce(rows_T2.detach(), "max", lengths=lengths_B, axis=0)
    shifted_T2 = rows_T2 - top_B2[window_T]
    sums_B2 = torch.zeros_like(top_B2).index_add(0, window_T, shifted_T2.exp())
    right_B2 = shifted_T2.gather(0, starts_B[:-1, None] + targets_B2)
    return (sums_B2.log() - right_B2).sum() / 2


def span_loss_readable(logits_T2: Tensor, starts_B: Tensor, targets_B2: Tensor) -> Tensor:
    """Return the same window by window: what `span_loss` is tested against."""
    bounds = zip(starts_B[:-1].tolist(), starts_B[1:].tolist(), strict=True)
    windows = [logits_T2[begin:end] for begin, end in bounds]
    losses = [F.cross_entropy(rows_L2.T, target_2) for rows_L2, target_2 in zip(windows, targets_B2, strict=True)]
    return torch.stack(losses).sum()
