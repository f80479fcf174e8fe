"""Answers out of texts: from candidates to predictions and scores, and for people.

Shapes: N questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filbert.errors import Refusal, shown
from filbert.metrics import spans
from filbert.metrics.intervals import paired_difference_of_means
from filbert.records import Example, FloatArray, Prediction
from filbert.tasks.labels import MISTAKES
from filbert.tasks.question_answering.candidates import Candidates, all_candidates
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.task import Doubt, Json, Outputs, Shown, Windows

OTHERS = 4  # alternatives given
DIGITS = 4  # of a probability
AROUND = 300  # characters of a text shown on each side of an answer in a report
RIGHT_ONES = 6  # answers that a report shows beside the mistakes
NO_ANSWER = "no answer"
EMPTY = "[]"  # the cell of a question without an answer
DOUBTFUL = 0.5  # F1 below which another answer is suggested


@dataclass(frozen=True)
class Alternative:
    """Another answer, apart from the first and from the others, and how probable it is."""

    answer: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class AnswerPrediction(Prediction):
    """An answer as the text has it, from `start` to `end` in code points; or that there is none."""

    answer: str = ""
    start: int | None = None
    end: int | None = None
    no_answer: bool = False
    """Whether the text has no answer, as far as the model sees; `confidence` is then how probable that is."""
    alternatives: tuple[Alternative, ...] = ()


def empty(error: str) -> Prediction:
    """Return a prediction without an answer."""
    return AnswerPrediction(error=error)


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Give the best span over all windows of each text, or say that there is no answer."""
    return [answered(found, settings) for found in all_candidates(outputs, windows, settings)]


def answered(found: Candidates, settings: Settings) -> AnswerPrediction:
    """Return the answer of a text's candidates."""
    chances = found.probabilities(settings).tolist()
    none = says_none(found, settings)
    others: list[Alternative] = []
    taken = [] if none else [found.spans[0]]
    for number, span in enumerate(found.spans[0 if none else 1 :], 0 if none else 1):
        if len(others) < OTHERS and all(span[1] < first or span[0] > last for first, last in taken):
            taken.append(span)
            others.append(Alternative(found.text(number), *found.place(number), chances[number]))
    if none:
        return AnswerPrediction(no_answer=True, confidence=chances[-1], alternatives=tuple(others))
    start, end = found.place(0)
    return AnswerPrediction(
        answer=found.text(0), start=start, end=end, confidence=chances[0], alternatives=tuple(others)
    )


def says_none(found: Candidates, settings: Settings) -> bool:
    """Tell whether a text is said to have no answer."""
    return not found.spans or (settings.unanswerable and found.lead_of_null() > settings.threshold)


def texts(predictions: Sequence[Prediction]) -> list[str]:
    """Return the answers, empty ones where there is none."""
    return [found.answer if isinstance(found, AnswerPrediction) else "" for found in predictions]


def right(examples: Sequence[Example]) -> list[list[str]]:
    """Return the right answers of each question."""
    return [[answer.text for answer in example.target or ()] for example in examples]


def chinese(examples: Sequence[Example]) -> list[bool]:
    """Return by whose rules each question is measured: CMRC's where it and its text are Chinese, else SQuAD's."""
    return [spans.is_chinese(*example.inputs) for example in examples]


def measured(examples: Sequence[Example], answers: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return exact match and F1 of each answer."""
    return spans.measured(answers, right(examples), chinese(examples))


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """EM and F1, each with its 95 % interval; apart for questions with and without an answer where there are both."""
    return spans.score_spans(texts(predictions), right(examples), chinese(examples))


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return "no answer" where some questions have none, else nothing: no answer is right for many."""
    none: list[Prediction] = [AnswerPrediction(no_answer=True, confidence=1.0)] * count
    return (none if settings.unanswerable else []), None


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in F1."""
    one_N, two_N = (measured(examples, texts(found))[1] for found in (ours, theirs))
    return paired_difference_of_means(one_N, two_N)


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return 1 for each answer that is no exact match."""
    return "no exact match", 1.0 - measured(examples, texts(predictions))[0]


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the worst answers, those given with most confidence first, and after them some right ones."""
    f1_N = measured(examples, texts(predictions))[1]
    sure_N = np.array([found.confidence or 0.0 for found in predictions])
    worst = np.lexsort((-sure_N, f1_N))
    wrong = [i for i in worst.tolist() if f1_N[i] < 1][: MISTAKES - RIGHT_ONES]
    fine = [i for i in np.argsort(-sure_N, kind="stable").tolist() if f1_N[i] == 1][:RIGHT_ONES]
    return [_told(examples[i], predictions[i], float(f1_N[i])) for i in (*wrong, *fine)]


def _told(example: Example, prediction: Prediction, f1: float) -> Json:
    """Return one answer as a report stores it: the text around the given and the first right one."""
    assert isinstance(prediction, AnswerPrediction)
    given = None if prediction.start is None or prediction.end is None else (prediction.start, prediction.end)
    true = (example.target[0].start, example.target[0].end) if example.target else None
    context, places = example.inputs[-1], [place for place in (given, true) if place]
    begin = max(0, min((place[0] for place in places), default=0) - AROUND)
    end = min(len(context), max((place[1] for place in places), default=0) + AROUND, begin + 8 * AROUND)
    marks = {
        key: [max(0, min(at, end) - begin) for at in place]
        for key, place in (("given", given), ("true", true))
        if place
    }
    return {
        "question": example.inputs[0],
        "context": ("…" if begin else "") + context[begin:end] + ("…" if end < len(context) else ""),
        "marks": {key: [at + bool(begin) for at in place] for key, place in marks.items()},
        "answer": prediction.answer,
        "right": right([example])[0],
        "confidence": prediction.confidence,
        "f1": f1,
        "place": str(example.place),
    }


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return of each question how sure another answer is than the right one, which it shares few words with."""
    f1_N = measured(examples, texts(predictions))[1]
    return [
        Doubt(
            1 - (found.confidence or 0.0) * (1 - float(f1_N[i])),
            told := next(iter(answers), EMPTY),
            (given or EMPTY) if f1_N[i] < DOUBTFUL else told,
            found.confidence,
        )
        for i, (found, given, answers) in enumerate(zip(predictions, texts(predictions), right(examples), strict=True))
    ]


def columns(settings: Settings) -> dict[str, str]:
    """Return `answer`, where it begins and ends in its text, and its confidence; `no_answer` where that may be said."""
    none = {"no_answer": "bool"} if settings.unanswerable else {}
    return {"answer": "string", "answer_start": "int", "answer_end": "int", **none, "confidence": "float"}


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the answer, its place and its confidence.

    >>> row(AnswerPrediction(answer="Navy", start=4, end=8, confidence=0.87654321), Settings())
    {'answer': 'Navy', 'answer_start': 4, 'answer_end': 8, 'confidence': 0.8765}
    """
    assert isinstance(prediction, AnswerPrediction)
    sure = prediction.confidence
    cells = {
        "answer": prediction.answer,
        "answer_start": prediction.start,
        "answer_end": prediction.end,
        "no_answer": None if prediction.error else prediction.no_answer,
        "confidence": None if sure is None else round(sure, DIGITS),
    }
    return {name: cells[name] for name in columns(settings)}


def asked(value: Any) -> tuple[str, ...]:
    """Return question and context of {"question": …, "context": …}, or of a list of the two; raises Refusal.

    >>> asked({"question": "Who won?", "context": "The Navy."})
    ('Who won?', 'The Navy.')
    """
    if isinstance(value, dict) and {"question", "context"} <= set(value):
        value = [value["question"], value["context"]]
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        raise Refusal(f"is {shown(value)}, no question with a text", 'give {"question": "…", "context": "…"}')
    return value[0], value[1]


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> Json:
    """Return answer, score, start and end, an empty answer where there is none; what the head gave is of no use here.

    >>> hub(AnswerPrediction(answer="Navy", start=4, end=8, confidence=0.75), Settings())
    {'score': 0.75, 'start': 4, 'end': 8, 'answer': 'Navy'}
    """
    assert isinstance(prediction, AnswerPrediction)
    place = {"start": prediction.start or 0, "end": prediction.end or 0}
    return {"score": prediction.confidence, **place, "answer": prediction.answer}


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the answer, and a bar for it and for each alternative."""
    assert isinstance(prediction, AnswerPrediction)
    answer = prediction.answer or NO_ANSWER
    bars = {answer: prediction.confidence or 0.0}
    for other in prediction.alternatives:
        bars.setdefault(other.answer, other.confidence)
    return Shown(answer, bars)


def rule(settings: Settings) -> tuple[str, Json]:
    """Return from which lead on "no answer" is given; nothing where it never is.

    >>> rule(Settings(unanswerable=True, threshold=1.5))[0]
    '"no answer" is given where it scores higher than the best answer by more than 1.50'
    """
    if not settings.unanswerable:
        return "", {}
    line = f'"{NO_ANSWER}" is given where it scores higher than the best answer by more than {settings.threshold:.2f}'
    return line, {"no_answer_threshold": settings.threshold}


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return whether there is an answer."""
    assert isinstance(prediction, AnswerPrediction)
    return (NO_ANSWER if prediction.no_answer else "an answer",)
