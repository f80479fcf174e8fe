"""Asking a pre-trained model: which word is missing, does B follow A, how likely is this text.

`filbert fill` and `filbert next` are shells around this file. It needs a base with its pre-training heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filbert.bases.find import find_base
from filbert.errors import ConfigError, ModelError
from filbert.metrics import intervals
from filbert.model.packing import TOKENS, by_budget, pack
from filbert.model.run import tensors_of
from filbert.pretraining.folder import Pretrained, load_pretrained
from filbert.pretraining.network import PreTrainer, decode
from filbert.records import Features, IntArray
from filbert.text.tokenizer import Tokenizer

MASK = "[MASK]"


@dataclass(frozen=True)
class Filled:
    """One [MASK]: its most probable tokens with their probabilities, and the text with the best one in its place."""

    tokens: tuple[tuple[str, float], ...]
    text: str


def open_base(name: str) -> Pretrained:
    """Open a base model, by name or folder, with the heads it brings. Raises ModelError where it has none."""
    base = find_base(name)
    if base.folder is None:
        raise ModelError(f"{name} is a random start, which knows nothing yet — pre-train it first")
    return load_pretrained(base.folder)


def fill(known: Pretrained, text: str, top: int = 5) -> list[Filled]:
    """Guess each [MASK] of a text → one Filled for each, in order.

    Raises ConfigError where there is no [MASK] or the text is too long, ModelError where the model cannot guess.

    >>> fill(open_base("filbert-mini"), "Paris is the [MASK] of France.")[0].tokens[0][0]  # doctest: +SKIP
    'capital'
    """
    if "mlm" not in known.has:
        raise ModelError("this model has no head for masked tokens — take one that was pre-trained, as filbert-mini")
    pieces = text.split(MASK)
    if len(pieces) < 2:
        raise ConfigError(f"the text has no {MASK} — write one where a word is missing")
    tokenizer = known.tokenizer
    parts: list[IntArray] = [np.array([tokenizer.cls], np.int32)]
    for i, encoding in enumerate(tokenizer.encode(pieces)):
        parts += [np.array([tokenizer.mask], np.int32)] * (i > 0) + [encoding.ids]
    ids: IntArray = np.concatenate([*parts, np.array([tokenizer.sep], np.int32)])
    _check_length(len(ids), known)
    places = np.flatnonzero(ids == tokenizer.mask).astype(np.int32)
    logits_MV = _token_logits(known.model, [_features(ids)], [places], "cpu")[0]
    found = []
    for n, logits_V in enumerate(logits_MV):
        best = decode(logits_V, tokenizer, top)
        word = best[0][0].removeprefix("##")
        before, after = MASK.join(pieces[: n + 1]), MASK.join(pieces[n + 1 :])
        found.append(Filled(tuple(best), f"{before}{word}{after}"))
    return found


def follows(known: Pretrained, first: str, second: str) -> float:
    """Return the probability that `second` follows `first` in a text. Raises ModelError where there is no such head.

    >>> follows(open_base("filbert-mini"), "He opened the door.", "Nobody was there.")  # doctest: +SKIP
    0.93
    """
    if "nsp" not in known.has:
        raise ModelError("this model has no next sentence head — take one pre-trained with it, as filbert-mini")
    tokenizer = known.tokenizer
    a, b = (encoding.ids for encoding in tokenizer.encode([first, second]))
    ids = np.concatenate(([tokenizer.cls], a, [tokenizer.sep], b, [tokenizer.sep])).astype(np.int32)
    _check_length(len(ids), known)
    segments = np.repeat(np.array([0, 1], np.int32), [len(a) + 2, len(b) + 1])
    batch = pack([Features(ids, segments)])
    with torch.inference_mode():
        _, next_B2 = known.model.eval()(*tensors_of(batch, "cpu"), torch.empty(0, dtype=torch.int64))
    return float(next_B2.softmax(-1)[0, 0])


def pseudo_perplexity(
    model: PreTrainer, tokenizer: Tokenizer, texts: Sequence[IntArray], device: str
) -> dict[str, Any]:
    """Return exp of the mean loss of every token when it alone is masked, with its interval (Salazar et al. 2020)."""
    losses, groups = [], []
    for number, text in enumerate(texts):
        ids = np.concatenate(([tokenizer.cls], text, [tokenizer.sep])).astype(np.int32)
        copies = []
        for place in range(1, len(ids) - 1):
            copy = ids.copy()
            copy[place] = tokenizer.mask
            copies.append(_features(copy))
        places = [np.array([place], np.int32) for place in range(1, len(ids) - 1)]
        logits = torch.cat(_token_logits(model, copies, places, device))
        found_N = torch.nn.functional.cross_entropy(logits, torch.as_tensor(ids[1:-1]).long(), reduction="none")
        losses.append(found_N.numpy())
        groups.append(np.full(len(found_N), number))
    loss = intervals.grouped_mean(np.concatenate(losses), np.concatenate(groups))
    return {**loss, **{key: math.exp(loss[key]) for key in ("value", "low", "high")}, "texts": len(texts)}


def _features(ids: IntArray) -> Features:
    return Features(ids, np.zeros(len(ids), np.int32))


def _check_length(length: int, known: Pretrained) -> None:
    if length > known.model.encoder.config.max_positions:
        longest = known.model.encoder.config.max_positions
        raise ConfigError(f"the text has {length:,} tokens, the model reads {longest:,} — give a shorter one")


@torch.inference_mode()
def _token_logits(model: PreTrainer, rows: Sequence[Features], places: Sequence[IntArray], device: str) -> list[Tensor]:
    """Return logits_MV, on the CPU, at the given places of each text."""
    model.eval()
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for chosen in by_budget([len(row) for row in rows], TOKENS):
        batch = pack(rows, chosen)
        counts = [len(places[i]) for i in batch.order_B]
        masked = np.concatenate([places[i] + start for i, start in zip(batch.order_B, batch.starts_B, strict=False)])
        token_MD, _ = model(*tensors_of(batch, device), torch.as_tensor(masked, device=device))
        for i, logits_MV in zip(batch.order_B, torch.split(model.token_logits(token_MD).cpu(), counts), strict=True):
            found[i] = logits_MV
    return found
