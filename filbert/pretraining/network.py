"""The pre-training model: an encoder with an MLM head and an NSP head, and their losses.

Shapes: T tokens in the batch, B texts, M masked tokens, R rows (some of M, or of T), V vocabulary, D hidden width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert.model.attention import Chosen, Spans
from filbert.model.encoder import Encoder, Linear, initialise, linear_gelu, sinusoids
from filbert.model.native_training import cross_entropy_in_place, supported
from filbert.pretraining.masking import IGNORED
from filbert.records import FloatArray, IntArray, PackedBatch


class PreTrainer(nn.Module):
    """An encoder with an MLM head, tied to the token embeddings, and an NSP head on [CLS]."""

    def __init__(self, encoder: Encoder, generator: torch.Generator | None = None, *, pairs: bool = True) -> None:
        super().__init__()
        width = encoder.config.hidden
        self.encoder = encoder
        self.transform = Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, encoder.config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))
        self.pooler = Linear(width, width)
        self.next = Linear(width, 2)
        for part in (self.transform, self.transform_norm, self.pooler, self.next):
            initialise(part, generator)
        self.pooler.requires_grad_(pairs)
        self.next.requires_grad_(pairs)

    @torch.no_grad()
    def init_output_bias(self, counts_V: FloatArray) -> None:
        """Set the bias of the MLM head to the logarithm of each token's frequency in the corpora."""
        chances_V = (counts_V + 1) / (counts_V.sum() + len(counts_V))
        self.bias.copy_(torch.from_numpy(np.log(chances_V)))

    @torch.no_grad()
    def init_embeddings(self, vectors_VD: Tensor) -> None:
        """Set the token embeddings to word vectors of norm 1, and learned positions to sinusoids of norm 1.

        A token whose word vector is zero keeps its random embedding, scaled to norm 1. With sinusoids, positions the
        same distance apart differ by the same rotation, so what one position learns of its neighbours holds at all.
        """
        table_VD, place_PD = self.encoder.embeddings.token.weight, self.encoder.embeddings.position.weight
        found_V1 = vectors_VD.any(1, keepdim=True)
        table_VD.copy_(torch.where(found_V1, vectors_VD, F.normalize(table_VD)))
        if self.encoder.config.position == "learned":
            place_PD.copy_(F.normalize(sinusoids(*place_PD.shape)))

    def forward(
        self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, masked_M: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return token_MD, the input of `token_logits` for the masked rows, and the NSP logits next_B2 in fp32."""
        chosen = Chosen.of(spans, masked_M)
        hidden_RD = self.encoder(ids_T, positions_T, segments_T, spans, chosen=chosen)
        token_MD = self.transform_norm(linear_gelu(self.transform, hidden_RD.index_select(0, chosen.others_M)))
        pooled_BD = torch.tanh(self.pooler(hidden_RD.index_select(0, chosen.first_B).float()))
        return token_MD, self.next(pooled_BD)

    def token_logits(self, token_MD: Tensor) -> Tensor:
        """Return logits_MV over the vocabulary, in fp32, for masked tokens."""
        return F.linear(token_MD, self.encoder.embeddings.token.weight, self.bias.to(token_MD.dtype)).float()


def loss(model: PreTrainer, token_MD: Tensor, next_B2: Tensor, originals_M: Tensor, targets_B: Tensor) -> Tensor:
    """Return the MLM loss summed over masked tokens, and the NSP loss summed over pairs."""
    table_VD, bias_V = model.encoder.embeddings.token.weight, model.bias.to(token_MD.dtype)
    mlm = vocabulary_loss(token_MD, table_VD, bias_V, originals_M)
    return torch.stack((mlm, F.cross_entropy(next_B2, targets_B, ignore_index=IGNORED, reduction="sum")))


def vocabulary_loss_readable(token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
    """Return the cross-entropy over the vocabulary, summed over masked tokens: the definition."""
    return F.cross_entropy(F.linear(token_MD, table_VD, bias_V).float(), targets_M, reduction="sum")


def vocabulary_loss(token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
    """Return the same with less memory: logits and their gradient are computed for a few rows at a time."""
    return _VocabularyLoss.apply(token_MD, table_VD, bias_V, targets_M)  # type: ignore[no-any-return, no-untyped-call]


ROWS = 256  # masked tokens at a time: with 16,000 tokens in the vocabulary their logits take 16 MB in fp32
ROWS_NATIVE = 1024  # 32 MB in bf16: 2,458 rows take 188 ms forward and backward, 256 rows at a time 201 ms
ROWS_CUDA = 8192  # enough to keep a GPU busy; 500 MB of logits in fp32


class _VocabularyLoss(torch.autograd.Function):
    """Cross-entropy over the vocabulary whose gradient is computed in the forward pass.

    For a few masked tokens at a time: logits → loss and gradient of the logits → gradients of token_MD, table_VD and
    bias_V, which are added up. So the logits, V numbers for each masked token, are never all in memory, nor computed a
    second time in the backward pass, which only multiplies by the gradient of the loss.
    """

    @staticmethod
    def forward(ctx: Any, token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=token_MD.device)
        grad_token_MD = torch.empty_like(token_MD)
        grad_table_VD = torch.zeros_like(table_VD, dtype=torch.float32)
        grad_bias_V = torch.zeros_like(bias_V, dtype=torch.float32) if any(ctx.needs_input_grad) else None
        size = ROWS_CUDA if token_MD.is_cuda else ROWS_NATIVE if supported(token_MD) else ROWS
        for begin in range(0, len(token_MD), size):
            rows = slice(begin, begin + size)
            losses_R, grad_RV = _cross_entropy(token_MD[rows], table_VD, bias_V, targets_M[rows], grad_bias_V)
            total += losses_R.sum()
            if grad_RV is None:
                continue
            grad_token_MD[rows] = grad_RV @ table_VD
            if ctx.needs_input_grad[1]:  # False while only new heads are trained
                grad_table_VD += grad_RV.T @ token_MD[rows]
        if grad_bias_V is not None:
            ctx.save_for_backward(grad_token_MD, grad_table_VD.to(table_VD.dtype), grad_bias_V.to(bias_V.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of the forward pass times the gradient of the loss."""
        (scale,) = gradients
        token, table, bias = ctx.saved_tensors
        return token * scale, table * scale, bias * scale, None


def _cross_entropy(
    token_RD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_R: Tensor, grad_bias_V: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return losses_R and the gradient of the logits, and add the latter's sum over R to `grad_bias_V`.

    Without `grad_bias_V` there is no gradient.
    """
    if supported(token_RD, table_VD, bias_V):
        products_RV = F.linear(token_RD, table_VD)
        losses_R = cross_entropy_in_place(products_RV, bias_V, targets_R, grad_bias_V)
        return losses_R, None if grad_bias_V is None else products_RV
    log_p_RV = F.log_softmax(F.linear(token_RD, table_VD, bias_V), dim=-1, dtype=torch.float32)
    target_R1 = targets_R[:, None]
    losses_R = -log_p_RV.gather(1, target_R1)[:, 0]
    if grad_bias_V is None:
        return losses_R, None
    grad_RV = log_p_RV.exp_()
    grad_RV.scatter_add_(1, target_R1, torch.full_like(target_R1, -1, dtype=torch.float32))
    grad_bias_V += grad_RV.sum(0)
    return losses_R, grad_RV.to(token_RD.dtype)


def target_tensors(batch: PackedBatch, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return (masked_M, originals_M, targets_B) as int64 on the device."""
    arrays: tuple[IntArray | None, ...] = (batch.masked_M, batch.originals_M, batch.targets_B)
    masked_M, originals_M, targets_B = (torch.as_tensor(x, dtype=torch.int64, device=device) for x in arrays)
    return masked_M, originals_M, targets_B
