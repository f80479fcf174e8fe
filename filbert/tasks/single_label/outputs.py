"""Text classification: one label for a text, read off the [CLS] vector (Devlin et al. 2018, §4.1).

The verbs, in order: features → head → loss → decode → score. Head and loss are model/classifier.py's, as they need
torch, and what scores in C++ does without.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.metrics import classes
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


def decode(probabilities_C: Sequence[float], labels: Sequence[str], *, truncated: bool = False) -> Prediction:
    """Name the most probable class; of equal ones the first."""
    return Prediction(labels[int(np.argmax(probabilities_C))], tuple(map(float, probabilities_C)), truncated)


def score(true_N: IntArray, probabilities_NC: FloatArray, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, MCC, calibration and the per-class table, each with its 95 % interval."""
    return classes.score(true_N, probabilities_NC, labels)
