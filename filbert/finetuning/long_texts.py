"""How texts beyond the longest length are read, where `--long auto` leaves the choice: by what a linear model learns.

    few tokens left out → head-tail, else two linear models for each way, each trained on half of the texts as that way
    reads them and asked about the long ones of the other half

Reading all of a text in windows takes several times as long as reading its ends, so it has to be clearly better. A
linear model of the whole text knows nothing of windows, but it says whether what is cut tells anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from filbert.data.groups import folds, linked, same_text
from filbert.finetuning.dataset import Dataset
from filbert.records import Encoding, Example, FloatArray
from filbert.tasks.framing import longest_first, special_tokens
from filbert.tasks.long_texts import HEAD, HEAD_TAIL, WINDOWS
from filbert.tasks.task import Json

LEFT_OUT = 0.02  # of all tokens: below, nothing is compared
FEWEST, MOST = 40, 1_500  # long texts, and texts, that are compared


@dataclass(frozen=True)
class Chosen:
    """How long texts are read, and why."""

    way: str
    why: str
    facts: Json


def choose(data: Dataset, encodings: Sequence[Sequence[Encoding]], length: int) -> Chosen:
    """Return how the texts of this data set are best read, of the word pieces (with offsets) of its training texts.

    >>> choose(data, encodings, 512).way  # doctest: +SKIP
    'windows'
    """
    room = length - special_tokens(len(encodings[0]))
    tokens_N = np.array([sum(len(part.ids) for part in each) for each in encodings])
    long_N = tokens_N > room
    count, left_out = int(long_N.sum()), float((tokens_N - room)[long_N].sum() / max(1, tokens_N.sum()))
    found = f"{count:,} of {len(tokens_N):,} training texts are longer than {length:,} tokens"
    facts = {"long": count, "left_out": left_out}
    if left_out < LEFT_OUT or count < FEWEST:
        return Chosen(HEAD_TAIL, f"{found}, {left_out:.1%} of all tokens would be left out", facts)
    error, errors = _errors(data, encodings, long_N, room)
    mean = {way: float(errors_N.mean()) for way, errors_N in errors.items()}
    said = f"{found}, on which a linear model's mean error ({error}) is "
    said += ", ".join(f"{mean[way]:.3f} by {way}" for way in (WINDOWS, HEAD_TAIL, HEAD))
    way = HEAD if _better(errors[HEAD], errors[HEAD_TAIL]) else HEAD_TAIL
    if _better(errors[WINDOWS], errors[way]):
        way = WINDOWS
    return Chosen(way, said, {**facts, "error": error, "errors": mean, "compared": len(errors[way])})


def _better(one_N: FloatArray, other_N: FloatArray) -> bool:
    """Return whether one way errs less on the same texts, by more than the standard error of the difference."""
    gain_N = other_N - one_N
    return bool(gain_N.mean() > max(0.0, float(gain_N.std()) / len(gain_N) ** 0.5))


def _errors(
    data: Dataset, encodings: Sequence[Sequence[Encoding]], long_N: np.ndarray, room: int
) -> tuple[str, dict[str, FloatArray]]:
    """Return what an error is called, and for each way the errors on the long texts."""
    train, task = data.splits.train, data.task
    random = np.random.default_rng(0).permutation(len(train))
    order = [*random[long_N[random]].tolist(), *random[~long_N[random]].tolist()][:MOST]  # the long ones first
    texts = [train[i] for i in order]
    half_M = folds(linked(texts, [same_text]), task.strata(texts), 2, 0)
    name, found = "", dict[str, FloatArray]()
    for way in (HEAD_TAIL, HEAD, WINDOWS):
        read = [_read(train[i], encodings[i], way, room) for i in order]
        errors = []
        for half in (0, 1):
            learnt = [text for text, each in zip(read, half_M, strict=True) if each != half]
            asked = [text for i, text, each in zip(order, read, half_M, strict=True) if each == half and long_N[i]]
            linear = task.baseline(learnt, {"validation": asked}, data.settings)
            assert linear is not None
            name, errors_M = task.errors(asked, linear.predictions["validation"], data.settings)
            errors.append(errors_M)
        found[way] = np.concatenate(errors)
    return name, found


def _read(example: Example, pieces: Sequence[Encoding], way: str, room: int) -> Example:
    """Return an example with the texts that a model sees of it."""
    if way == WINDOWS or sum(len(each.ids) for each in pieces) <= room:
        return example
    if len(pieces) == 2:
        left = longest_first(len(pieces[0].ids), len(pieces[1].ids), room)
        return replace(example, inputs=tuple(_begin(part, n) for part, n in zip(pieces, left, strict=True)))
    if way == HEAD:
        return replace(example, inputs=(_begin(pieces[0], room),))
    end = int(pieces[0].offsets[len(pieces[0].ids) - (room - room // 4), 0])
    return replace(example, inputs=(f"{_begin(pieces[0], room // 4)} {pieces[0].text[end:]}",))


def _begin(pieces: Encoding, tokens: int) -> str:
    return pieces.text[: int(pieces.offsets[tokens - 1, 1])] if tokens < len(pieces.ids) else pieces.text
