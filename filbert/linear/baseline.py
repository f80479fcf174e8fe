"""The baseline: a linear model on TF-IDF features of the same texts, fitted in seconds, for all tasks.

    texts → counts of words and bigrams (Chinese: characters) → TF-IDF → logistic regression (one per label), or ridge

The same model is what BERT is blended with (blend.py). No torch here.

Shapes: N texts, O outputs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filbert.errors import ConfigError
from filbert.linear.counts import Ints
from filbert.linear.model import fit_linear
from filbert.linear.texts import TextLinear, Vectorizer, read
from filbert.linear.units import HAN_SHARE, MAX_TEXT_LENGTH
from filbert.records import Example, FloatArray
from filbert.text.chinese import han_share

MAX_TEXTS = 200_000  # to train on; more change the scores by less than their interval
MAX_CHARACTERS = {"words": 100_000_000, "characters": 20_000_000}  # in all training texts: up to 1 GB of counts
NAMES = {"b": "one logistic regression a label", "i": "logistic regression", "f": "ridge regression"}


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear model, its outputs for each split, and its time."""

    name: str
    """Name of the model: "TF-IDF (words and pairs) + logistic regression"."""
    seconds: float
    """Of fitting and predicting."""
    model: TextLinear
    outputs: Mapping[str, FloatArray]
    """Split name → N × O: logits of classes, log-odds of labels, numbers."""
    note: str = ""
    """On training texts left out to limit memory, or empty."""


def fit_texts(
    train: Sequence[Example], target: npt.ArrayLike, splits: Mapping[str, Sequence[Example]], outputs: int
) -> LinearFit:
    """Fit a linear model on `train` and ask it for each split in `splits`.

    `target` is the number of each text's class, N; or yes or no for each label, N × L; or a number, N. Accuracy on the
    sets' own test splits: IMDb 90.9 %, SST-2 81.3, TREC 90.8, ChnSentiCorp 92.9, CLINC-150 91.4. Raises ConfigError
    where texts and targets differ in number.

    >>> train = [Example(("good film",)), Example(("bad film",))] * 9
    >>> found = fit_texts(train, [1, 0] * 9, {"test": [Example(("a good one",))]}, 2)
    >>> found.outputs["test"].argmax(axis=1).tolist()
    [1]
    """
    began, target_N = time.perf_counter(), np.asarray(target)
    if len(train) != len(target_N) or not train:
        raise ConfigError("the baseline cannot be fitted: texts and targets differ in number, or there are none")
    chinese = han_share([example.text[:MAX_TEXT_LENGTH] for example in train[:MAX_TEXTS]]) > HAN_SHARE
    vectorizer = Vectorizer(*(("characters", 3) if chinese else ("words", 2)), pairs=len(train[0].inputs) > 1)
    kept_N, note = _subsample(train, MAX_CHARACTERS[vectorizer.units])
    counts = vectorizer.counts([train[i].inputs for i in kept_N])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the bias of a class without texts is -inf
        model = TextLinear(vectorizer, fit_linear(counts, target_N[kept_N], outputs))
    found = {split: model.outputs([each.inputs for each in examples]) for split, examples in splits.items()}
    name = f"TF-IDF ({vectorizer.name}) + {NAMES[target_N.dtype.kind]}"
    return LinearFit(name, time.perf_counter() - began, model, found, note)


def _subsample(examples: Sequence[Example], most: int) -> tuple[Ints, str]:
    """Return the texts to train on, in their order, and a note if some are left out."""
    order = np.random.default_rng(0).permutation(len(examples))
    characters = np.cumsum([sum(map(read, examples[i].inputs)) for i in order])
    many = max(1, min(MAX_TEXTS, int(np.searchsorted(characters, most, "right"))))
    if many >= len(examples):
        return np.arange(len(examples)), ""
    return np.sort(order[:many]), f"trained on a random {many:,} of the {len(examples):,} training texts"
