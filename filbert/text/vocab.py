"""Learn a WordPiece vocabulary from texts, with the `tokenizers` library's trainer.

Han characters stand alone, letters are lower-cased or not as told, and the rules travel with the tokenizer. The same
texts give the same vocabulary, which the trainer alone does not promise: it breaks ties by ids that it hands out in the
order of a hash table. So the ids of all characters are fixed before it starts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from filbert.errors import DataError, Place, Problem
from filbert.text.tokenizer import SPECIALS, Tokenizer


def learn(texts: Collection[str], size: int = 16_000, *, lowercase: bool = True) -> Tokenizer:
    """Learn at most `size` word pieces from texts, special tokens included, and return the tokenizer.

    The rarest characters are left out where characters alone would fill more than half of the vocabulary. Raises
    DataError where the texts hold no word at all.

    >>> len(learn(["the cat sat on the mat"] * 9, size=40)) <= 40
    True
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(normalizer.normalize_str(text))
    ranked = sorted((c for c in seen if not c.isspace()), key=lambda c: (-seen[c], c))
    if not ranked:
        problem = Problem(Place("the corpus"), "text", "holds no word to learn from", "give texts with words")
        raise DataError([problem])
    alphabet = sorted(ranked[: max(1, size // 4)])
    pieces = [*SPECIALS, *alphabet, *(f"##{c}" for c in alphabet if c.isalnum() and not "\u3400" <= c <= "\u9fff")]
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(size, len(pieces)),
        special_tokens=pieces,
        limit_alphabet=len(alphabet),
        show_progress=False,
        continuing_subword_prefix="##",
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))
    learned = sorted(set(backend.get_vocab()) - set(pieces), key=lambda token: (len(token), token))
    return Tokenizer.from_vocab([*pieces, *learned][: max(size, len(pieces))], lowercase=lowercase)
