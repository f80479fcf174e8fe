"""Fill mask and next sentence prediction, with a base model that has MLM and NSP heads.

The commands `filbert fill` and `filbert next` print what these functions return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from filbert.bases.find import find_base
from filbert.errors import ConfigError, ModelError
from filbert.model.packing import TOKENS, by_budget, pack
from filbert.model.run import tensors_of
from filbert.pretraining.folder import Pretrained, load_pretrained
from filbert.pretraining.network import PreTrainer
from filbert.records import Features, IntArray
from filbert.text.tokenizer import Tokenizer

MASK = "[MASK]"


@dataclass(frozen=True)
class Filled:
    """One [MASK]: its most probable tokens with their probabilities, and the text with the first one filled in."""

    tokens: tuple[tuple[str, float], ...]
    text: str


def open_pretrained(name: str) -> Pretrained:
    """Open a base model, by name or folder, with its MLM and NSP heads. Raises ModelError for random weights."""
    base = find_base(name)
    if base.folder is None:
        raise ModelError(f"{name} has random weights — pre-train it first, or choose another base")
    return load_pretrained(base.folder)


def fill_mask(pretrained: Pretrained, text: str, top: int = 5) -> list[Filled]:
    """Predict the token at each [MASK] of a text, in order.

    Raises ConfigError where there is no [MASK] or the text is too long, ModelError where the model has no head for it.

    >>> fill_mask(open_pretrained("filbert-mini"), "Paris is the [MASK] of France.")[0].tokens[0][0]  # doctest: +SKIP
    'capital'
    """
    if "mlm" not in pretrained.heads:
        raise ModelError("this model has no masked language modelling head — choose one that has, such as filbert-mini")
    pieces = text.split(MASK)
    if len(pieces) < 2:
        raise ConfigError(f"the text has no {MASK} — write one where a word is missing")
    tokenizer = pretrained.tokenizer
    parts: list[IntArray] = [np.array([tokenizer.cls], np.int32)]
    for i, encoding in enumerate(tokenizer.encode(pieces)):
        parts += [np.array([tokenizer.mask], np.int32)] * (i > 0) + [encoding.ids]
    ids: IntArray = np.concatenate([*parts, np.array([tokenizer.sep], np.int32)])
    _check_length(len(ids), pretrained)
    positions = np.flatnonzero(ids == tokenizer.mask).astype(np.int32)
    logits_MV = token_logits(pretrained.model, [single_segment(ids)], [positions], "cpu")[0]
    _refuse_damaged(logits_MV)
    found = []
    for n, logits_V in enumerate(logits_MV):
        best = decode(logits_V, tokenizer, top)
        word = best[0][0].removeprefix("##")
        before, after = MASK.join(pieces[: n + 1]), MASK.join(pieces[n + 1 :])
        found.append(Filled(tuple(best), f"{before}{word}{after}"))
    return found


def next_sentence_probability(pretrained: Pretrained, first: str, second: str) -> float:
    """Return the probability that `second` follows `first` in a text. ModelError where there is no NSP head.

    >>> next_sentence_probability(open_pretrained("filbert-mini"), "He knocked.", "Nobody was there.")  # doctest: +SKIP
    0.93
    """
    if "nsp" not in pretrained.heads:
        raise ModelError("this model has no next sentence head — choose one that has, such as filbert-mini")
    tokenizer = pretrained.tokenizer
    a, b = (encoding.ids for encoding in tokenizer.encode([first, second]))
    ids = np.concatenate(([tokenizer.cls], a, [tokenizer.sep], b, [tokenizer.sep])).astype(np.int32)
    _check_length(len(ids), pretrained)
    segments = np.repeat(np.array([0, 1], np.int32), [len(a) + 2, len(b) + 1])
    batch = pack([Features(ids, segments)])
    with torch.inference_mode():
        _, next_B2 = pretrained.model.eval()(*tensors_of(batch, "cpu"), torch.empty(0, dtype=torch.int64))
    _refuse_damaged(next_B2)
    return float(next_B2.softmax(-1)[0, 0])


def single_segment(ids: IntArray) -> Features:
    """Return the Features of one text with special tokens, all of it segment A."""
    return Features(ids, np.zeros(len(ids), np.int32))


def _refuse_damaged(logits: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise ModelError("the model gives NaN or infinite scores — its weights are damaged; choose another base")


def _check_length(length: int, pretrained: Pretrained) -> None:
    longest = pretrained.model.encoder.config.max_positions
    if length > longest:
        raise ConfigError(f"the text has {length:,} tokens, the model takes {longest:,} — give a shorter one")


@torch.inference_mode()
def token_logits(
    model: PreTrainer, rows: Sequence[Features], positions: Sequence[IntArray], device: str
) -> list[Tensor]:
    """Return logits_MV over the vocabulary, on the CPU, at the given positions of each text."""
    model.eval()
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for chosen in by_budget([len(row) for row in rows], TOKENS):
        batch = pack(rows, chosen)
        counts = [len(positions[i]) for i in batch.order_B]
        masked = np.concatenate([positions[i] + start for i, start in zip(batch.order_B, batch.starts_B, strict=False)])
        token_MD, _ = model(*tensors_of(batch, device), torch.as_tensor(masked, device=device))
        for i, logits_MV in zip(batch.order_B, torch.split(model.token_logits(token_MD).cpu(), counts), strict=True):
            found[i] = logits_MV
    return found


def decode(logits_V: Tensor, tokenizer: Tokenizer, top: int = 5) -> list[tuple[str, float]]:
    """Return the most probable tokens and their probabilities."""
    chances_V = logits_V.float().softmax(-1)
    best = chances_V.topk(min(top, len(chances_V)))
    return [(tokenizer.token(int(i)), float(p)) for p, i in zip(best.values, best.indices, strict=True)]
