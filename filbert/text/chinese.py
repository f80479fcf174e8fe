"""Segment Chinese into words, for whole word masking, and measure the share of Chinese characters.

`jieba` (extra `zh`) segments runs of Han characters; where other words begin is seen from their WordPiece tokens.
jieba's own `initialize` is not used: it reads and writes a cache in the shared temporary folder, where any user may
write.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from filbert.errors import ConfigError

# the characters that BERT's tokenizer makes tokens of their own
HAN_RUN = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]+"
)


def word_starts(text: str) -> set[int]:
    """Return the offsets, in code points, at which a word of Han characters begins.

    Raises ConfigError where jieba is not installed.

    >>> sorted(word_starts("AI 改变北京大学"))  # 改变 · 北京大学
    [3, 5]
    """
    cut = _jieba_cut()
    found: set[int] = set()
    for run in HAN_RUN.finditer(text):
        at = run.start()
        for word in cut(run.group()):
            found.add(at)
            at += len(word)
    return found


@cache
def _jieba_cut() -> Callable[[str], Iterable[str]]:
    """Return jieba's `cut`; its dictionary is loaded once, in a second or two."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's source holds invalid escapes and a deprecated import
            import jieba
    except ImportError:
        raise ConfigError("Chinese words need jieba, which is not installed — pip install 'filbert[zh]'") from None
    jieba.setLogLevel(logging.ERROR)
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    cut: Callable[[str], Iterable[str]] = tokenizer.cut
    return cut


def han_share(texts: Sequence[str], sample: int = 1000) -> float:
    """Return the share of Chinese characters among the letters of (at most `sample` of) the texts.

    >>> han_share(["很好 ok"])
    0.5
    """
    step = max(1, len(texts) // sample)
    letters = [ch for text in texts[::step] for ch in text[:500] if ch.isalpha()]
    han = sum("\u3400" <= ch <= "\u9fff" or "\U00020000" <= ch <= "\U0003ffff" for ch in letters)
    return han / len(letters) if letters else 0.0
