"""Text in, prediction out: opens a run folder and scores texts through the same path that training used.

`load(path)` → `Engine`; the command line, the server and the estimator are shells around it. The same text gets the
same answer alone or among a thousand: texts are packed, never padded, and none sees its batch-mates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.errors import ModelError
from filbert.folder.open import ClassifierParts, open_classifier
from filbert.inference import int8_fallback as doubt
from filbert.inference.scorer import scorer
from filbert.metrics import calibration
from filbert.model.device import best_device
from filbert.records import Encoding, Example, Features, FloatArray, Prediction
from filbert.tasks.single_label import outputs as classify
from filbert.text.visible import visible

CHUNK = 512  # texts tokenised and sorted together; the order of the output is kept
EMPTY = "empty_text"


class Engine:
    """A model ready to score texts.

    >>> engine = load("runs/reviews")                      # doctest: +SKIP
    >>> engine.predict(["Not bad at all."])[0].label       # doctest: +SKIP
    'positive'
    """

    def __init__(
        self, parts: ClassifierParts, *, device: str = "cpu", precision: str = "fp32", cascade: bool = True
    ) -> None:
        self.labels = parts.labels
        self.front = parts.front if cascade else None  # answers the texts it is sure of, where the folder has one
        self.max_length = parts.max_length
        self.info: dict[str, Any] = parts.info
        self.device = device
        self._tokenizer = parts.tokenizer
        self._scorer = scorer(parts, device, precision)
        self._careful = scorer(parts, device, "bf16") if precision == "int8" else None  # asked where int8 is in doubt
        self._doubt: float = parts.info.get("int8_doubt", doubt.USUAL)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Turn texts into word pieces, uncut."""
        return self._tokenizer.encode(texts)

    def features(self, texts: Sequence[str]) -> list[Features]:
        """Turn texts into what the model takes: the ids that training saw for the same texts."""
        return self._cut(self.encode(texts))

    def _cut(self, encodings: Sequence[Encoding]) -> list[Features]:
        return [classify.features(encoding, self._tokenizer, self.max_length) for encoding in encodings]

    def predict_proba(self, texts: Sequence[str], *, done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return the probability of each class (N × C), classes in the order of `labels`; rows sum to 1.

        An empty text gets the probabilities the model gives to no words at all; `predict` marks it instead.
        """
        return self.answer(self.encode(texts), done)[0]

    def answer(
        self, encodings: Sequence[Encoding], done: Callable[[int], None] = lambda texts: None
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return probabilities_NC of texts as word pieces, and which of them the front answered."""
        if self.front is None:
            return self.score(encodings, done), np.zeros(len(encodings), dtype=bool)
        chances_NC, sure_N = self.front.answer([encoding.ids for encoding in encodings])
        rest, answered = np.flatnonzero(~sure_N).tolist(), int(sure_N.sum())
        done(answered)
        chances_NC[rest] = self.score([encodings[i] for i in rest], lambda texts: done(answered + texts))
        return chances_NC, sure_N

    def logits(self, features: Sequence[Features]) -> FloatArray:
        """Return the model's logits_NC, as they are before int8's doubts."""
        return self._scorer.logits(features)

    def score(self, encodings: Sequence[Encoding], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        """Return probabilities_NC of texts as word pieces, by the model alone."""
        return self._probabilities(self._cut(encodings), done)

    def _probabilities(self, rows: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> FloatArray:
        if not rows:
            return np.empty((0, len(self.labels)))
        logits_NC = self._scorer.logits(rows, done)
        if self._careful is not None and len(self.labels) > 1:
            doubtful = np.flatnonzero(doubt.lead(calibration.softmax(logits_NC)) < self._doubt).tolist()
            if doubtful:
                logits_NC[doubtful] = self._careful.logits([rows[i] for i in doubtful])
        if not np.isfinite(logits_NC).all():
            raise ModelError("the model gives NaN or infinite scores — its weights are damaged; fit it again")
        return calibration.softmax(logits_NC)

    def predict(self, texts: Sequence[str] | str) -> list[Prediction]:
        """Label texts, in order; a single string is taken as one text.

        A text without a visible character is not guessed at: its prediction has `error="empty_text"`.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        scored = [i for i, text in enumerate(texts) if visible(text)]
        encodings = self.encode([texts[i] for i in scored])
        results = [Prediction(None, (), error=EMPTY)] * len(texts)
        for i, encoding, chances_C, in_front in zip(scored, encodings, *self.answer(encodings), strict=True):
            cut = not in_front and len(encoding.ids) + 2 > self.max_length  # the front reads all of a text
            found = classify.decode(chances_C.tolist(), self.labels, truncated=cut)
            results[i] = replace(found, unk_ratio=self._tokenizer.unk_ratio(encoding), in_front=bool(in_front))
        return results

    def stream(self, examples: Iterable[Example]) -> Iterator[tuple[Example, Prediction]]:
        """Score any number of examples in bounded memory, in order."""
        source = iter(examples)
        while chunk := list(islice(source, CHUNK)):
            yield from zip(chunk, self.predict([example.text for example in chunk]), strict=True)


def load(path: str | Path, *, device: str | None = None, precision: str = "fp32", cascade: bool = True) -> Engine:
    """Open a run folder (or any BertForSequenceClassification folder) for scoring.

    `precision` "fp32" agrees with `transformers` to 1e-5; "bf16" is faster and within 0.02; "int8", on a CPU with
    AVX-512 VNNI and bf16, is the fastest and within 0.05, and where it is in doubt bf16 decides. Without `cascade` a
    linear model in front, where the folder has one, is left out. Raises ModelError, or ConfigError where the precision
    is not to be had.
    """
    return Engine(open_classifier(path), device=best_device(device), precision=precision, cascade=cascade)
