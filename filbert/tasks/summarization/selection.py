"""Which sentences a summary has: of scores, of a reference (greedily, by ROUGE), of the first ones, of centrality.

Shapes: S sentences of a document.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from filbert.metrics.overlap import Grams, f_measure, grams, words
from filbert.records import FloatArray
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.sentences import split

DAMPING = 0.85  # of PageRank (Brin & Page 1998)
ROUNDS, CLOSE = 100, 1e-9  # of its power iteration


def chosen(scores_S: npt.ArrayLike, texts: Sequence[str], settings: Settings) -> tuple[int, ...]:
    """Return the sentences of a summary, in the document's order: the best ones, as long as the settings say.

    With trigram blocking (Paulus et al. 2018) a sentence that shares three words in a row with a better one is left
    out. One sentence is always given.

    >>> chosen([0.9, 0.8, 0.1], ["It is a big win.", "That is a big win.", "Fin."], Settings(2))
    (0, 2)
    """
    limit = settings.length * len(texts) if settings.unit == "share" else settings.length
    limit = max(1, round(limit)) if settings.unit in ("sentences", "share") else limit
    taken: list[int] = []
    used, seen = 0.0, set[tuple[str, ...]]()
    for i in np.argsort(-np.asarray(scores_S, dtype=np.float64), kind="stable").tolist():
        size = _size(texts[i], settings.unit)
        if used >= limit:
            break
        if taken and used + size > limit:
            continue
        if settings.blocking:
            three = set(grams(words(texts[i]), 3))
            if seen & three:
                continue
            seen |= three
        taken.append(i)
        used += size
    return tuple(sorted(taken))


def _size(text: str, unit: str) -> int:
    return {"words": lambda: len(words(text)), "characters": lambda: len(text)}.get(unit, lambda: 1)()


@lru_cache(maxsize=50_000)
def oracle(texts: tuple[str, ...], reference: str) -> tuple[int, ...]:
    """Return the sentences that together are most like a reference: the best first, then what makes it better still.

    Likeness is ROUGE-1 + ROUGE-2 (F1), as in Liu 2019, after Nallapati et al. 2017. Nothing where no word is shared.

    >>> oracle(("Sales rose.", "It rained.", "Profits fell."), "Profits fell, and sales rose.")
    (0, 2)
    """
    wanted = [grams(words(reference), n) for n in (1, 2)]
    sizes = [each.total() for each in wanted]
    tokens = [words(text) for text in texts]
    counts = [[grams(each, n) for n in (1, 2)] for each in tokens]
    shared = [
        [{g: c for g, c in found.items() if g in want} for found, want in zip(each, wanted, strict=True)]
        for each in counts
    ]
    totals = [[found.total() for found in each] for each in counts]
    taken: list[int] = []
    have, hits, used, best = [Grams(), Grams()], [0, 0], [0, 0], 0.0
    left = [i for i in range(len(texts)) if shared[i][0]]
    while left:
        tried = []
        for i in left:
            gained = [_gain(shared[i][n], have[n], wanted[n]) for n in (0, 1)]
            tried.append(sum(f_measure(hits[n] + gained[n], used[n] + totals[i][n], sizes[n]) for n in (0, 1)))
        at = int(np.argmax(tried))
        if tried[at] <= best:
            break
        i, best = left.pop(at), tried[at]
        taken.append(i)
        for n in (0, 1):
            hits[n] += _gain(shared[i][n], have[n], wanted[n])
            have[n].update(shared[i][n])
            used[n] += totals[i][n]
    return tuple(sorted(taken))


def _gain(more: dict[tuple[str, ...], int], have: Grams, wanted: Grams) -> int:
    return sum(min(wanted[g], have[g] + c) - min(wanted[g], have[g]) for g, c in more.items())


def lead(texts: Sequence[str], settings: Settings) -> tuple[int, ...]:
    """Return the first sentences, as many as a summary has: hard to beat in the news."""
    return chosen(-np.arange(len(texts)), texts, settings)


def textrank(texts: Sequence[str], settings: Settings) -> tuple[int, ...]:
    """Return the sentences that are most like the others, by TF-IDF: TextRank (Mihalcea & Tarau 2004).

    The cosine is LexRank's (Erkan & Radev 2004). The package that is usual for it has had no release for years, and
    these are ten lines.
    """
    return chosen(centrality(_tfidf(texts)), texts, settings)


def _tfidf(texts: Sequence[str]) -> FloatArray:
    """Return a row for each sentence: words weighted by how few sentences of the document have them."""
    counts = [grams(words(text), 1) for text in texts]
    number = {gram: i for i, gram in enumerate(sorted(set().union(*counts)))}
    rows_SW = np.zeros((len(texts), max(1, len(number))))
    for row_W, found in zip(rows_SW, counts, strict=True):
        for gram, count in found.items():
            row_W[number[gram]] = count
    having_W = (rows_SW > 0).sum(axis=0)
    return np.asarray(rows_SW * np.log(1 + len(texts) / np.maximum(having_W, 1)))


def centrality(vectors_SD: FloatArray) -> FloatArray:
    """Return how central each sentence is, 0 to 1 in sum: PageRank over the cosines of their vectors.

    The least cosine of the document counts as 0: those of a BERT are all large.

    >>> int(centrality(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])).argmax())
    1
    """
    lengths_S1 = np.linalg.norm(vectors_SD, axis=1, keepdims=True)
    unit_SD = vectors_SD / np.where(lengths_S1 > 0, lengths_S1, 1)
    cosines_SS = unit_SD @ unit_SD.T
    count = len(cosines_SS)
    if count > 1:
        others_SS = cosines_SS[~np.eye(count, dtype=bool)]
        cosines_SS = np.maximum(cosines_SS - others_SS.min(), 0)
    np.fill_diagonal(cosines_SS, 0)
    sums_S1 = cosines_SS.sum(axis=1, keepdims=True)
    moves_SS = np.where(sums_S1 > 1e-12, cosines_SS / np.where(sums_S1 > 1e-12, sums_S1, 1), 1 / count)
    found_S = np.full(count, 1 / count)
    for _ in range(ROUNDS):
        before_S, found_S = found_S, (1 - DAMPING) / count + DAMPING * found_S @ moves_SS
        if np.abs(found_S - before_S).max() < CLOSE:
            break
    return found_S


def reference_sentences(summary: str) -> tuple[str, ...]:
    """Return the sentences of a reference summary; those of some data sets lack the space between two."""
    return split(summary) or (summary,)
