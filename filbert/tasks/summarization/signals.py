"""What tells that a sentence belongs in a summary beside the model's own score, and how much each weighs.

    the model's logit · TextRank's centrality · how early it stands · how long it is → probability

A model that saw a hundred documents knows less than TextRank does without any; one that saw thousands knows more. The
weights are a logistic regression on the sentences of the validation texts, and whether they are used at all is decided
by ROUGE, each text judged by weights that were fitted on the others.

Shapes: N texts, S sentences of one, M sentences of all, F signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from filbert.language import N_
from filbert.metrics import label_sets, overlap
from filbert.records import FloatArray
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.selection import chosen, word_centrality

NAMES = ("BERT", "TextRank", "place", "length")
FOLDS = 5
TRIED = {  # whether signals are weighed, whether trigrams are blocked
    (False, True): N_("BERT alone"),
    (False, False): N_("BERT alone, without trigram blocking"),
    (True, True): N_("BERT with TextRank, place and length"),
    (True, False): N_("BERT with TextRank, place and length, without trigram blocking"),
}


@dataclass(frozen=True)
class Document:
    """A text as its summary is chosen."""

    texts: Sequence[str]
    """Its sentences."""
    logits_S: FloatArray
    """What the model gave each."""
    true_S: FloatArray
    """Whether a person took it."""
    reference: str


def signals(logits_S: FloatArray, texts: Sequence[str]) -> FloatArray:
    """Return a row for each sentence, S × F: its logit, and the logs of its centrality, place and length.

    A sentence of average centrality has 0 there; the place counts down from the first sentence.

    >>> signals(np.array([2.0, -1.0]), ["It rose.", "It rose."]).round(2).tolist()
    [[2.0, 0.0, -0.0, 1.1], [-1.0, 0.0, -0.69, 1.1]]
    """
    count = len(texts)
    central_S = np.log(np.maximum(count * word_centrality(texts), 1e-6))
    words_S = np.array([len(overlap.words(text)) for text in texts], dtype=np.float64)
    return np.stack((logits_S, central_S, -np.log1p(np.arange(count)), np.log1p(words_S)), axis=1)


def probabilities(logits_S: FloatArray, texts: Sequence[str], weights: Sequence[float]) -> FloatArray:
    """Return how probable it is of each sentence that a person would take it; without weights by its logit alone.

    >>> probabilities(np.zeros(1), ["It rose."], ()).tolist()
    [0.5]
    """
    if not weights:
        return label_sets.sigmoid(logits_S)
    return _weighed(signals(logits_S, texts), np.asarray(weights))


def _weighed(signals_SF: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the probabilities by weights of the signals and a constant after them."""
    return label_sets.sigmoid(signals_SF @ weights[:-1] + weights[-1])


def chosen_by(documents: Sequence[Document], settings: Settings) -> tuple[Settings, FloatArray, dict[str, float]]:
    """Choose weights and trigram blocking → settings, probabilities_M of texts not fitted on, ROUGE of what was tried.

    ROUGE is the sum of ROUGE-1 and ROUGE-2, without stems, of the mean text. A single text decides nothing.

    >>> chosen_by([document], Settings())[0].weights  # doctest: +SKIP
    ()
    """
    alone = [label_sets.sigmoid(each.logits_S) for each in documents]
    if len(documents) < 2 or not any(each.true_S.any() for each in documents):
        return settings, np.concatenate(alone), {}
    rows = [signals(each.logits_S, each.texts) for each in documents]
    scores = {False: alone, True: _cross_fitted(rows, documents)}
    rouge = {
        (weighed, blocking): _rouge(documents, scores[weighed], replace(settings, blocking=blocking))
        for weighed, blocking in TRIED
    }
    weighed, blocking = max(rouge, key=lambda each: rouge[each])
    weights = _fit(rows, [each.true_S for each in documents]).tolist() if weighed else ()
    told = {TRIED[each]: round(found, 4) for each, found in rouge.items()}
    return replace(settings, weights=tuple(weights), blocking=blocking), np.concatenate(scores[weighed]), told


def _rouge(documents: Sequence[Document], scores: Sequence[FloatArray], settings: Settings) -> float:
    pairs = zip(documents, scores, strict=True)
    found = [
        overlap.counted([each.texts[i] for i in chosen(scores_S, each.texts, settings)], each.reference)
        for each, scores_S in pairs
    ]
    return float(np.sum(found) / len(found))


def _cross_fitted(rows: Sequence[FloatArray], documents: Sequence[Document]) -> list[FloatArray]:
    """Return the probabilities of each text by weights that were fitted on other texts."""
    folds = min(FOLDS, len(rows))
    rest = [[n for n in range(len(rows)) if n % folds != fold] for fold in range(folds)]
    weights = [_fit([rows[n] for n in others], [documents[n].true_S for n in others]) for others in rest]
    return [_weighed(signals_SF, weights[n % folds]) for n, signals_SF in enumerate(rows)]


def _fit(rows: Sequence[FloatArray], true: Sequence[FloatArray]) -> FloatArray:
    """Return the weights of a logistic regression, and its constant; where all or none were taken, a constant alone.

    BERT's weight is 0 where a higher logit would speak against a sentence: then it has learned nothing yet.
    """
    from sklearn.linear_model import LogisticRegression

    rows_MF, true_M = np.concatenate(rows), np.concatenate(true)
    if len(np.unique(true_M)) < 2:
        return np.append(np.zeros(rows_MF.shape[1]), 10.0 if true_M[0] else -10.0)
    model = LogisticRegression().fit(rows_MF, true_M)
    if model.coef_[0, 0] < 0:
        model.fit(rows_MF * (np.arange(rows_MF.shape[1]) > 0), true_M)
    return np.append(model.coef_[0], model.intercept_)
