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
from filbert.hashing import remembered
from filbert.metrics.intervals import Score, interval, resampled_means, wilson
from filbert.records import FloatArray

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
CHINESE = 0.25  # the share of Chinese characters among the letters from which on CMRC's rules hold
HAN = re.compile("[\u4e00-\u9fa5]")
RUN = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
CMRC_MARKS = frozenset(
    "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"
)  # those of CMRC's own script, whose "……" is no single character


def is_chinese(*texts: str) -> bool:
    """Tell whether a question, with its text, is measured by CMRC's rules: by the share of Chinese characters.

    >>> is_chinese("谁写了《边城》？"), is_chinese("Who wrote 边城?", "Shen Congwen did.")
    (True, False)
    """
    counted = [_letters(text) for text in texts]
    return sum(han for han, _ in counted) > CHINESE * sum(letters for _, letters in counted)


@remembered(20_000)
def _letters(text: str) -> tuple[int, int]:
    """Return how many Chinese characters and how many letters, those among them, a text has."""
    return len(HAN.findall(text)), sum(map(str.isalpha, text))


def words(answer: str) -> list[str]:
    """Return the words of an English answer that count.

    >>> words("The U.S. Navy,")
    ['us', 'navy']
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def characters(answer: str) -> list[str]:
    """Return the Chinese characters, and the words of other scripts, of an answer that count.

    Punctuation is skipped and ends no word; words are cut as `nltk.word_tokenize` cuts those of one sentence.

    >>> characters("光荣和ω-force。")
    ['光', '荣', '和', 'ωforce']
    """
    found: list[str] = []
    for part in RUN.findall("".join(c for c in answer.lower().strip() if c not in CMRC_MARKS)):
        found += [part] if HAN.match(part) else _tokens(part)
    return found


@remembered(20_000)
def _tokens(run: str) -> list[str]:
    run = run.strip()
    if not run or run.isdecimal():
        return [run] if run else []
    from nltk.tokenize import NLTKWordTokenizer  # rouge-score's own; loads in seconds

    return list(NLTKWordTokenizer().tokenize(run))


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

    English right ones of which nothing counts, as "the" and "%", are left out, as SQuAD's script does.

    >>> best_of(overlap, "Navy", ["the fleet", "a navy"], chinese=False), best_of(exact, "", [], chinese=False)
    (1.0, 1.0)
    """
    kept = right if chinese else [each for each in right if words(each)]
    return max(measure(found, each, chinese=chinese) for each in kept or ("",))


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


def mean(values_N: npt.ArrayLike) -> Score:
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
    return interval(value, resampled_means(each_N), certain, texts=len(each_N))
