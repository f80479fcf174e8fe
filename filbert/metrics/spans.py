"""Answers cut out of a text, measured as SQuAD and CMRC measure them: exact match and F1. No torch here.

English: Rajpurkar et al. 2016 (lower case, punctuation and articles left out, F1 over the bag of words). Chinese:
Cui et al. 2019 (punctuation left out, characters and words, F1 over the longest run that both share). Of several right
answers the best counts; an empty answer says that there is none (Rajpurkar et al. 2018).

Shapes: N questions.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.metrics.intervals import Score, interval, text_counts, wilson
from filbert.records import FloatArray

RESAMPLES = 1000
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
HAN = re.compile("[\u4e00-\u9fa5]")
CMRC_MARKS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》…·、「」（）－～『』")  # those of CMRC's own script
PIECE = re.compile(r"\w+|[^\w\s]")


def is_chinese(question: str) -> bool:
    """Tell whether a question is measured by CMRC's rules.

    >>> is_chinese("谁写了《边城》？"), is_chinese("Who wrote it?")
    (True, False)
    """
    return HAN.search(question) is not None


def words(answer: str) -> list[str]:
    """Return the words of an English answer that count.

    >>> words("The U.S. Navy,")
    ['us', 'navy']
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def characters(answer: str) -> list[str]:
    """Return the Chinese characters, and the words of other scripts, of an answer that count.

    >>> characters("光荣和ω-force。")
    ['光', '荣', '和', 'ω', 'force']
    """
    found: list[str] = []
    run = ""
    for mark in answer.lower().strip() + " ":
        if HAN.match(mark) or mark in CMRC_MARKS or mark.isspace():
            found += PIECE.findall(run)
            run = ""
            found += [mark] if HAN.match(mark) else []
        else:
            run += mark
    return found


def exact(found: str, right: str, *, chinese: bool) -> float:
    """Return 1.0 where an answer is the right one but for case, punctuation and English articles, else 0.0.

    >>> exact("the Navy", "Navy.", chinese=False), exact("武田信玄", "武田", chinese=True)
    (1.0, 0.0)
    """
    if not chinese:
        return float(words(found) == words(right))
    one, two = ("".join(c for c in answer.lower().strip() if c not in CMRC_MARKS) for answer in (found, right))
    return float(one == two)


def overlap(found: str, right: str, *, chinese: bool) -> float:
    """Return the F1 of an answer and the right one.

    >>> overlap("the big Navy", "Navy", chinese=False), round(overlap("武田信玄", "武田", chinese=True), 3)
    (0.6666666666666666, 0.667)
    """
    cut = characters if chinese else words
    one, two = cut(found), cut(right)
    if not one or not two:
        return float(one == two)
    shared = longest_run(one, two) if chinese else sum((Counter(one) & Counter(two)).values())
    return 2 * shared / (len(one) + len(two))


def longest_run(one: Sequence[str], two: Sequence[str]) -> int:
    """Return the length of the longest run of items that two lists have in common.

    >>> longest_run("abcd", "xbcy")
    2
    """
    best, before = 0, [0] * (len(two) + 1)
    for a in one:
        row = [0] * (len(two) + 1)
        for j, b in enumerate(two):
            if a == b:
                row[j + 1] = before[j] + 1
                best = max(best, row[j + 1])
        before = row
    return best


def best_of(measure: Callable[..., float], found: str, right: Sequence[str], *, chinese: bool) -> float:
    """Return how good an answer is beside the right one that it is nearest to; without right ones it should be empty.

    >>> best_of(overlap, "Navy", ["the fleet", "a navy"], chinese=False), best_of(exact, "", [], chinese=False)
    (1.0, 1.0)
    """
    return max(measure(found, each, chinese=chinese) for each in right or ("",))


def measured(
    found: Sequence[str], right: Sequence[Sequence[str]], chinese: Sequence[bool]
) -> tuple[FloatArray, FloatArray]:
    """Return exact match and F1 of each answer."""
    if not len(found) == len(right) == len(chinese):
        raise ConfigError(f"{len(found)} answers, {len(right)} right ones — give lists of one length")
    rows = list(zip(found, right, chinese, strict=True))
    return (
        np.array([best_of(exact, *row[:2], chinese=row[2]) for row in rows], dtype=np.float64),
        np.array([best_of(overlap, *row[:2], chinese=row[2]) for row in rows], dtype=np.float64),
    )


def score_spans(found: Sequence[str], right: Sequence[Sequence[str]], chinese: Sequence[bool]) -> Score:
    """Return EM and F1 with their 95 % intervals: of all, and apart of questions with an answer and without one.

    >>> scores = score_spans(["Navy", "fleet"], [["the navy"], []], [False, False])
    >>> scores["n"], scores["em"]["value"], scores["f1_answerable"]["value"], scores["em_unanswerable"]["value"]
    (2, 0.5, 1.0, 0.0)
    """
    em_N, f1_N = measured(found, right, chinese)
    answerable_N = np.array([bool(each) for each in right], dtype=bool)
    scores: Score = {"n": len(em_N), "em": mean(em_N), "f1": mean(f1_N)}
    if not answerable_N.all():
        scores["answerable"], scores["unanswerable"] = int(answerable_N.sum()), int((~answerable_N).sum())
        scores["em_answerable"], scores["f1_answerable"] = mean(em_N[answerable_N]), mean(f1_N[answerable_N])
        scores["em_unanswerable"] = mean(em_N[~answerable_N])
    return scores


def mean(values_N: npt.ArrayLike, *, seed: int = 0) -> Score:
    """Return the mean of numbers between 0 and 1 with its 95 % interval, bootstrapped over questions.

    >>> found = mean([1.0, 0.0, 1.0, 0.0])
    >>> found["value"], found["low"] < 0.5 < found["high"]
    (0.5, True)
    """
    each_N = np.asarray(values_N, dtype=np.float64)
    if not len(each_N):
        return {"value": None, "low": None, "high": None}
    value = float(each_N.mean())
    certain = wilson(round(value * len(each_N)), len(each_N))
    return interval(value, _means(each_N, seed), certain)


def paired_difference_of_means(first_N: FloatArray, second_N: FloatArray, *, seed: int = 0) -> Score:
    """Return the mean of the first numbers minus that of the second with its 95 % interval, on the same questions.

    >>> paired_difference_of_means(np.array([1.0, 0.5]), np.array([0.5, 0.0]))["value"]
    0.5
    """
    apart_N = np.asarray(first_N, dtype=np.float64) - np.asarray(second_N, dtype=np.float64)
    return interval(float(apart_N.mean()), _means(apart_N, seed))


def _means(each_N: FloatArray, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    drawn = [counts_RN @ each_N for counts_RN in text_counts(len(each_N), RESAMPLES, rng)]
    return np.asarray(np.concatenate(drawn) / len(each_N), dtype=np.float64)
