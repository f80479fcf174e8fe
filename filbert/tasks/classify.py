"""Text classification: one label for a text, read off the [CLS] vector (Devlin et al. 2018, §4.1).

The five verbs, in order: features → head → loss → decode → score.

Shapes: B texts, D hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filbert import metrics
from filbert.model.attention import Spans
from filbert.model.encoder import Dropout, Encoder, Linear, initialise
from filbert.records import Encoding, Features, FloatArray, IntArray, Prediction
from filbert.text.tokenizer import Tokenizer


def features(encoding: Encoding, tokenizer: Tokenizer, max_length: int, target: int | None = None) -> Features:
    """Add [CLS] and [SEP]; of a text that is too long keep the first quarter and the last three (Sun et al. 2019).

    >>> tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])
    >>> row = features(tokenizer.encode(["a b b b b b b b a a"])[0], tokenizer, max_length=8)
    >>> row.ids.tolist(), row.cut
    ([2, 5, 6, 6, 6, 5, 5, 3], 4)
    """
    room, ids = max_length - 2, encoding.ids
    cut = max(0, len(ids) - room)
    if cut:
        head = room // 4
        ids = np.concatenate((ids[:head], ids[len(ids) - (room - head) :]))
    framed = np.concatenate(([tokenizer.cls], ids, [tokenizer.sep])).astype(np.int32)
    return Features(framed, np.zeros(len(framed), dtype=np.int32), target, cut)


class Classifier(nn.Module):
    """Encoder, pooler and a fully connected layer to the classes; the head always computes in fp32."""

    def __init__(self, encoder: Encoder, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = encoder.config.hidden
        self.encoder = encoder
        self.pooler = Linear(width, width)
        self.dropout = Dropout(encoder.config.dropout)
        self.classifier = Linear(width, classes)
        initialise(self.pooler, generator)
        initialise(self.classifier, generator)

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Packed ids → logits_BC in fp32."""
        return self.head(self.encoder(ids_T, positions_T, segments_T, spans, first_only=True))

    def head(self, first_BD: Tensor) -> Tensor:
        """[CLS] vectors → logits_BC: tanh pooler, dropout, one linear layer."""
        pooled_BD = torch.tanh(self.pooler(first_BD.float()))
        return self.classifier(self.dropout(pooled_BD))  # type: ignore[no-any-return]


class Scorer(nn.Module):
    """A classifier for inference, put together of an encoder of any kind and a head: `Classifier.head`.

    The head always sees as many rows at once, since torch sums up in another order for another number of them: where
    the encoder gives a text the same bits in any batch, so does this.
    """

    rows = 32

    def __init__(self, encoder: nn.Module, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Packed ids → logits_BC in fp32."""
        first_BD = self.encoder(ids_T, positions_T, segments_T, spans, first_only=True)
        blocks = torch.split(F.pad(first_BD, (0, 0, 0, -len(first_BD) % self.rows)), self.rows)
        return torch.cat([self.head(block) for block in blocks])[: len(first_BD)]


def loss(logits_BC: Tensor, targets_B: Tensor) -> Tensor:
    """Return the cross-entropy summed over the texts: the trainer divides by the size of the whole batch."""
    return F.cross_entropy(logits_BC, targets_B, reduction="sum")


def decode(probabilities_C: Sequence[float], labels: Sequence[str], *, truncated: bool = False) -> Prediction:
    """Name the most probable class; of equal ones the first."""
    return Prediction(labels[int(np.argmax(probabilities_C))], tuple(map(float, probabilities_C)), truncated)


def score(true_N: IntArray, probabilities_NC: FloatArray, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, MCC, calibration and the per-class table, each with its 95 % interval."""
    return metrics.score(true_N, probabilities_NC, labels)
