"""Which texts are the same for a model: BERT's own cleaning makes them equal, whatever the eye sees.

The base is not chosen yet where data are divided, so the most forgiving of BERT's tokenizers counts, the uncased one.
For a cased model some of these texts differ, and none of them belongs on two sides of a split either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tokenizers import normalizers

_CLEAN = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)


def same_key(inputs: Sequence[str]) -> bytes:
    r"""Return 16 bytes that texts, or pairs of texts, have in common where a model may read them alike.

    Case, accents, Unicode's two ways to write them, control and zero-width characters count for nothing, nor which and
    how much white space there is.

    >>> same_key(["Good\u00a0 room\r\n"]) == same_key(["good room"]), same_key(["now here"]) == same_key(["nowhere"])
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for text in inputs:
        data = cleaned(text).encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.digest()


def cleaned(text: str) -> str:
    r"""Return what a model reads of a text, with one blank between words; each Chinese character is a word.

    >>> cleaned("Très bon\u00a0!"), cleaned("很好")
    ('tres bon !', '很 好')
    """
    return " ".join(_CLEAN.normalize_str(_scalar(text)).split())


def _scalar(text: str) -> str:
    """Return a text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
