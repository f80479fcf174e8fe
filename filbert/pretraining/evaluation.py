"""Evaluate a pre-trained model on held-out text: MLM accuracy, perplexity and pseudo-perplexity, NSP accuracy.

Shapes: M masked tokens, P pairs, V vocabulary, R rows of M, N anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from filbert.corpus.pool import Long, Mask
from filbert.metrics import intervals
from filbert.model.run import tensors_of
from filbert.pretraining.fill_mask import single_segment, token_logits
from filbert.pretraining.network import ROWS, PreTrainer, target_tensors
from filbert.records import FloatArray, IntArray, PackedBatch
from filbert.text.tokenizer import Tokenizer


@torch.inference_mode()
def held_out_losses(
    model: PreTrainer, batch: PackedBatch, device: str
) -> tuple[npt.NDArray[np.float32], Mask, Mask, float]:
    """Return losses_M and correct_M of the masked tokens, correct_P of the P pairs, and the pairs' summed loss."""
    masked_M, originals_M, targets_B = target_tensors(batch, device)
    token_MD, next_B2 = model(*tensors_of(batch, device), masked_M)
    losses, correct = [], []
    for begin in range(0, len(token_MD), ROWS):
        rows = slice(begin, begin + ROWS)
        logits_RV = model.token_logits(token_MD[rows])
        losses.append(torch.nn.functional.cross_entropy(logits_RV, originals_M[rows], reduction="none"))
        correct.append(logits_RV.argmax(-1) == originals_M[rows])
    pair_B = targets_B >= 0
    nsp = torch.nn.functional.cross_entropy(next_B2[pair_B].float(), targets_B[pair_B], reduction="sum")
    correct_P = next_B2[pair_B].argmax(-1) == targets_B[pair_B]
    return (torch.cat(losses).cpu().numpy(), torch.cat(correct).cpu().numpy(), correct_P.cpu().numpy(), float(nsp))


def evaluate(
    model: PreTrainer, batches: Sequence[PackedBatch], device: str, *, pairs: bool
) -> dict[str, dict[str, float]]:
    """Return the scores on held-out batches; `chance` is the NSP accuracy of always giving the more frequent class."""
    losses, correct, texts, correct_pairs, targets, number = [], [], [], [], [], 0
    for batch in batches:
        each_M, correct_M, correct_P, _ = held_out_losses(model, batch, device)
        assert batch.masked_M is not None
        assert batch.targets_B is not None
        text_T = np.repeat(np.arange(len(batch.order_B)), np.diff(batch.starts_B)) + number
        number += len(batch.order_B)
        losses.append(each_M)
        correct.append(correct_M)
        texts.append(text_T[batch.masked_M])
        correct_pairs.append(correct_P if pairs else correct_P[:0])
        targets.append(batch.targets_B[batch.targets_B >= 0])
    losses_M = np.concatenate(losses).astype(np.float64)
    scores = score(losses_M, np.concatenate(correct), np.concatenate(texts), np.concatenate(correct_pairs))
    if "nsp_accuracy" in scores:
        share = float(np.concatenate(targets).mean())
        scores["nsp_accuracy"]["chance"] = max(share, 1 - share)
    return scores


def score(losses_M: FloatArray, correct_M: Mask, text_M: Long, correct_P: Mask) -> dict[str, dict[str, Any]]:
    """Return MLM accuracy, perplexity and NSP accuracy, each with its 95 % interval over resampled texts.

    Perplexity is the exponential of the mean loss over masked tokens; `correct_P` is empty without pairs.
    """
    loss = intervals.grouped_mean(losses_M, text_M)
    found = {
        "mlm_accuracy": intervals.grouped_mean(correct_M.astype(np.float64), text_M),
        "mlm_perplexity": {**loss, **{key: float(np.exp(loss[key])) for key in ("value", "low", "high")}},
    }
    if len(correct_P):
        found["nsp_accuracy"] = intervals.grouped_mean(correct_P.astype(np.float64), np.arange(len(correct_P)))
    return found


def pseudo_perplexity(
    model: PreTrainer, tokenizer: Tokenizer, texts: Sequence[IntArray], device: str
) -> dict[str, Any]:
    """Return exp of the mean loss of each token when only it is masked, with an interval (Salazar et al. 2020)."""
    losses, groups = [], []
    for number, text in enumerate(texts):
        ids = np.concatenate(([tokenizer.cls], text, [tokenizer.sep])).astype(np.int32)
        copies = []
        for position in range(1, len(ids) - 1):
            copy = ids.copy()
            copy[position] = tokenizer.mask
            copies.append(single_segment(copy))
        positions = [np.array([position], np.int32) for position in range(1, len(ids) - 1)]
        logits = torch.cat(token_logits(model, copies, positions, device))
        found_N = torch.nn.functional.cross_entropy(logits, torch.as_tensor(ids[1:-1]).long(), reduction="none")
        losses.append(found_N.numpy())
        groups.append(np.full(len(found_N), number))
    loss = intervals.grouped_mean(np.concatenate(losses), np.concatenate(groups))
    return {**loss, **{key: math.exp(loss[key]) for key in ("value", "low", "high")}, "texts": len(texts)}
