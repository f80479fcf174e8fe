"""Which sentences a summary has: of scores, of a reference (greedily, by ROUGE), of the first ones, of centrality.

Shapes: S sentences of a document.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from filbert.hashing import remembered
from filbert.metrics.overlap import Grams, f_measure, grams, words
from filbert.records import FloatArray
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.sentences import gap, split

DAMPING = 0.85  # of PageRank
ROUNDS, CLOSE = 100, 1e-9  # of its power iteration
BLOCK = 4_000_000  # cosines held at once


def chosen(scores_S: npt.ArrayLike, texts: Sequence[str], settings: Settings) -> tuple[int, ...]:
    """Return the sentences of a summary, in the document's order: the best ones, as long as the settings say.

    With trigram blocking (Paulus et al. 2018) a sentence that shares three words in a row with a better one is left
    out. What does not fit is passed over; where nothing fits, the shortest sentence is given.

    >>> chosen([0.9, 0.8, 0.1], ["It is a big win.", "That is a big win.", "Fin."], Settings(2))
    (0, 2)
    """
    limit = settings.length * len(texts) if settings.unit == "share" else settings.length
    limit = max(1, round(limit)) if settings.unit in ("sentences", "share") else limit
    order = np.argsort(-np.asarray(scores_S, dtype=np.float64), kind="stable").tolist()
    taken: list[int] = []
    used, seen = 0, set[tuple[str, ...]]()
    for i in order:
        if used >= limit:
            break
        size = _size(texts, taken, i, settings.unit)
        if used + size > limit:
            continue
        if settings.blocking:
            three = set(grams(words(texts[i]), 3))
            if seen & three:
                continue
            seen |= three
        insort(taken, i)
        used += size
    return tuple(taken or sorted(order, key=lambda i: _size(texts, (), i, settings.unit))[:1])


def _size(texts: Sequence[str], taken: Sequence[int], i: int, unit: str) -> int:
    """Return by how much a sentence makes a summary of those taken longer: by the gaps around it, too."""
    if unit == "words":
        return len(words(texts[i]))
    if unit != "characters":
        return 1
    at = bisect(taken, i)
    before, after = (texts[taken[at - 1]] if at else ""), (texts[taken[at]] if at < len(taken) else "")
    return len(texts[i]) + len(gap(before, texts[i])) + len(gap(texts[i], after)) - len(gap(before, after))


@remembered(50_000)
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
    """Return the first sentences, as many as a summary has, none left out: hard to beat in the news."""
    return chosen(-np.arange(len(texts)), texts, replace(settings, blocking=False))


def textrank(texts: Sequence[str], settings: Settings) -> tuple[int, ...]:
    """Return the sentences that are most like the others, by TF-IDF: TextRank (Mihalcea & Tarau 2004).

    The cosine is LexRank's (Erkan & Radev 2004). The package that is usual for it has had no release for years, and
    these are a few lines.
    """
    return chosen(word_centrality(texts), texts, replace(settings, blocking=False))


def word_centrality(texts: Sequence[str]) -> FloatArray:
    """Return how central each sentence is by the words it shares with the others, 0 to 1 in sum.

    Words are weighed by how few sentences of the document have them.

    >>> word_centrality(["Sales rose in May.", "Sales fell in June.", "We slept."]).argmin()
    np.int64(2)
    """
    counts = [grams(words(text), 1) for text in texts]
    number = {gram: i for i, gram in enumerate(sorted(set().union(*counts)))}
    columns_P = np.array([number[gram] for found in counts for gram in found], dtype=np.int64)
    rows_P = np.repeat(np.arange(len(texts)), [len(found) for found in counts])
    values_P = np.array([count for found in counts for count in found.values()], dtype=np.float64)
    values_P *= np.log(1 + len(texts) / np.bincount(columns_P, minlength=1)[columns_P])
    squares_S = np.bincount(rows_P, np.square(values_P), len(texts))
    values_P /= np.sqrt(squares_S)[rows_P]

    def times(x_S: FloatArray) -> FloatArray:
        words_V = np.bincount(columns_P, values_P * x_S[rows_P], len(number))
        return np.bincount(rows_P, values_P * words_V[columns_P], len(texts)) - (squares_S > 0) * x_S

    return _page_rank(times, len(texts))


def centrality(vectors_SD: FloatArray) -> FloatArray:
    """Return how central each sentence is, 0 to 1 in sum: PageRank over the cosines of their vectors.

    The least cosine of the document counts as 0: those of a BERT are all large. No S × S matrix is held, as a document
    may have a hundred thousand sentences.

    >>> int(centrality(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])).argmax())
    1
    """
    lengths_S = np.linalg.norm(vectors_SD, axis=1)
    unit_SD = vectors_SD / np.where(lengths_S > 0, lengths_S, 1)[:, None]
    least = _least_cosine(unit_SD)
    own_S = (lengths_S > 0) - least  # of a sentence with itself, which is not counted
    return _page_rank(lambda x_S: unit_SD @ (unit_SD.T @ x_S) - least * x_S.sum() - own_S * x_S, len(vectors_SD))


def _page_rank(times: Callable[[FloatArray], FloatArray], count: int) -> FloatArray:
    """Return the PageRank of each sentence (Brin & Page 1998); `times` multiplies by the matrix of their cosines."""
    if count < 2:
        return np.ones(count)
    sums_S = times(np.ones(count))
    linked_S = sums_S > 1e-12 * count
    shares_S = np.where(linked_S, 1 / np.where(linked_S, sums_S, 1), 0)
    found_S = np.full(count, 1 / count)
    for _ in range(ROUNDS):
        moved_S = times(found_S * shares_S) + found_S[~linked_S].sum() / count
        before_S, found_S = found_S, (1 - DAMPING) / count + DAMPING * moved_S
        if np.abs(found_S - before_S).max() < CLOSE:
            break
    return np.asarray(np.round(found_S, 12))  # equal sentences stay equal, whatever order they are summed in


def _least_cosine(unit_SD: FloatArray) -> float:
    """Return the least product of two different rows, some rows at a time."""
    count, least = len(unit_SD), np.inf
    rows = max(1, BLOCK // max(1, count))
    for begin in range(0, count, rows):
        part_RS = unit_SD[begin : begin + rows] @ unit_SD.T
        at_R = np.arange(len(part_RS))
        part_RS[at_R, begin + at_R] = np.inf
        least = min(least, float(part_RS.min()))
    return least if count > 1 else 0.0


def reference_sentences(summary: str) -> tuple[str, ...]:
    """Return the sentences of a reference summary; those of some data sets lack the space between two."""
    return split(summary) or (summary,)
