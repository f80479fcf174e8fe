"""Random words as a corpus in memory, and masked batches of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from small import VOCAB, tokenizer

from filbert.corpus.pool import Pool
from filbert.pretraining.masking import Masking, features
from filbert.records import PackedBatch

WORDS = tokenizer()
PLAIN = Masking.of(WORDS, 0.15, False)
WHOLE = Masking.of(WORDS, 0.15, True)


def pool(tokens: int = 60_000, sentence: int = 20, document: int = 200, **changes: Any) -> Pool:
    """Random words in documents of equal sentences; a third of the tokens go on with the word before."""
    random = np.random.default_rng(0)
    ids = random.integers(5, len(VOCAB), tokens).astype(np.uint16)
    begins = (random.random(tokens) > 1 / 3).astype(np.uint8)
    begins[::sentence] = 1
    sentences = np.arange(0, tokens + 1, sentence)
    documents = np.arange(0, len(sentences), document // sentence)
    return Pool([SimpleNamespace(ids_T=ids, begins_T=begins, sentences_S=sentences, documents_D=documents)], **changes)


def batch(masking: Masking = PLAIN, key: int = 0, count: int = 40, length: int = 64, pairs: bool = True) -> PackedBatch:
    source = pool()
    rows = source.plan(length, pairs=pairs, seed=0, epoch=0)[:count]
    return features(source, rows, np.arange(len(rows)), tokenizer=WORDS, masking=masking, key=key)
