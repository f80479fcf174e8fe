"""The baseline to beat: TF-IDF chooses a sentence, and the words next to the question's words in it are the answer.

After the sliding window of Richardson et al. 2013 and Rajpurkar et al. 2016, but nothing of it looks at right answers
beyond their usual length:

1. The sentence with the largest sum of idf of words (Chinese: characters) that it shares with the question, divided by
   the square root of its length.
2. In it the run of as many words as a training answer has (the median) that shares least with the question and stands
   nearest to words of it: idf of the question's words within five words of the run, less twice that of those in it.

idf is counted on the training texts. It always answers.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from filbert.records import Example
from filbert.tasks.question_answering.outputs import AnswerPrediction
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.question_answering.units import units
from filbert.tasks.task import Baseline
from filbert.text.sentences import spans

AROUND = 5  # words on each side of an answer that speak for it
NAME = "sliding window of TF-IDF"


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Count words of the training texts, and answer every question with the best run of words."""
    began = time.perf_counter()
    seen = Counter[str]()
    contexts = dict.fromkeys(example.inputs[-1] for example in train)
    for context in contexts:
        seen.update({word for word, _, _ in units(context)})
    idf = {word: math.log((1 + len(contexts)) / (1 + count)) + 1 for word, count in seen.items()}
    rare = math.log(1 + len(contexts)) + 1
    lengths = [len(units(example.target[0].text)) for example in train if example.target]
    usual = max(1, round(median(lengths)))
    found = {
        split: [guessed(example.inputs[0], example.inputs[-1], idf, rare, usual) for example in examples]
        for split, examples in asked.items()
    }
    return Baseline(NAME, time.perf_counter() - began, found, linear=False)


def guessed(question: str, context: str, idf: Mapping[str, float], rare: float, usual: int) -> AnswerPrediction:
    """Return the run of `usual` words that stands nearest to the question's words.

    >>> guessed("Who won the race?", "It rained. Ann Lee won the race. All went home.", {}, 1.0, 2).answer
    'Ann Lee'
    """
    weigh = {word: idf.get(word, rare) for word, _, _ in units(question)}
    sentences = [units(context[begin:end]) for begin, end in spans(context)]
    begins = [begin for begin, _ in spans(context)]
    if not any(sentences):
        return AnswerPrediction(no_answer=True)

    def shared(sentence: Sequence[tuple[str, int, int]]) -> float:
        words = {word for word, _, _ in sentence}
        return sum(weigh.get(word, 0.0) for word in words) / math.sqrt(1 + len(sentence))

    best = max((i for i, sentence in enumerate(sentences) if sentence), key=lambda i: shared(sentences[i]))
    sentence, size = sentences[best], min(usual, len(sentences[best]))
    values = [weigh.get(word, 0.0) for word, _, _ in sentence]

    def near(at: int) -> float:
        inside = sum(values[at : at + size])
        return sum(values[max(0, at - AROUND) : at + size + AROUND]) - 3 * inside

    at = max(range(len(sentence) - size + 1), key=near)
    start, end = begins[best] + sentence[at][1], begins[best] + sentence[at + size - 1][2]
    return AnswerPrediction(answer=context[start:end], start=start, end=end)
