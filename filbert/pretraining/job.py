"""What the training loop needs to know of pre-training: the batches of a step, their losses, how good the model is.

The loop itself is train.py's; from raw text to a finished folder is pretrain.py's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from filbert.config import PretrainConfig
from filbert.corpus.pool import Long, Mask, Pool
from filbert.model.packing import split_by_budget
from filbert.model.run import Tensors, tensors_of
from filbert.pretraining import network as task
from filbert.records import IntArray, PackedBatch
from filbert.text.tokenizer import Tokenizer
from filbert.training.distributed import Crew

PORTION = 250_000_000  # tokens planned at once, about: 2 million texts of 40 bytes, three times while they are made
DOCUMENTS = 10  # of a portion, at least: a corpus of a few huge ones has fewer portions


@dataclass
class CorpusFeed:
    """The batches of a pre-training run: the texts of each epoch drawn and masked anew, a step always the same.

    A large epoch is planned in portions of its documents, one after the other, so that memory does not grow with it.
    """

    pool: Pool
    config: PretrainConfig
    tokenizer: Tokenizer
    crew: Crew = field(default_factory=Crew)
    budget: int = field(init=False)
    _plans: dict[tuple[int, int], tuple[Long, Long]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.masking = task.Masking.of(self.tokenizer, self.config.mask_rate, self.config.whole_words)
        self.budget = self.config.tokens_per_batch
        wanted = math.ceil(self.pool.tokens() / PORTION)
        self.portions = max(1, min(wanted, self.pool.documents // DOCUMENTS))  # of an epoch
        _, ends_N = self._plan(self.config.length, 0)
        tokens = float(ends_N[-1]) if len(ends_N) else 0.0
        assert self.config.batch_tokens is not None  # pretrain.py has set it
        self._steps = max(1, round(tokens / self.config.batch_tokens))  # of a portion
        self.tokens, self.steps = tokens * self.portions, self._steps * self.portions

    def rows(self, step: int, progress: float) -> IntArray:
        """Return the numbers, in its portion, of a step's texts: as many as fill an equal share of its tokens."""
        portion, i = divmod(step, self._steps)
        _, ends_N = self._plan(self._length(step), portion)
        first, last = np.searchsorted(ends_N, [ends_N[-1] * (i + n) / self._steps for n in (0, 1)], side="left")
        return np.arange(first, last + (i == self._steps - 1), dtype=np.int32)[: len(ends_N)]

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return this process's parts of a step."""
        numbers = self.rows(step, progress)[self.crew.rank :: self.crew.size]
        portion = step // self._steps
        rows_N5, _ = self._plan(self._length(step), portion)
        key = (self.config.seed << 20) + portion
        return self._packed(rows_N5, numbers, key)

    def held_out(self, tokens: int | None = None, crew: Crew | None = None) -> list[PackedBatch]:
        """Return the texts that are never trained on, masked the same way every time."""
        rows_N5 = self.pool.plan(self.config.length, pairs=self.config.next_sentence, seed=0, epoch=0, held_out=True)
        ends_N = np.cumsum(_lengths(rows_N5))
        count = len(rows_N5) if tokens is None else int(np.searchsorted(ends_N, tokens)) + 1
        crew = crew or Crew()
        numbers = np.arange(min(count, len(rows_N5)), dtype=np.int32)[crew.rank :: crew.size]
        return self._packed(rows_N5, numbers, key=0)

    def _length(self, step: int) -> int:
        """Return how long a step's texts are: long ones come in an even share of the steps, from the first ones on.

        The paper keeps them for the end. There, a short run no longer teaches the far positions anything: the encoder
        has learned to lean on the near ones.
        """
        before, after = (math.floor(n * self.config.long_share) for n in (step, step + 1))
        return self.config.long_length if after > before else self.config.length

    def _packed(self, rows_N5: Long, numbers: IntArray, key: int) -> list[PackedBatch]:
        lengths = _lengths(rows_N5[numbers])
        return [
            task.features(
                self.pool, rows_N5[part], part.astype(np.int64), tokenizer=self.tokenizer, masking=self.masking, key=key
            )
            for part in split_by_budget(numbers, lengths.tolist(), self.budget)
        ]

    def _plan(self, length: int, number: int) -> tuple[Long, Long]:
        """Return the texts of a portion, numbered on from epoch to epoch, and where each ends, in tokens.

        Those of other portions are forgotten.
        """
        key = (length, number)
        if key not in self._plans:
            epoch, portion = divmod(number, self.portions)
            kept = {k: v for k, v in self._plans.items() if k[1] == number}
            self._plans = kept  # before the new one is made: two take twice the memory
            rows_N5 = self.pool.plan(
                length,
                pairs=self.config.next_sentence,
                seed=self.config.seed,
                epoch=epoch,
                portion=(portion, self.portions),
            )
            self._plans = {**kept, key: (rows_N5, np.cumsum(_lengths(rows_N5)))}
        return self._plans[key]


def _lengths(rows_N5: Long) -> Long:
    a_N, b_N = rows_N5[:, 1] - rows_N5[:, 0], rows_N5[:, 3] - rows_N5[:, 2]
    lengths_N: Long = a_N + 2 + np.where(b_N > 0, b_N + 1, 0)
    return lengths_N


class PretrainJob:
    """What the training loop needs to know of pre-training."""

    keep = ("pooler", "next")

    def __init__(self, model: task.PreTrainer, held_out: Sequence[PackedBatch], pairs: bool, device: str, crew: Crew):
        self.model = model
        self.losses = ("mlm_loss", "nsp_loss") if pairs else ("mlm_loss",)
        self.device, self.crew = device, crew
        self._held_out = held_out

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the summed losses: over masked tokens, and over pairs."""
        masked_M, originals_M, targets_B = task.tensors_of_targets(batch, self.device)
        token_MD, next_B2 = self.model(*tensors, masked_M)
        return task.loss(self.model, token_MD, next_B2, originals_M, targets_B)[: len(self.losses)]

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of masked tokens, and of pairs."""
        assert batch.masked_M is not None
        assert batch.targets_B is not None
        return (len(batch.masked_M), int((batch.targets_B >= 0).sum()))[: len(self.losses)]

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return the loss on held-out text, negated, and the figures for the log."""
        sums = np.zeros(6)
        for batch in self._held_out:
            losses_M, right_M, right_P, nsp = held_out_answers(self.model, batch, self.device)
            sums += (losses_M.sum(), right_M.sum(), len(right_M), nsp, right_P.sum(), len(right_P))
        mlm, right, tokens, nsp, followed, pairs = self.crew.total(sums.tolist())
        figures = {"mlm_loss": mlm / max(tokens, 1), "mlm_accuracy": right / max(tokens, 1)}
        if pairs and "nsp_loss" in self.losses:
            figures |= {"nsp_loss": nsp / pairs, "nsp_accuracy": followed / pairs}
        loss = figures["mlm_loss"] + figures.get("nsp_loss", 0.0)
        return (-loss,), {"loss": loss, **figures}


@torch.inference_mode()
def held_out_answers(
    model: task.PreTrainer, batch: PackedBatch, device: str
) -> tuple[npt.NDArray[np.float32], Mask, Mask, float]:
    """Return losses_M and right_M of the masked tokens, right_P of the pairs, and the pairs' summed loss."""
    masked_M, originals_M, targets_B = task.tensors_of_targets(batch, device)
    token_MD, next_B2 = model(*tensors_of(batch, device), masked_M)
    losses, right = [], []
    for begin in range(0, len(token_MD), task.ROWS):
        rows = slice(begin, begin + task.ROWS)
        logits_RV = model.token_logits(token_MD[rows])
        losses.append(torch.nn.functional.cross_entropy(logits_RV, originals_M[rows], reduction="none"))
        right.append(logits_RV.argmax(-1) == originals_M[rows])
    pair_B = targets_B >= 0
    nsp = torch.nn.functional.cross_entropy(next_B2[pair_B].float(), targets_B[pair_B], reduction="sum")
    right_P = next_B2[pair_B].argmax(-1) == targets_B[pair_B]
    return (torch.cat(losses).cpu().numpy(), torch.cat(right).cpu().numpy(), right_P.cpu().numpy(), float(nsp))


def measured(
    model: task.PreTrainer, batches: Sequence[PackedBatch], device: str, *, pairs: bool
) -> dict[str, dict[str, float]]:
    """Return the scores of `task.score` on held-out batches; `chance` is what always giving one answer would score."""
    losses, right, texts, follows, strangers, number = [], [], [], [], [], 0
    for batch in batches:
        each_M, right_M, right_P, _ = held_out_answers(model, batch, device)
        assert batch.masked_M is not None
        assert batch.targets_B is not None
        text_T = np.repeat(np.arange(len(batch.order_B)), np.diff(batch.starts_B)) + number
        number += len(batch.order_B)
        losses.append(each_M)
        right.append(right_M)
        texts.append(text_T[batch.masked_M])
        follows.append(right_P if pairs else right_P[:0])
        strangers.append(batch.targets_B[batch.targets_B >= 0])
    losses_M = np.concatenate(losses).astype(np.float64)
    scores = task.score(losses_M, np.concatenate(right), np.concatenate(texts), np.concatenate(follows))
    if "nsp_accuracy" in scores:
        share = float(np.concatenate(strangers).mean())
        scores["nsp_accuracy"]["chance"] = max(share, 1 - share)
    return scores
