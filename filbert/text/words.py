"""Where the words of a text stand, in any script: Chinese by `jieba` where it is installed, else by character."""

from __future__ import annotations

import re
import unicodedata

from filbert.errors import ConfigError
from filbert.text.chinese import HAN_RUN, word_starts

APOSTROPHES = "'’"


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return begin and end of each word, in code points; a mark of punctuation is one by itself, a blank is none.

    >>> text = "Don't stop: 3 films!"
    >>> [text[begin:end] for begin, end in word_spans(text)]
    ["Don't", 'stop', ':', '3', 'films', '!']
    """
    begins = _chinese_starts(text)
    found: list[tuple[int, int]] = []
    before = " "  # the kind of the character before
    for i, character in enumerate(text):
        kind = _kind(character)
        if character in APOSTROPHES and before == "word" and _kind(text[i + 1 : i + 2] or " ") == "word":
            kind = "word"
        joined = kind == before and kind in ("word", "symbol", "han") and i not in begins
        if joined or (kind == "mark" and before not in (" ", "other")):
            found[-1] = (found[-1][0], i + 1)
            continue
        if kind != " ":
            found.append((i, i + 1))
        before = "other" if kind == "mark" else kind
    return found


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category in ("Cc", "Zl", "Zp"):
        return " "
    if HAN_RUN.match(character):
        return "han"
    if character.isalnum() or character == "_":
        return "word"
    if category[0] == "M" or category in ("Cf", "Sk"):  # accents, joiners and skin tones belong to what is before them
        return "mark"
    return "symbol" if category == "So" else "other"


def _chinese_starts(text: str) -> set[int]:
    """Return where words of Han characters begin; at each of the characters without jieba."""
    if not HAN_RUN.search(text):
        return set()
    try:
        return word_starts(text)
    except ConfigError:
        return {i for run in re.finditer(HAN_RUN, text) for i in range(*run.span())}
