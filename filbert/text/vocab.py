"""Learn a WordPiece vocabulary from a stream of texts, with the `tokenizers` library's trainer.

Han characters stand alone, letters are lower-cased or not as told, and the rules travel with the tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from filbert.errors import DataError, Place, Problem
from filbert.text.tokenizer import SPECIALS, Tokenizer


def learn(texts: Iterable[str], size: int = 16_000, *, lowercase: bool = True) -> Tokenizer:
    """Learn at most `size` word pieces from texts, special tokens included, and return the tokenizer.

    Raises DataError where the texts hold no word at all.

    >>> len(learn(["the cat sat on the mat"] * 9, size=40)) <= 40
    True
    """
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIALS), show_progress=False, continuing_subword_prefix="##"
    )
    backend.train_from_iterator(texts, trainer)
    vocab = backend.get_vocab()
    if len(vocab) <= len(SPECIALS):
        problem = Problem(Place("the corpus"), "text", "holds no word to learn from", "give texts with words")
        raise DataError([problem])
    return Tokenizer.from_vocab(sorted(vocab, key=vocab.__getitem__), lowercase=lowercase)
