"""Explain one answer: how much each word did for it, and where each layer and head looked.

    texts → windows → the quantity that decides (of the task) → weights of tokens → weights of words, in their text

attributions.py computes, report/explanation.py makes the page. A word is what people call one (text/words.py): the
weights of its pieces are added up.

Shapes: L tokens of a window.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from filbert.errors import ConfigError, shown
from filbert.files import write_text
from filbert.inference.blended import blended
from filbert.inference.model import Model
from filbert.language import speaking
from filbert.linear.blend import Blend
from filbert.model.head import average
from filbert.records import Encoding, Features, FloatArray, IntArray, Prediction
from filbert.report.explanation import WITHIN, explanation_page
from filbert.tasks.task import Quantity
from filbert.text.tokenizer import encoded
from filbert.text.words import word_spans

if TYPE_CHECKING:
    from filbert.inference.attributions import Attributed

By = Literal["gradients", "occlusion"]
WAYS = ("gradients", "occlusion")
PLACES = 6  # decimals of a weight


@dataclass(frozen=True)
class Word:
    """A word of a text, where it stands in code points, and how much it did for the answer."""

    text: str
    part: int
    """0 in the first text, 1 in the second."""
    begin: int
    end: int
    weight: float | None
    """Above 0 it speaks for the answer, below 0 against it; None where it was not read."""


@dataclass(frozen=True)
class Attention:
    """The attention weights of the window that was explained, layers × heads × L × K, the largest first."""

    tokens: tuple[str, ...]
    """As the vocabulary writes them: "[CLS]", "film", "##ly"."""
    index: IntArray
    """Which token is looked at."""
    weight: FloatArray
    """How much, 0 to 1; all K = L of a token sum to 1."""

    def packed(self) -> dict[str, Any]:
        """Return it as the page stores it: indices of two bytes, weights of one, both in base64."""
        layers, heads, _, kept = self.index.shape
        return {
            "tokens": list(self.tokens),
            "layers": layers,
            "heads": heads,
            "kept": kept,
            "share": float(self.weight.sum(-1).mean()),
            "index": b64encode(self.index.astype("<u2").tobytes()).decode(),
            "weight": b64encode(np.rint(255 * self.weight).astype(np.uint8).tobytes()).decode(),
        }


@dataclass(frozen=True)
class Explanation:
    """Why a text got its answer.

    >>> why = load("runs/reviews").explain("Not a dull minute.")       # doctest: +SKIP
    >>> [(word.text, round(word.weight, 2)) for word in why.top(2)]    # doctest: +SKIP
    [('Not', 2.41), ('dull', -0.87)]
    """

    texts: tuple[str, ...]
    answer: str
    """What the model answers, as `filbert predict` says it."""
    shares: dict[str, float]
    """The probabilities beside it, as bars."""
    output: str
    """The name of what is explained; `outputs` are those there are."""
    meaning: str
    outputs: tuple[str, ...]
    by: str
    """gradients, occlusion, or linear where a linear model answers alone."""
    value: float
    """What is explained, of this text …"""
    start: float
    """… and with [MASK] in the place of its words; of a linear model without them."""
    points: int
    """Points at which gradients were taken; else 0."""
    gap: float
    """How far the sum of all weights is from value − start, as a share of it."""
    words: tuple[Word, ...]
    tokens: int
    """Word pieces of the texts …"""
    unread: int
    """… of which so many were cut …"""
    elsewhere: int
    """… and so many stand in other windows, which the explained output did not see."""
    windows: int
    attention: Attention

    def top(self, count: int = 10) -> list[Word]:
        """Return the words that did most, for or against, most important first."""
        read = [word for word in self.words if word.weight]
        return sorted(read, key=lambda word: -abs(word.weight or 0.0))[:count]

    @property
    def complete(self) -> bool:
        """Whether the weights add up to the change of what is explained, within 2 %."""
        return self.by == "gradients" and self.gap <= WITHIN

    def json(self) -> dict[str, Any]:
        """Return everything but the attention weights, as --json prints it."""
        rows = [
            {
                "text": word.text,
                "part": word.part,
                "begin": word.begin,
                "end": word.end,
                "weight": None if word.weight is None else round(word.weight, PLACES),
            }
            for word in self.words
        ]
        names = ("answer", "shares", "output", "meaning", "outputs", "by", "value", "start", "points", "gap")
        facts = {name: getattr(self, name) for name in (*names, "tokens", "unread", "elsewhere", "windows")}
        return {"texts": list(self.texts), **facts, "outputs": list(self.outputs), "words": rows}

    def html(self, name: str = "model", language: str = "en") -> str:
        """Return the page: words coloured in their text, and attention by layer and head; one file, no network."""
        with speaking(language):
            return explanation_page({**self.json(), "name": name, "attention": self.attention.packed()})

    def save(self, path: str | Path, name: str = "model", language: str = "en") -> None:
        """Write the page to a file, in English (en) or Chinese (zh).

        >>> load("runs/reviews").explain("What a film!").save("why.html")  # doctest: +SKIP
        """
        write_text(Path(path), self.html(name, language))


def explain(
    model: Model,
    texts: Sequence[str],
    prediction: Prediction,
    *,
    device: str = "cpu",
    output: str | None = None,
    by: By = "gradients",
) -> Explanation:
    """Return why texts get the answer `prediction`, by the network in fp32; `Engine.explain` calls it.

    `output` is the name of what to explain, a label for instance; the answer itself where it is None. Raises
    ConfigError where there is no such output, or nothing to explain.

    >>> explain(open_model("runs/reviews"), ["What a film!"], prediction).output  # doctest: +SKIP
    'positive'
    """
    if by not in WAYS:
        raise ConfigError(f"--by {shown(by)} — choose one of {', '.join(WAYS)}")
    case = _Case(model, tuple(texts), device)
    quantity, names = case.chosen(output)
    if model.blend is not None and not model.blend.factor:
        found, how = case.by_linear(model.blend, quantity), "linear"
    else:
        found, how = case.by_gradients(quantity) if by == "gradients" else case.by_occlusion(quantity), str(by)
    show, places_L = model.task.show(prediction, model.settings), case.places[quantity.window]
    tokens = sum(len(each.ids) for each in case.pieces)
    read = len({place for places in case.places for place in places.tolist() if place >= 0})
    return Explanation(
        texts=tuple(texts),
        answer=show.answer,
        shares=dict(show.bars),
        output=quantity.name,
        meaning=quantity.meaning,
        outputs=names,
        by=how,
        value=found.value,
        start=found.start,
        points=found.points,
        gap=found.gap,
        words=case.words(found.weights_L, places_L),
        tokens=tokens,
        unread=tokens - read,
        elsewhere=read - int((places_L >= 0).sum()),
        windows=len(case.windows),
        attention=case.attention(quantity.window),
    )


class _Case:
    """One text, or a pair, with its word pieces, its windows and the network in fp32."""

    def __init__(self, model: Model, texts: tuple[str, ...], device: str) -> None:
        from filbert.folder.torch_parts import network_of  # imports torch

        self.model, self.device, self.texts = model, device, texts
        self.network = network_of(model.config, model.weights, model.head, model.arrays).to(device)
        (self.pieces,) = encoded(model.tokenizer, [texts], offsets=True)
        self.windows = self._features(self.pieces)
        self.places = self._places()
        self.spans = [word_spans(text) for text in texts]

    def _features(self, pieces: Sequence[Encoding]) -> list[Features]:
        model = self.model
        return model.task.features(pieces, None, model.tokenizer, model.settings, model.max_length)

    def _places(self) -> list[IntArray]:
        """Return for each token of each window which piece of the texts it is, counted over both; -1 for [CLS], [SEP].

        Found by framing numbers in the place of ids, whatever the task's rule is.
        """
        above, numbered = len(self.model.tokenizer), []
        for each in self.pieces:
            numbered.append(replace(each, ids=np.arange(above, above + len(each.ids), dtype=np.int32)))
            above += len(each.ids)
        framed = self._features(numbered)
        return [np.maximum(window.ids - len(self.model.tokenizer), -1).astype(np.int32) for window in framed]

    def outputs(self, windows: Sequence[Features]) -> list[FloatArray]:
        """Return the head's outputs for each window."""
        from filbert.inference.scorer import TorchScorer

        return list(TorchScorer(self.network, self.device, None).outputs(windows))

    def chosen(self, name: str | None) -> tuple[Quantity, tuple[str, ...]]:
        """Return what is to be explained, and the names of all that can be; ConfigError where it is not there."""
        rows = self.outputs(self.windows)
        outputs = [row for each in blended(self.model.blend, [[each] for each in rows], [self.windows]) for row in each]
        if self.model.head.weighed:
            found = in_deciding_windows(self.model, rows, self.windows)
        else:
            found = self.model.task.quantities(outputs, self.model.settings, self.windows)
        names = tuple(each.name for each in found)
        if not found:
            raise ConfigError("the answers of this model are not the sum of a network's outputs — fit one to explain")
        if name is not None and name not in names:
            raise ConfigError(
                f"--output {shown(name)} — is none of this text's — choose one of {shown(', '.join(names))}"
            )
        quantity = found[names.index(name) if name is not None else 0]
        both = self.model.blend is not None and self.model.blend.factor
        return (self._of_bert(quantity, outputs, rows) if both else quantity), names

    def _of_bert(self, quantity: Quantity, outputs: Sequence[FloatArray], bert: Sequence[FloatArray]) -> Quantity:
        """Return BERT's part of a quantity of a blend; it says what the linear model adds."""
        assert self.model.blend is not None
        part = replace(quantity, factors=self.model.blend.factor * np.asarray(quantity.factors))
        added = quantity.of(outputs[quantity.window]) - part.of(bert[quantity.window])
        return replace(part, meaning=f"BERT's part of {quantity.meaning} (the linear model adds {added:+.3f})")

    def by_gradients(self, quantity: Quantity) -> Attributed:
        """Return the integrated gradients of each token of the window."""
        from filbert.inference.attributions import integrated_gradients, masked_at

        window, places_L = self.windows[quantity.window], self.places[quantity.window]
        masked = masked_at(window, np.flatnonzero(places_L >= 0), self.model.tokenizer.mask)
        return integrated_gradients(self.network, window, masked, quantity.factors, self.device)

    def by_occlusion(self, quantity: Quantity) -> Attributed:
        """Return of each word by how much the quantity falls with [MASK] in its place, on its first token."""
        from filbert.inference.attributions import Attributed, masked_at

        window, places_L = self.windows[quantity.window], self.places[quantity.window]
        mask, word_L = self.model.tokenizer.mask, self._word_of(places_L)
        places = [np.flatnonzero(word_L == word) for word in np.unique(word_L[word_L >= 0]).tolist()]
        hidden = [masked_at(window, each, mask) for each in (np.flatnonzero(places_L >= 0), *places)]
        value, start, *without = (quantity.of(each) for each in self.outputs([window, *hidden]))
        weights_L = np.zeros(len(window))
        for each, left in zip(places, without, strict=True):
            weights_L[each[0]] = value - left
        return Attributed(weights_L, value, start, 0)

    def by_linear(self, blend: Blend, quantity: Quantity) -> Attributed:
        """Return of each word by how much the linear model's answer changes without it, on its first token."""
        from filbert.inference.attributions import Attributed

        places_L = self.places[quantity.window]
        word_L = self._word_of(places_L)
        spans = [(part, span) for part, spans in enumerate(self.spans) for span in spans]
        numbers, asked = np.unique(word_L[word_L >= 0]).tolist(), [self.texts, tuple(" " for _ in self.texts)]
        for number in numbers:
            part, (begin, end) = spans[number]
            text = f"{self.texts[part][:begin]} {self.texts[part][end:]}"
            asked.append((*self.texts[:part], text, *self.texts[part + 1 :]))
        outputs_NO = blend.linear.outputs(asked)
        value, start, *without = (quantity.of(row.reshape(quantity.factors.shape)) for row in outputs_NO)
        weights_L = np.zeros(len(places_L))
        for number, left in zip(numbers, without, strict=True):
            weights_L[np.flatnonzero(word_L == number)[0]] = value - left
        return Attributed(weights_L, value, start, 0)

    def _word_of(self, places_L: IntArray) -> IntArray:
        """Return the number of the word, counted over both texts, that each token of a window is a piece of, or -1."""
        numbers, above = list[IntArray](), 0
        for pieces, spans in zip(self.pieces, self.spans, strict=True):
            begins = np.array([begin for begin, _ in spans], dtype=np.int64)
            numbers.append((np.searchsorted(begins, pieces.offsets[:, 0], "right") - 1 + above).astype(np.int32))
            above += len(spans)
        of_pieces = np.append(np.concatenate(numbers), np.int32(-1))
        return np.asarray(of_pieces[places_L], dtype=np.int32)

    def words(self, weights_L: FloatArray, places_L: IntArray) -> tuple[Word, ...]:
        """Return the words of the texts, each with the sum of the weights of its tokens."""
        word_L = self._word_of(places_L)
        count = sum(map(len, self.spans))
        read_L = word_L >= 0
        total = np.bincount(word_L[read_L], weights_L[read_L], minlength=count)
        met = np.bincount(word_L[read_L], minlength=count) > 0
        found, number = list[Word](), 0
        for part, (pieces, spans) in enumerate(zip(self.pieces, self.spans, strict=True)):
            for begin, end in spans:
                weight = float(total[number]) if met[number] else None
                found.append(Word(pieces.text[begin:end], part, begin, end, weight))
                number += 1
        return tuple(found)

    def attention(self, window: int) -> Attention:
        """Return where each layer and head looks in a window."""
        from filbert.inference.attributions import attention_weights

        index, weight = attention_weights(self.network, self.windows[window], self.device)
        tokens = tuple(self.model.tokenizer.token(int(i)) for i in self.windows[window].ids)
        return Attention(tokens, index, weight)


def in_deciding_windows(model: Model, rows: Sequence[FloatArray], windows: Sequence[Features]) -> list[Quantity]:
    """Return what can be explained of an answer that is the mean over windows, each in the window that did most for it.

    >>> in_deciding_windows(model, rows, windows)[0].meaning  # doctest: +SKIP
    "the logit of 'good' less that of 'bad', in the window that decided most"
    """
    outputs_O, weights_W = average(np.asarray(rows, dtype=np.float64))
    where = ", in the window that decided most" if len(windows) > 1 else ""
    found = []
    for each in model.task.quantities([outputs_O], model.settings, windows):
        shares_W = [weight * each.of(row[:-1]) for weight, row in zip(weights_W.tolist(), rows, strict=True)]
        sign = np.sign(sum(shares_W)) or 1.0
        factors = np.append(each.factors, 0.0)  # the weight of the window is no part of the answer
        found.append(Quantity(each.name, each.meaning + where, factors, int(np.argmax(sign * np.array(shares_W)))))
    return found
