"""`Summarizer`: summaries made of a text's own sentences; with `fit` as people summarize, or by a base as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import Self

from filbert import tasks
from filbert.errors import ConfigError, counted, shown
from filbert.estimator.base import Inputs, TextEstimator, dataset_at, inputs_of, source_of
from filbert.finetuning.dataset import dataset_of
from filbert.inference.engine import Engine
from filbert.inference.untrained import untrained
from filbert.records import Prediction


class Summarizer(TextEstimator):
    """Chooses the sentences that summarize a text, in English, Chinese and others.

    Without `fit` they are the most central ones by the vectors of `base`. After `fit` on texts and their summaries they
    are those that a person would take. Parameters are `TextClassifier`'s, without those that need classes.

    >>> Summarizer(base="minilm").summarize("Sales rose. It rained. Profits rose, too.", sentences=2)  # doctest: +SKIP
    'Sales rose. Profits rose, too.'
    >>> model = Summarizer(base="minilm", epochs=2).fit(articles, summaries)  # doctest: +SKIP
    >>> model.summarize(articles[0], share=0.2)  # doctest: +SKIP
    """

    def fit(self, X: Any, y: Sequence[str] | None = None) -> Self:
        """Train on texts and their summaries, or on what a path holds.

        Raises DataError, ConfigError, ModelError, TrainingError.
        """
        task = tasks.of_summaries()
        if y is None:
            data = dataset_at(X, self.seed, task.NAME)
        else:
            texts, summaries = _single(X), list(y)
            if len(texts) != len(summaries):
                wanted = counted(len(summaries), "summary", "summaries")
                raise ConfigError(f"X has {counted(len(texts), 'text')}, y {wanted} — give one for each text")
            data = dataset_of(texts, summaries, task, seed=self.seed)
        self._fit(data, *source_of(X, y))
        return self

    def predict(
        self,
        X: Sequence[str],
        *,
        sentences: int | None = None,
        words: int | None = None,
        characters: int | None = None,
        share: float | None = None,
    ) -> list[Prediction]:
        """Return for each text its sentences, their places and scores, and which are chosen.

        A length is so many sentences, words or characters at most, or a share of the sentences; without one it is that
        of the training summaries, or three sentences. Raises ConfigError.
        """
        texts = [text for (text,) in _single(X)]
        engine: Engine = self.engine_ if hasattr(self, "engine_") else self._as_it_is(texts)
        usual = engine.settings
        engine.settings = tasks.resized(usual, sentences=sentences, words=words, characters=characters, share=share)
        try:
            return engine.predict(texts)
        finally:
            engine.settings = usual

    def summarize(
        self,
        text: str,
        *,
        sentences: int | None = None,
        words: int | None = None,
        characters: int | None = None,
        share: float | None = None,
    ) -> str:
        """Return the summary of one text; lengths as for `predict`."""
        if not isinstance(text, str):
            raise ConfigError(f"text is {shown(text)} — give one string, or many to predict")
        found = self.predict([text], sentences=sentences, words=words, characters=characters, share=share)
        return str(found[0].summary)  # type: ignore[attr-defined]

    def _as_it_is(self, texts: Sequence[str]) -> Engine:
        """Return the base without training, opened once."""
        if not hasattr(self, "_plain"):
            given = self.base, tasks.of_summaries(), tasks.untrained
            self._plain, _ = untrained(*given, texts=texts[:200], device=self.device)
        return self._plain


def _single(X: Any) -> Inputs:
    found = inputs_of(X)
    if found and len(found[0]) != 1:
        raise ConfigError(f"X holds pairs: {shown(found[0])} — give one text each to summarize")
    return found
