"""Pre-training for the training loop: the batches of a step (`CorpusFeed`), losses and validation (`PretrainJob`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from filbert.config import PretrainConfig
from filbert.corpus.pool import Long, Pool
from filbert.model.packing import split_by_budget
from filbert.model.run import Tensors
from filbert.pretraining.evaluation import held_out_losses
from filbert.pretraining.masking import Masking, features
from filbert.pretraining.network import PreTrainer, loss, target_tensors
from filbert.records import IntArray, PackedBatch
from filbert.text.tokenizer import Tokenizer
from filbert.training.distributed import ProcessGroup

PORTION = 250_000_000  # tokens planned at once, about: 2 million texts of 40 bytes, at the peak in three copies
DOCUMENTS = 10  # of a portion, at least: a corpus of a few huge documents has fewer portions


@dataclass
class CorpusFeed:
    """The batches of a pre-training run; each epoch splits and masks the texts differently.

    A large epoch is planned in portions of its documents, one after the other, so that memory does not grow with it.
    """

    pool: Pool
    config: PretrainConfig
    tokenizer: Tokenizer
    group: ProcessGroup = field(default_factory=ProcessGroup)
    budget: int = field(init=False)
    _plans: dict[tuple[int, int], tuple[Long, Long]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.masking = Masking.of(self.tokenizer, self.config.mask_rate, self.config.whole_words)
        self.budget = self.config.tokens_per_batch
        wanted = math.ceil(self.pool.tokens() / PORTION)
        self.portions = max(1, min(wanted, self.pool.documents // DOCUMENTS))  # of an epoch
        _, ends_N = self._plan(self.config.length, 0)
        tokens = float(ends_N[-1]) if len(ends_N) else 0.0
        assert self.config.batch_tokens is not None  # run.py has set it
        self._steps = max(1, round(tokens / self.config.batch_tokens))  # of a portion
        self.tokens, self.steps = tokens * self.portions, self._steps * self.portions

    def rows(self, step: int, progress: float) -> IntArray:
        """Return the numbers, within the portion, of a step's texts: each step gets an equal share of the tokens."""
        portion, i = divmod(step, self._steps)
        _, ends_N = self._plan(self._length(step), portion)
        first, last = np.searchsorted(ends_N, [ends_N[-1] * (i + n) / self._steps for n in (0, 1)], side="left")
        return np.arange(first, last + (i == self._steps - 1), dtype=np.int32)[: len(ends_N)]

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return this process's parts of a step."""
        numbers = self.rows(step, progress)[self.group.rank :: self.group.size]
        portion = step // self._steps
        rows_N5, _ = self._plan(self._length(step), portion)
        key = (self.config.seed << 20) + portion
        return self._packed(rows_N5, numbers, key)

    def held_out(self, tokens: int | None = None, group: ProcessGroup | None = None) -> list[PackedBatch]:
        """Return this process's share of held-out texts, about `tokens` tokens in all, always with the same masks."""
        rows_N5 = self.pool.plan(self.config.length, pairs=self.config.next_sentence, seed=0, epoch=0, held_out=True)
        ends_N = np.cumsum(_lengths(rows_N5))
        count = len(rows_N5) if tokens is None else int(np.searchsorted(ends_N, tokens)) + 1
        group = group or ProcessGroup()
        numbers = np.arange(min(count, len(rows_N5)), dtype=np.int32)[group.rank :: group.size]
        return self._packed(rows_N5, numbers, key=0)

    def _length(self, step: int) -> int:
        """Return the maximum length of a step's texts: a share `long_share` of the steps has long ones.

        The paper trains on long texts at the end. In a short run the far positions then learn nothing: the encoder
        already relies on the near ones.
        """
        before, after = (math.floor(n * self.config.long_share) for n in (step, step + 1))
        return self.config.long_length if after > before else self.config.length

    def _packed(self, rows_N5: Long, numbers: IntArray, key: int) -> list[PackedBatch]:
        lengths = _lengths(rows_N5[numbers])
        return [
            features(
                self.pool, rows_N5[part], part.astype(np.int64), tokenizer=self.tokenizer, masking=self.masking, key=key
            )
            for part in split_by_budget(numbers, lengths.tolist(), self.budget)
        ]

    def _plan(self, length: int, number: int) -> tuple[Long, Long]:
        """Return the texts of a portion, and the cumulative token count at the end of each.

        Portions are numbered across epochs. Only the plans of one portion are kept in memory.
        """
        key = (length, number)
        if key not in self._plans:
            epoch, portion = divmod(number, self.portions)
            kept = {k: v for k, v in self._plans.items() if k[1] == number}
            self._plans = kept  # freed first: two plans take twice the memory
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
    """The model with its MLM and NSP losses, and the validation on held-out text."""

    keep = ("pooler", "next")

    def __init__(
        self, model: PreTrainer, held_out: Sequence[PackedBatch], pairs: bool, device: str, group: ProcessGroup
    ) -> None:
        self.model = model
        self.losses = ("mlm_loss", "nsp_loss") if pairs else ("mlm_loss",)
        self.device, self.group = device, group
        self._held_out = held_out

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the MLM loss summed over masked tokens, and the NSP loss summed over pairs."""
        masked_M, originals_M, targets_B = target_tensors(batch, self.device)
        token_MD, next_B2 = self.model(*tensors, masked_M)
        return loss(self.model, token_MD, next_B2, originals_M, targets_B)[: len(self.losses)]

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of masked tokens, and of pairs."""
        assert batch.masked_M is not None
        assert batch.targets_B is not None
        return (len(batch.masked_M), int((batch.targets_B >= 0).sum()))[: len(self.losses)]

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return the negated loss on held-out text, and the figures for the training log."""
        sums = np.zeros(6)
        for batch in self._held_out:
            losses_M, correct_M, correct_P, nsp = held_out_losses(self.model, batch, self.device)
            sums += (losses_M.sum(), correct_M.sum(), len(correct_M), nsp, correct_P.sum(), len(correct_P))
        mlm, correct, tokens, nsp, correct_pairs, pairs = self.group.all_sum(sums.tolist())
        figures = {"mlm_loss": mlm / max(tokens, 1), "mlm_accuracy": correct / max(tokens, 1)}
        if pairs and "nsp_loss" in self.losses:
            figures |= {"nsp_loss": nsp / pairs, "nsp_accuracy": correct_pairs / pairs}
        total = figures["mlm_loss"] + figures.get("nsp_loss", 0.0)
        return (-total,), {"loss": total, **figures}
