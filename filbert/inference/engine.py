"""Open a model folder and score texts, tokenised and framed as in training: `load(path)` → `Engine`.

The command line and the estimators are shells around it. Texts are packed without padding and attention stays inside
each text, so that a text gets the same prediction in any batch. The task decodes the outputs.

Shapes: N texts, O outputs of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError, ModelError, shown
from filbert.inference import int8_fallback
from filbert.inference.abstention import threshold_of
from filbert.inference.blended import blended
from filbert.inference.evidence import evidence
from filbert.inference.model import Model, open_model
from filbert.inference.scorer import Scorer, scorer_of
from filbert.inference.unknown import farthest_of, with_vectors
from filbert.model.device import best_device
from filbert.model.head import Head, average
from filbert.records import Encoding, Example, Features, FloatArray, IntArray, Prediction
from filbert.tasks.task import Outputs
from filbert.text.tokenizer import encoded, grouped
from filbert.text.visible import visible

if TYPE_CHECKING:
    from filbert.inference.explain import Explanation

CHUNK = 512  # texts tokenised and sorted together; the order of the output is kept
CHARACTERS = 4_000_000  # of these texts, at most, except for a single longer one
EMPTY = "empty_text"

Inputs = tuple[str, ...]
Done = Callable[[int], None]


class Engine:
    """A model ready to score texts.

    >>> engine = load("runs/reviews")                      # doctest: +SKIP
    >>> engine.predict(["Not bad at all."])[0].label       # doctest: +SKIP
    'positive'
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        cascade: bool = True,
        abstain: float | None = None,
        unknown: float | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        self.task, self.settings, self.folder = model.task, model.settings, model.folder
        self.config, self.head = model.config, model.head
        self.cascade = model.cascade if cascade else None  # a linear model, which answers the texts it is sure of
        self.blend = model.blend  # another one, whose outputs are added to BERT's
        self.max_length = model.max_length
        self.info: dict[str, Any] = model.info
        self.least_confidence = threshold_of(model.info, abstain)  # of an answer; below it the model abstains
        self.farthest = farthest_of(model.info, model.detector, unknown)  # from the classes, of a text that is answered
        self._detector = None if self.farthest is None else model.detector
        self._outputs = model.head.outputs  # the task's; behind them stand those for the detector
        if self._detector is not None:
            self.cascade = None  # its linear model knows no distances
            model = with_vectors(model, self._detector.directions_KD)
        self.device = device
        self.tokenizer = model.tokenizer
        self._scorer: Scorer = scorer or scorer_of(model, device, precision)
        self._exact = (
            scorer_of(model, device, "bf16") if precision == "int8" else None
        )  # scores again what int8 is unsure of
        self._margin: float = model.info.get("int8_margin", int8_fallback.DEFAULT_MARGIN)

    @property
    def texts(self) -> int | None:
        """Texts in an example, 1 or 2; None where the folder does not say."""
        found = (self.info.get("columns") or {}).get("inputs")
        return len(found) if found else None

    def encode(self, inputs: Sequence[Inputs]) -> list[list[Encoding]]:
        """Turn the texts of each example into word pieces, without truncation."""
        return encoded(self.tokenizer, inputs, offsets=self.task.WINDOWS or self.head.weighed)

    def features(self, inputs: Sequence[Inputs]) -> list[list[Features]]:
        """Turn examples into windows: the same ids as in training for the same texts."""
        return self._windows(self.encode(inputs))

    def _windows(self, encodings: Sequence[Sequence[Encoding]]) -> list[list[Features]]:
        given = self.tokenizer, self.settings, self.max_length
        return [self.task.features(each, None, *given) for each in encodings]

    def predict(
        self, texts: Sequence[str | Sequence[str]] | str, *, done: Done = lambda texts: None
    ) -> list[Prediction]:
        """Return predictions for texts, or pairs of texts, in order; a single string is one text.

        A text without a visible character gets no label: its prediction has `error="empty_text"`. `done` is called
        with the number of texts scored so far. Raises ConfigError where the model takes a pair and gets one text, or
        the other way round.
        """
        given = [texts] if isinstance(texts, str) else texts
        inputs = [(text,) if isinstance(text, str) else tuple(text) for text in given]
        self._check(inputs)
        scored = [i for i, each in enumerate(inputs) if all(map(visible, each))]
        encodings = self.encode([inputs[i] for i in scored])
        empty = self.task.empty(EMPTY)
        results = [empty] * len(inputs)
        for i, found in zip(scored, self.answer(encodings, done), strict=True):
            results[i] = found
        return results

    def _check(self, inputs: Sequence[Inputs]) -> None:
        wanted = self.texts
        for each in inputs:
            if len(each) not in (1, 2) or (wanted is not None and len(each) != wanted):
                takes = {1: "one text", 2: "a pair of texts", None: "a text, or a pair of texts"}[wanted]
                more = ", the second with --pair" if wanted == 2 else ""
                given = ", ".join(shown(text, 40) for text in each)
                raise ConfigError(f"the model takes {takes}, but got {len(each)}: {given} — give {takes} each{more}")

    def answer(self, encodings: Sequence[Sequence[Encoding]], done: Done = lambda texts: None) -> list[Prediction]:
        """Return the predictions of examples given as word pieces."""
        windows = self._windows(encodings)
        rows: dict[int, Sequence[FloatArray]] = {}
        outputs, by_linear_N = self._cascade_outputs(encodings, windows, done, rows)
        return self.decoded(outputs, encodings, windows, by_linear_N, rows=rows)

    def decoded(
        self,
        outputs: Outputs,
        encodings: Sequence[Sequence[Encoding]],
        windows: Sequence[Sequence[Features]],
        by_linear_N: npt.NDArray[np.bool_] | None = None,
        *,
        rows: Mapping[int, Sequence[FloatArray]] = MappingProxyType({}),
    ) -> list[Prediction]:
        """Return the predictions of examples whose outputs are known.

        Some outputs may be those of a cascade's linear model; `rows` are the windows' of texts that have several.
        """
        outputs, far_N = self._apart(outputs)
        found = self.task.decode(outputs, self.settings, windows)
        by_linear_N = np.zeros(len(found), dtype=bool) if by_linear_N is None else by_linear_N
        results = []
        for i, (prediction, pieces, parts, linear, far) in enumerate(
            zip(found, encodings, windows, by_linear_N.tolist(), far_N, strict=True)
        ):
            unknown = max(self.tokenizer.unk_ratio(encoding) for encoding in pieces)
            cut = not linear and any(part.cut for part in parts)  # the linear model does not truncate
            sure = prediction.confidence
            unsure = self.least_confidence > 0 and (sure is None or sure < self.least_confidence)
            told = {"truncated": cut, "unk_ratio": unknown, "by_linear": linear, "abstained": unsure, "unknown": far}
            if i in rows:
                told["evidence"] = evidence(self.task, self.settings, rows[i], parts, pieces)
            results.append(replace(prediction, **told))
        return results

    def _apart(self, outputs: Outputs) -> tuple[Outputs, list[bool]]:
        """Return the outputs of the task alone, and which texts are of none of the known classes."""
        if self._detector is None or not len(outputs):
            return outputs, [False] * len(outputs)
        rows_NO = np.asarray(outputs)[:, 0]
        away_N = self._detector.distances(rows_NO[:, self._outputs :])
        return rows_NO[:, None, : self._outputs], (away_N > (self.farthest or np.inf)).tolist()

    def _cascade_outputs(
        self,
        encodings: Sequence[Sequence[Encoding]],
        windows: Sequence[Sequence[Features]],
        done: Done,
        rows: dict[int, Sequence[FloatArray]],
    ) -> tuple[Outputs, npt.NDArray[np.bool_]]:
        """Return the outputs for each text, and which of them are the linear model's; `rows` as `_scored` fills it."""
        if self.cascade is None or not encodings:
            return self._scored(windows, done, rows=rows), np.zeros(len(windows), dtype=bool)
        logits_NC, sure_N = self.cascade.answer([self.pieces(each) for each in encodings])
        rest, answered = np.flatnonzero(~sure_N).tolist(), int(sure_N.sum())
        done(answered)
        if rest:
            some: dict[int, Sequence[FloatArray]] = {}
            found = self._scored([windows[i] for i in rest], lambda texts: done(answered + texts), rows=some)
            logits_NC[rest] = np.asarray(found)[:, 0]
            rows |= {rest[i]: each for i, each in some.items()}
        return logits_NC[:, None], sure_N

    def pieces(self, encodings: Sequence[Encoding]) -> IntArray:
        """Return the word pieces of an example for the linear model: two texts are joined by [SEP]."""
        if len(encodings) == 1:
            return encodings[0].ids
        return np.concatenate((encodings[0].ids, [self.tokenizer.sep], encodings[1].ids)).astype(np.int32)

    def outputs(
        self, windows: Sequence[Sequence[Features]], done: Done = lambda texts: None, *, fallback: bool = True
    ) -> Outputs:
        """Return the head's outputs for each window, or one row a text where the head averages windows.

        Where a linear model is blended with BERT: the sum of both. With `fallback`, bf16 scores again what int8
        is unsure of.
        """
        return self._apart(self._scored(windows, done, fallback=fallback))[0]

    def _scored(
        self,
        windows: Sequence[Sequence[Features]],
        done: Done,
        *,
        fallback: bool = True,
        rows: dict[int, Sequence[FloatArray]] | None = None,
    ) -> Outputs:
        """Return outputs as `outputs` does, those for the detector behind the task's.

        `rows` is filled with what was averaged: the rows of the windows of each text that has several.
        """
        if not windows:
            return []
        found, kept = self.bert(windows, done)
        found = blended(self.blend, found, windows)
        if self._exact is not None and fallback:
            own = self._apart(found)[0]
            unsure = np.flatnonzero(self.task.sureness(own, self.settings, windows)[1] < self._margin).tolist()
            if unsure:
                exact, again = averaged(scored(self._exact, [windows[i] for i in unsure]), self.head)
                exact = blended(self.blend, exact, [windows[i] for i in unsure])
                for place, i in enumerate(unsure):
                    found[i] = exact[place]  # type: ignore[index]
                kept |= {unsure[place]: each for place, each in again.items()}
        if rows is not None:
            rows.update(kept)
        if not finite(found):
            raise ModelError("the model gives NaN or infinite scores — its weights are damaged; fit it again")
        return found

    def bert(
        self, windows: Sequence[Sequence[Features]], done: Done = lambda texts: None
    ) -> tuple[Outputs, dict[int, Sequence[FloatArray]]]:
        """Return what BERT alone gives, before a linear model is blended in, and the rows that were averaged."""
        return averaged(scored(self._scorer, windows, done), self.head)

    def explain(
        self,
        texts: str | Sequence[str],
        *,
        output: str | None = None,
        by: Literal["gradients", "occlusion"] = "gradients",
    ) -> Explanation:
        """Return why a text, or a pair of texts, gets its answer: how much each word did, and where attention goes.

        `output` names what to explain, a label for instance; None: the answer. `by` integrated gradients, or occlusion.
        Raises ConfigError.

        >>> load("runs/reviews").explain("Not bad at all.").top(1)[0].text  # doctest: +SKIP
        'Not'
        """
        from filbert.inference.explain import explain

        given = (texts,) if isinstance(texts, str) else tuple(texts)
        (prediction,) = self.predict([given])
        if prediction.error is not None:
            raise ConfigError(f"{shown(given[0])} has no visible character — give at least one in each text")
        return explain(self._reopened(), given, prediction, device=self.device, output=output, by=by)

    def _reopened(self) -> Model:
        """Open the folder once more, as an engine keeps its weights in the form in which it scores."""
        if self.folder is None:
            raise ConfigError("a base that was not trained has no answer of its own to explain — fit a model first")
        model = open_model(self.folder)
        if model.info.get("files") != self.info.get("files"):
            raise ModelError(f"{self.folder} — holds another model than the one that was opened — open it again")
        return replace(model, max_length=self.max_length)

    def stream(self, examples: Iterable[Example]) -> Iterator[tuple[Example, Prediction]]:
        """Score any number of examples in bounded memory, in order."""
        for chunk in chunks(examples):
            yield from zip(chunk, self.predict([example.inputs for example in chunk]), strict=True)


def chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield the examples that are scored together: up to 512, fewer long ones; whoever scores them, in one grid."""
    return grouped(examples, lambda example: sum(map(len, example.inputs)), CHARACTERS, CHUNK)


def scored(scorer: Scorer, windows: Sequence[Sequence[Features]], done: Done = lambda texts: None) -> Outputs:
    """Return a scorer's outputs for each window of each text; an array where every text is one window with one row."""
    rows = scorer.outputs([window for each in windows for window in each], done)
    if isinstance(rows, np.ndarray) and all(len(each) == 1 for each in windows):
        return rows[:, None]
    left = iter(rows)
    return [[next(left) for _ in each] for each in windows]


def averaged(rows: Outputs, head: Head) -> tuple[Outputs, dict[int, Sequence[FloatArray]]]:
    """Return the outputs of texts, averaged over their windows where the head weighs these, and what was averaged.

    >>> averaged([[np.array([1.0, 0.0]), np.array([3.0, 0.0])]], Head(1, weighed=True))[0].tolist()
    [[[2.0]]]
    """
    if not head.weighed:
        return rows, {}
    found = [average(np.asarray(each, dtype=np.float64))[0] for each in rows]
    return np.array(found)[:, None], {i: each for i, each in enumerate(rows) if len(each) > 1}


def finite(outputs: Outputs) -> bool:
    """Return whether no output is NaN or infinite.

    >>> finite([[np.array([0.5])], [np.array([1.0]), np.array([float("nan")])]])
    False
    """
    parts = [outputs] if isinstance(outputs, np.ndarray) else [window for each in outputs for window in each]
    return all(np.isfinite(part).all() for part in parts)


def load(
    path: str | Path,
    *,
    device: str | None = None,
    precision: str = "fp32",
    cascade: bool = True,
    abstain: float | None = None,
    unknown: float | None = None,
) -> Engine:
    """Open a run folder, or any BERT classifier of a task known here, for scoring.

    `precision` "fp32" agrees with `transformers` to 1e-5; "bf16" is faster and within 0.02; "int8", on a CPU with
    AVX-512 VNNI and bf16, is the fastest and within 0.05; texts that it is unsure of are scored again in bf16.
    `cascade=False` ignores the linear model of a cascade. `abstain` is the share of wrong answers that is allowed, 0.02
    for instance: less sure texts get no answer; 0: every text gets one; None: as the model was fitted. `unknown` is the
    share of texts of known classes that may be taken for texts of none, which get no answer; 0 and None likewise.
    Raises ModelError, or ConfigError where the machine lacks the precision or the validation texts do not show a share.
    """
    where = best_device(device)
    how: dict[str, Any] = {"precision": precision, "cascade": cascade, "abstain": abstain, "unknown": unknown}
    return Engine(open_model(path), device=where, **how)
