"""A summary for each text: from the head's outputs to chosen sentences and scores, and for people.

Shapes: N texts, S sentences of one, W its windows, M sentences of all texts, D width of a sentence's vector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filbert.errors import shown
from filbert.metrics import calibration, label_sets, overlap
from filbert.metrics.intervals import paired_difference_of_means
from filbert.records import Example, Features, FloatArray, Prediction
from filbert.tasks.labels import MISTAKES, passage
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.selection import (
    centrality,
    chosen,
    lead,
    oracle,
    reference_sentences,
    textrank,
)
from filbert.tasks.summarization.sentences import gap, split, texts_of
from filbert.tasks.summarization.signals import NAMES, Document, chosen_by, probabilities
from filbert.tasks.task import Baseline, Calibrated, Doubt, Fold, Goal, Json, Outputs, Quantity, Shown, Windows
from filbert.text.sentences import spans

DIGITS = 4
TRIED = 200  # training texts on which the baselines are compared
LEAD, TEXTRANK = "the first sentences (lead)", "TextRank"
Picker = Callable[[Sequence[str], Settings], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class SummaryPrediction(Prediction):
    """The sentences of a text, how each was scored, and which make the summary."""

    text: str = ""
    places: tuple[tuple[int, int], ...] = ()
    """Begin and end of each sentence, in code points of the text."""
    scores: tuple[float, ...] = ()
    """Of each sentence: how probable it is that a person would take it; without training its centrality."""
    chosen: tuple[int, ...] = ()
    """Which sentences are the summary, in their order."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences of the summary."""
        return tuple(self.text[begin:end] for begin, end in (self.places[i] for i in self.chosen))

    def told(self) -> list[Json]:
        """Return the sentences of the summary, each with its place and its score."""
        rows = zip(self.sentences, self.chosen, strict=True)
        return [
            {"text": text, "begin": self.places[i][0], "end": self.places[i][1], "score": round(self.scores[i], DIGITS)}
            for text, i in rows
        ]

    @property
    def summary(self) -> str:
        """The summary as one text."""
        return joined(self.sentences)


def joined(sentences: Sequence[str]) -> str:
    """Return sentences as one text; between Chinese ones there is no blank, after a headline a line break.

    >>> joined(["It rose.", "It fell."]), joined(["它增长了。", "下降了。"])
    ('It rose. It fell.', '它增长了。下降了。')
    """
    pairs = zip(["", *sentences], sentences, strict=False)
    return "".join(gap(before, sentence) + sentence for before, sentence in pairs)


def empty(error: str) -> Prediction:
    """Return a prediction without a summary."""
    return SummaryPrediction(error=error)


def decode(outputs: Outputs, settings: Settings, windows: Windows = ()) -> list[Prediction]:
    """Choose sentences by the scores of all windows of a text; without training by their centrality."""
    return [_decoded(each, parts, settings) for each, parts in zip(outputs, windows, strict=True)]


def _decoded(outputs: Sequence[FloatArray] | FloatArray, windows: Sequence[Features], settings: Settings) -> Prediction:
    source = windows[0].source
    assert source is not None
    found, texts = texts_of(source)
    if settings.vectors:
        scores_S = centrality(np.stack([np.asarray(part, dtype=np.float64).reshape(-1) for part in outputs]))
    else:
        scores_S = probabilities(_logits(outputs), texts, settings.weights)
    taken = chosen(scores_S, texts, settings)
    return SummaryPrediction(
        text=source.text,
        places=tuple((each.begin, each.end) for each in found),
        scores=tuple(scores_S.tolist()),
        chosen=taken,
        confidence=None if settings.vectors else float(scores_S[list(taken)].mean()),
    )


def _logits(outputs: Sequence[FloatArray] | FloatArray) -> FloatArray:
    return np.concatenate([np.asarray(part, dtype=np.float64).reshape(-1) for part in outputs])


def of_sentences(text: str, taken: Sequence[int]) -> SummaryPrediction:
    """Return the prediction of what needs no model: these sentences of a text."""
    return SummaryPrediction(text=text, places=tuple(spans(text)), chosen=tuple(taken))


def picked(examples: Sequence[Example], settings: Settings, pick: Picker) -> list[Prediction]:
    """Return the sentences of each text that `pick` takes."""
    return [of_sentences(each.text, pick(texts, settings) if (texts := split(each.text)) else ()) for each in examples]


def best(examples: Sequence[Example]) -> list[Prediction]:
    """Return the sentences that are most like the references: as well as one can do with sentences (the oracle)."""
    return [of_sentences(each.text, oracle(split(each.text), each.target)) for each in examples]


def figures(examples: Sequence[Example], predictions: Sequence[Prediction]) -> FloatArray:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of each text, N × 3."""
    rows = [
        overlap.rouge(_sure(found).sentences, reference_sentences(example.target))
        for example, found in zip(examples, predictions, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(overlap.FIGURES))


def score(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> Json:
    """ROUGE-1, ROUGE-2 and ROUGE-L, and those of lead, TextRank and the oracle beside."""
    beside = {LEAD: picked(examples, settings, lead), TEXTRANK: picked(examples, settings, textrank)}
    beside["oracle"] = best(examples)
    return {
        "n": len(examples),
        **overlap.means(figures(examples, predictions)),
        "sentences": float(np.mean([len(_sure(each).chosen) for each in predictions])),
        "beside": {name: overlap.means(figures(examples, found)) for name, found in beside.items()},
    }


def _sure(prediction: Prediction) -> SummaryPrediction:
    assert isinstance(prediction, SummaryPrediction)
    return prediction


def _logits_and_truth(outputs: Outputs, windows: Windows) -> tuple[FloatArray, FloatArray]:
    """Return logits_M and whether a person took the sentence, of all texts."""
    logits_M = np.concatenate([_logits(each) for each in outputs])
    true_M = np.concatenate([window.target for each in windows for window in each])
    return logits_M, true_M


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return (-loss,) to maximise, as Liu 2019 chose, and figures for the log: ROUGE without stems."""
    logits_M, true_M = _logits_and_truth(outputs, windows)
    loss = float(np.mean(np.logaddexp(0, logits_M) - true_M * logits_M))
    found = decode(outputs, settings, windows)
    rouges = [
        overlap.counted(_sure(each).sentences, example.target) for each, example in zip(found, examples, strict=True)
    ]
    one, two = np.mean(rouges, axis=0).tolist()
    return (-loss,), {"loss": loss, "rouge1": one, "rouge2": two}


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fit one temperature, to be folded into the last layer, and choose what else a sentence is judged by (signals.py).

    What the report says of the calibration is of probabilities that were fitted on other texts, where weights were.
    """
    logits_M, true_M = _logits_and_truth(outputs, windows)
    temperature = label_sets.fit_sigmoid_temperature(logits_M[:, None], true_M[:, None])
    documents = []
    for each, parts, example in zip(outputs, windows, examples, strict=True):
        assert parts[0].source is not None
        true_S = np.concatenate([window.target for window in parts])
        texts = texts_of(parts[0].source)[1]
        documents.append(Document(texts, _logits(each) / temperature, true_S, str(example.target)))
    settings, after_M, tried = chosen_by(documents, settings)
    asked_M = true_M.astype(np.int32)
    before_M2, after_M2 = _both(label_sets.sigmoid(logits_M)), _both(after_M)
    facts = {
        "temperature": temperature,
        "ece_before": calibration.expected_calibration_error(asked_M, before_M2),
        "ece_after": calibration.expected_calibration_error(asked_M, after_M2),
        "bins": calibration.reliability(asked_M, after_M2),
        "of": "sentence",
        "choice": {"texts": len(documents), "tried": tried},
    }
    return Calibrated(settings, Fold(temperature), facts)


def _both(chances_M: FloatArray) -> FloatArray:
    return np.stack((1 - chances_M, chances_M), axis=1)


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return the sentences' probabilities, filled up with zeros, and how far the last one chosen is before the next."""
    found = [_sure(each) for each in decode(outputs, settings, windows)]
    padded_NK = np.zeros((len(found), max((len(each.scores) for each in found), default=0)))
    apart_N = np.ones(len(found))
    for n, each in enumerate(found):
        padded_NK[n, : len(each.scores)] = each.scores
        rest = [each.scores[i] for i in range(len(each.scores)) if i not in each.chosen]
        if rest:
            apart_N[n] = abs(min(each.scores[i] for i in each.chosen) - max(rest))
    return padded_NK, apart_N


def baseline(train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Settings) -> Baseline:
    """Answer with the first sentences or by TextRank, whichever is better on (some of) the training texts."""
    began = time.monotonic()
    some = train[:: max(1, len(train) // TRIED)]
    known = {name: _rough(some, picked(some, settings, pick)) for name, pick in ((LEAD, lead), (TEXTRANK, textrank))}
    name = max(known, key=lambda each: known[each])
    pick = lead if name == LEAD else textrank
    predictions = {split: picked(examples, settings, pick) for split, examples in asked.items()}
    return Baseline(name, time.monotonic() - began, predictions, linear=False)


def _rough(examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
    pairs = zip(examples, predictions, strict=True)
    return float(np.mean([sum(overlap.counted(_sure(found).sentences, each.target)) for each, found in pairs]))


def constant(train: Sequence[Example], count: int, settings: Settings) -> tuple[list[Prediction], float | None]:
    """Return nothing: the sentences of a text are its own."""
    return [], None


def compare(
    examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Settings
) -> Json:
    """Return the difference in ROUGE-1."""
    return paired_difference_of_means(figures(examples, ours)[:, 0], figures(examples, theirs)[:, 0])


def errors(
    examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings
) -> tuple[str, FloatArray]:
    """Return by how much ROUGE-L is below 1."""
    return "1 − ROUGE-L", 1.0 - figures(examples, predictions)[:, -1]


def mistakes(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Json]:
    """Return the texts whose summary is furthest below what their own sentences allow."""
    ours, most = figures(examples, predictions)[:, 0], figures(examples, best(examples))[:, 0]
    worst = [i for i in np.argsort(ours - most, kind="stable").tolist() if ours[i] < most[i]][:MISTAKES]
    return [
        {
            **passage(examples[i]),
            "summary": examples[i].target[:2_000],
            "places": _sure(predictions[i]).places,
            "chosen": _sure(predictions[i]).chosen,
            "wanted": _sure(best([examples[i]])[0]).sentences,
            "rouge1": float(ours[i]),
            "oracle": float(most[i]),
        }
        for i in worst
    ]


def doubts(examples: Sequence[Example], predictions: Sequence[Prediction], settings: Settings) -> list[Doubt]:
    """Return nothing: a summary is better or worse, not right or wrong."""
    return []


def columns(settings: Settings) -> dict[str, str]:
    """Return the summary, where its sentences stand in the text, and how sure it is."""
    sure = {} if settings.vectors else {"confidence": "float"}
    return {"summary": "string", "places": "string", **sure}


def row(prediction: Prediction, settings: Settings) -> Json:
    """Return the cells; places count code points, from 0: "0-33 80-120".

    >>> row(of_sentences("A b. C d. E f.", [0, 2]), Settings(vectors=8))
    {'summary': 'A b. E f.', 'places': '0-4 10-14'}
    """
    found = _sure(prediction)
    answered = found.error is None
    sure = None if found.confidence is None else round(found.confidence, DIGITS)
    cells = {
        "summary": found.summary if answered else None,
        "places": " ".join(f"{a}-{b}" for a, b in (found.places[i] for i in found.chosen)) if answered else None,
        "confidence": sure,
    }
    return {name: cells[name] for name in columns(settings)}


def hub(prediction: Prediction, settings: Settings, outputs: FloatArray | None = None) -> list[Json]:
    """Return the summary as the hub's models give it."""
    return [{"summary_text": _sure(prediction).summary}]


def show(prediction: Prediction, settings: Settings) -> Shown:
    """Return the sentences of the summary, one a line."""
    return Shown("\n".join(" ".join(each.split()) for each in _sure(prediction).sentences))


def rule(settings: Settings) -> tuple[str, Json]:
    """Return by what else than the model sentences are ranked; nothing where there is nothing else.

    >>> rule(Settings(weights=(0.5, 2.0, 0.1, 0.8, -1.0)))[0]
    'sentences are ranked by 0.50 × BERT + 2.00 × TextRank + 0.10 × place + 0.80 × length'
    """
    if not settings.weights:
        return "", {}
    parts = dict(zip(NAMES, settings.weights, strict=False))
    line = " + ".join(f"{weight:.2f} × {name}" for name, weight in parts.items())
    return f"sentences are ranked by {line}", {"sentence_weights": parts}


def tally(prediction: Prediction) -> tuple[str, ...]:
    """Return nothing: summaries are not counted."""
    return ()


def quantities(outputs: Sequence[FloatArray], settings: Settings, windows: Sequence[Features]) -> list[Quantity]:
    """Return the logit of each sentence, those of the summary first; nothing without training.

    Centrality is a property of all sentences together, so no sum of outputs decides there.
    """
    if settings.vectors:
        return []
    (prediction,) = decode([outputs], settings, [windows])
    assert isinstance(prediction, SummaryPrediction)
    found = []
    for w, part in enumerate(outputs):
        for row in range(len(part)):
            number = windows[w].marked + row
            factors_M1 = np.zeros((len(part), 1))
            factors_M1[row] = 1.0
            begin, end = prediction.places[number]
            meaning = f"the logit that sentence {number + 1}, {shown(prediction.text[begin:end], 60)}, is taken"
            found.append(Quantity(f"sentence {number + 1}", meaning, factors_M1, w))
    taken = {f"sentence {number + 1}": -prediction.scores[number] for number in prediction.chosen}
    return sorted(found, key=lambda each: taken.get(each.name, 1.0))
