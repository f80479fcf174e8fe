"""Pre-training: predict masked tokens, and whether a second part follows the first (Devlin et al. 2018, §3.1).

The five verbs, in order: features → head → loss → decode → score.

Which tokens are masked depends on the seed, the epoch and the text's number alone, by a hash in place of a generator:
the same whoever packs the text, beside whichever others, on however many processes; and drawn anew each epoch.

Shapes: T tokens in the batch, B texts, M masked tokens, R rows of them, or of T, V vocabulary, D hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert.corpus.pool import Long, Mask, Pool
from filbert.metrics import intervals
from filbert.model.attention import Chosen, Spans
from filbert.model.encoder import Encoder, Linear, activated, initialise, sinusoids
from filbert.model.native_training import able, cross_entropy_in_place
from filbert.records import FloatArray, IntArray, PackedBatch
from filbert.text.tokenizer import SPECIALS, Tokenizer

MASKED, RANDOM = 0.8, 0.1  # of the chosen tokens; the rest stays what it is
LIMIT = 4096  # tokens of a text at most: the hash numbers them by text and place
IGNORED = -1  # target of a text that is no pair

Uniform = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden."""

    rate: float = 0.15
    """Share of the tokens to be predicted."""
    whole_words: bool = False
    """Hide all pieces of a word together."""
    vocabulary: int = 0
    """Ids below this may replace a token."""
    mask: int = 4
    """Id of [MASK]."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, rate: float, whole_words: bool) -> Masking:
        """Return the masking for a vocabulary."""
        return cls(rate, whole_words, len(tokenizer), tokenizer.mask)


def features(
    pool: Pool, rows_N5: Long, numbers_N: Long, *, tokenizer: Tokenizer, masking: Masking, key: int
) -> PackedBatch:
    """Pack [CLS] A [SEP] B [SEP] of each row, shortest first, and mask it; targets are 0: B follows, 1: it does not.

    `numbers_N` are the texts' numbers in their epoch, `key` stands for seed and epoch: together they fix the masks.
    """
    a_N, b_N = rows_N5[:, 1] - rows_N5[:, 0], rows_N5[:, 3] - rows_N5[:, 2]
    order_B = np.argsort(a_N + b_N + (b_N > 0), kind="stable")
    rows_B5, numbers_B, a_B, b_B = rows_N5[order_B], numbers_N[order_B], a_N[order_B], b_N[order_B]
    pair_B = b_B > 0
    starts_B = np.concatenate(([0], np.cumsum(a_B + 2 + np.where(pair_B, b_B + 1, 0))))
    firsts_B, total = starts_B[:-1], int(starts_B[-1])
    ids_T, begins_T = np.full(total, tokenizer.sep, np.int32), np.ones(total, np.bool_)
    words_T, segments_T = np.zeros(total, np.bool_), np.zeros(total, np.int32)
    ids_T[firsts_B] = tokenizer.cls
    slots = np.concatenate((_ranges(firsts_B + 1, a_B), _ranges(firsts_B + a_B + 2, b_B)))
    ids_T[slots], begins_T[slots] = pool.take(
        np.concatenate((_ranges(rows_B5[:, 0], a_B), _ranges(rows_B5[:, 2], b_B)))
    )
    words_T[slots] = True
    segments_T[_ranges(firsts_B + a_B + 2, np.where(pair_B, b_B + 1, 0))] = 1
    lengths_B = np.diff(starts_B)
    plain = PackedBatch(
        ids_T=ids_T,
        positions_T=(np.arange(total) - np.repeat(firsts_B, lengths_B)).astype(np.int32),
        segments_T=segments_T,
        starts_B=starts_B.astype(np.int32),
        order_B=order_B.astype(np.int32),
        targets_B=np.where(pair_B, rows_B5[:, 4], IGNORED).astype(np.int32),
    )
    return masked(plain, words_T, begins_T, numbers_B, masking=masking, key=key)


def _ranges(firsts_N: Long, counts_N: Long) -> Long:
    """Return first, first + 1, … (count of them) for each of N, one after another.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before_N = np.cumsum(counts_N) - counts_N
    return np.asarray(np.arange(int(counts_N.sum())) + np.repeat(firsts_N - before_N, counts_N), np.int64)


def masked(
    batch: PackedBatch, words_T: Mask, begins_T: Mask, numbers_B: Long, *, masking: Masking, key: int
) -> PackedBatch:
    """Choose a share of each text's tokens, at least one, and hide them: 80 % [MASK], 10 % a random token, 10 % as is.

    `words_T` marks the tokens that may be chosen; with whole words `begins_T` says where a word begins, and words are
    chosen as long as all their pieces are within the share.
    """
    places_E = np.flatnonzero(words_T)
    text_E = np.repeat(np.arange(len(numbers_B)), np.diff(batch.starts_B))[places_E]
    slot_E = numbers_B[text_E] * LIMIT + batch.positions_T[places_E]
    begins_E = np.ones(len(places_E), np.bool_)
    if masking.whole_words:
        begins_E = begins_T[places_E] | ~words_T[places_E - 1]  # what stands after [CLS] or [SEP] begins one, too
    word_E, first_W = np.cumsum(begins_E) - 1, np.flatnonzero(begins_E)
    text_W, size_W = text_E[first_W], np.bincount(word_E)
    drawn_W = np.lexsort((_uniform(slot_E[first_W], key, 0), text_W))
    within_W = np.cumsum(size_W[drawn_W])
    tokens_B = np.bincount(text_E, minlength=len(numbers_B))
    within_W -= (np.cumsum(tokens_B) - tokens_B)[text_W[drawn_W]]  # tokens of the text up to this word, as drawn
    share_B = np.maximum(1, np.rint(masking.rate * tokens_B))
    leads_W = np.concatenate(([True], np.diff(text_W[drawn_W]) != 0))  # a text's first word is taken however long
    chosen_W = np.zeros(len(first_W), np.bool_)
    chosen_W[drawn_W] = (within_W <= share_B[text_W[drawn_W]]) | leads_W
    chosen_E = chosen_W[word_E]
    masked_M, slot_M = places_E[chosen_E], slot_E[chosen_E]
    originals_M = batch.ids_T[masked_M]
    fate_M = _uniform(slot_M, key, 1)
    ordinary = masking.vocabulary - len(SPECIALS)
    random_M = len(SPECIALS) + (_uniform(slot_M, key, 2) * ordinary).astype(np.int32)
    hidden_M = np.where(fate_M < MASKED, masking.mask, np.where(fate_M < MASKED + RANDOM, random_M, originals_M))
    ids_T = batch.ids_T.copy()
    ids_T[masked_M] = hidden_M
    return replace(batch, ids_T=ids_T, masked_M=masked_M.astype(np.int32), originals_M=originals_M)


def _uniform(numbers_N: Long, key: int, stream: int) -> Uniform:
    """Return a number in [0, 1) for each of N, by SplitMix64 (Steele et al. 2014) of number, key and stream."""
    seed = np.random.SeedSequence((key, stream)).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        x_N = numbers_N.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
        x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x_N ^= x_N >> np.uint64(31)
    return np.asarray((x_N >> np.uint64(11)).astype(np.float64) * 2.0**-53)


class PreTrainer(nn.Module):
    """Encoder with both heads: one reads the embedding table backwards for a masked token, one looks at [CLS]."""

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
    def expect(self, counts_V: FloatArray) -> None:
        """Begin with the tokens' frequencies: what can be guessed before anything is understood."""
        chances_V = (counts_V + 1) / (counts_V.sum() + len(counts_V))
        self.bias.copy_(torch.from_numpy(np.log(chances_V)))

    @torch.no_grad()
    def know(self, words_VD: Tensor) -> None:
        """Begin with word vectors made otherwise, of length 1, and with learned positions as waves of that length.

        A word whose vector is of zeros keeps the drawn one, as long as the others. Between waves the same distance is
        the same rotation everywhere, so that what one place learns of its neighbours serves the others, too.
        """
        table_VD, place_PD = self.encoder.embeddings.token.weight, self.encoder.embeddings.position.weight
        known_V = words_VD.any(1, keepdim=True)
        table_VD.copy_(torch.where(known_V, words_VD, F.normalize(table_VD)))
        if self.encoder.config.position == "learned":
            place_PD.copy_(F.normalize(sinusoids(*place_PD.shape)))

    def forward(
        self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, masked_M: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Packed ids and the rows to predict → (token_MD for `token_logits`, next_B2 in fp32)."""
        chosen = Chosen.of(spans, masked_M)
        hidden_RD = self.encoder(ids_T, positions_T, segments_T, spans, chosen=chosen)
        token_MD = self.transform_norm(activated(self.transform, hidden_RD.index_select(0, chosen.others_M)))
        pooled_BD = torch.tanh(self.pooler(hidden_RD.index_select(0, chosen.first_B).float()))
        return token_MD, self.next(pooled_BD)

    def token_logits(self, token_MD: Tensor) -> Tensor:
        """token_MD → logits_MV in fp32: how well each token of the vocabulary would stand there."""
        return F.linear(token_MD, self.encoder.embeddings.token.weight, self.bias.to(token_MD.dtype)).float()


def loss(model: PreTrainer, token_MD: Tensor, next_B2: Tensor, originals_M: Tensor, targets_B: Tensor) -> Tensor:
    """Return (masked token loss summed over tokens, next sentence loss summed over pairs)."""
    table_VD, bias_V = model.encoder.embeddings.token.weight, model.bias.to(token_MD.dtype)
    mlm = vocabulary_loss(token_MD, table_VD, bias_V, originals_M)
    return torch.stack((mlm, F.cross_entropy(next_B2, targets_B, ignore_index=IGNORED, reduction="sum")))


def vocabulary_loss_readable(token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
    """Return the cross-entropy of the right token among all, summed: the definition."""
    return F.cross_entropy(F.linear(token_MD, table_VD, bias_V).float(), targets_M, reduction="sum")


def vocabulary_loss(token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
    """Return the same, the gradient made on the way: the logits of some rows at a time, none of them kept for later."""
    return _VocabularyLoss.apply(token_MD, table_VD, bias_V, targets_M)  # type: ignore[no-any-return, no-untyped-call]


ROWS = 256  # masked tokens at a time: with 16,000 tokens in the vocabulary their logits take 16 MB in fp32
ROWS_NATIVE = 1024  # in place: 32 MB in bf16, where 2,458 rows take 188 ms there and back, by 256 at a time 201
ROWS_CUDA = 8192  # enough to keep a GPU busy; 500 MB of logits in fp32


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token_MD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_M: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=token_MD.device)
        grad_token_MD = torch.empty_like(token_MD)
        grad_table_VD = torch.zeros_like(table_VD, dtype=torch.float32)
        grad_bias_V = torch.zeros_like(bias_V, dtype=torch.float32) if any(ctx.needs_input_grad) else None
        size = ROWS_CUDA if token_MD.is_cuda else ROWS_NATIVE if able(token_MD) else ROWS
        for begin in range(0, len(token_MD), size):
            rows = slice(begin, begin + size)
            losses_R, grad_RV = _cross_entropy(token_MD[rows], table_VD, bias_V, targets_M[rows], grad_bias_V)
            total += losses_R.sum()
            if grad_RV is None:
                continue
            grad_token_MD[rows] = grad_RV @ table_VD
            if ctx.needs_input_grad[1]:  # not while the head learns alone
                grad_table_VD += grad_RV.T @ token_MD[rows]
        if grad_bias_V is not None:
            ctx.save_for_backward(grad_token_MD, grad_table_VD.to(table_VD.dtype), grad_bias_V.to(bias_V.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Scale what was made on the way."""
        (scale,) = gradients
        token, table, bias = ctx.saved_tensors
        return token * scale, table * scale, bias * scale, None


def _cross_entropy(
    token_RD: Tensor, table_VD: Tensor, bias_V: Tensor, targets_R: Tensor, grad_bias_V: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return losses_R and, with `grad_bias_V`, the gradient of the logits, whose sum over R is added to it."""
    if able(token_RD, table_VD, bias_V):
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


def decode(logits_V: Tensor, tokenizer: Tokenizer, top: int = 5) -> list[tuple[str, float]]:
    """Return the most probable tokens for one place and their probabilities."""
    chances_V = logits_V.float().softmax(-1)
    best = chances_V.topk(min(top, len(chances_V)))
    return [(tokenizer.token(int(i)), float(p)) for p, i in zip(best.values, best.indices, strict=True)]


def score(losses_M: Uniform, right_M: Mask, text_M: Long, right_P: Mask) -> dict[str, dict[str, Any]]:
    """Return MLM accuracy, perplexity and NSP accuracy, each with its 95 % interval; texts are resampled as a whole.

    Perplexity is the exponential of the mean loss over masked tokens; `right_P` is empty without pairs.
    """
    loss = intervals.grouped_mean(losses_M, text_M)
    found = {
        "mlm_accuracy": intervals.grouped_mean(right_M.astype(np.float64), text_M),
        "mlm_perplexity": {**loss, **{key: float(np.exp(loss[key])) for key in ("value", "low", "high")}},
    }
    if len(right_P):
        found["nsp_accuracy"] = intervals.grouped_mean(right_P.astype(np.float64), np.arange(len(right_P)))
    return found


def tensors_of_targets(batch: PackedBatch, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return (masked_M, originals_M, targets_B) as int64 on the device."""
    arrays: tuple[IntArray | None, ...] = (batch.masked_M, batch.originals_M, batch.targets_B)
    masked_M, originals_M, targets_B = (torch.as_tensor(x, dtype=torch.int64, device=device) for x in arrays)
    return masked_M, originals_M, targets_B
