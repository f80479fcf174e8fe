"""ROUGE: how much of a reference summary's words a summary has (Lin 2004), with intervals; Chinese by characters.

The figures that are reported are those of the package `rouge-score`, with Porter's stemmer, as published ones have;
ROUGE-L is the one over whole summaries, sentence by sentence ("Lsum"). What is needed a thousand times over, while it
trains and to make labels, is counted here, without stems. No torch here.

Shapes: N texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from filbert.hashing import remembered
from filbert.metrics.intervals import Score, interval, resampled_means, wilson
from filbert.records import FloatArray

FIGURES = ("rouge1", "rouge2", "rougeL")
_HAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Korean syllables alike
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")

Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; a Chinese character is a word.

    >>> words("The U.S. grew 3%.它增长了")
    ['the', 'u', 's', 'grew', '3', '它', '增', '长', '了']
    """
    return _WORD.findall(text.lower())


def grams(tokens: Sequence[str], n: int) -> Grams:
    """Return how often each run of n words occurs.

    >>> grams(["a", "b", "a", "b"], 2)[("a", "b")]
    2
    """
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def f_measure(hits: int, summary: int, reference: int) -> float:
    """Return F1 of so many common runs of words, of so many in the summary and in the reference.

    >>> f_measure(2, 4, 2)
    0.6666666666666666
    """
    return 2 * hits / (summary + reference) if hits else 0.0


def counted(summary: Sequence[str], reference: str) -> tuple[float, float]:
    """Return ROUGE-1 and ROUGE-2 (F1) of a summary's sentences, without stems; runs of words end with a sentence.

    >>> counted(["the cat sat"], "The cat sat down.")
    (0.8571428571428571, 0.8)
    """
    found = []
    tokens, wanted = [words(sentence) for sentence in summary], words(reference)
    for n in (1, 2):
        ours, theirs = sum((grams(each, n) for each in tokens), Grams()), grams(wanted, n)
        found.append(f_measure((ours & theirs).total(), ours.total(), theirs.total()))
    return found[0], found[1]


@remembered(20_000)
def rouge(summary: tuple[str, ...], reference: tuple[str, ...]) -> tuple[float, float, float]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L (F1) of a summary's sentences against a reference's, by `rouge-score`.

    >>> [round(each, 3) for each in rouge(("The cat sits.",), ("A cat sat.",))]  # doctest: +SKIP
    [0.333, 0.0, 0.333]
    """
    texts = ("\n".join(" ".join(each.split()) for each in sentences) for sentences in (reference, summary))
    found = _scorer().score(*texts)
    return tuple(float(found[key].fmeasure) for key in ("rouge1", "rouge2", "rougeLsum"))  # type: ignore[return-value]


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # loads nltk: seconds

    return RougeScorer(["rouge1", "rouge2", "rougeLsum"], tokenizer=_Words())


class _Words:
    """The words that `rouge-score` counts: its own and their stems, and Chinese characters, which it would drop."""

    def tokenize(self, text: str) -> list[str]:
        return [_stem(word) for word in words(text)]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    from nltk.stem.porter import PorterStemmer  # rouge-score's own

    return str(PorterStemmer().stem(word)) if len(word) > 3 and word.isascii() else word


def means(figures_NF: FloatArray, *, resamples: int = 1000) -> Score:
    """Return the mean of each figure over texts, with its 95 % interval.

    >>> import numpy as np
    >>> means(np.array([[0.2, 0.1, 0.2]] * 4))["rouge1"]["value"]
    0.2
    """
    n = len(figures_NF)
    values_F = figures_NF.mean(axis=0)
    drawn_RF = resampled_means(figures_NF, resamples=resamples)
    unseen = wilson(0, n)[1]
    found: Score = {}
    for name, value, drawn_R in zip(FIGURES, values_F.tolist(), drawn_RF.T, strict=True):
        found[name] = interval(value, drawn_R, (max(0.0, value - unseen), min(1.0, value + unseen)), texts=n)
    return found
