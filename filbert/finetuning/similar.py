"""Training texts like those of the mistakes: nearest neighbours by the mean of the model's own token vectors.

A mistake whose neighbours have the label that the model gave is often a wrong label in the data, or a text that two
labels fit; one without near neighbours is a kind of text that training did not see.

Shapes: N training texts, M mistakes, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from filbert.finetuning.prepare import Run
from filbert.inference.model import open_model
from filbert.inference.scorer import scorer_of
from filbert.model.head import Head
from filbert.progress import Watcher
from filbert.records import Encoding, Example, FloatArray
from filbert.tasks.labels import passage
from filbert.tasks.task import Json

SHOWN = 3  # neighbours of a mistake
LENGTH = 128  # tokens of a text that are compared
TOKENS = 200_000  # of training texts in all: ten seconds on two cores; of more a random part is compared
CHARACTERS = 300  # of a neighbour that the report shows


def add_similar(out: Path, run: Run, examples: Sequence[Example], mistakes: list[Json], watch: Watcher) -> None:
    """Add `similar` to each mistake: the nearest training texts, their targets and how near they are, 0 to 1.

    Long texts that are read in windows are left out, as one vector says little of them.
    """
    task = run.data.task
    if task.WINDOWS or not mistakes:
        return
    found = numbered(examples, mistakes)
    chosen = _chosen(run)
    watch.progress("looking for similar training texts", 0, 0)
    last = list(run.encodings)[-1]
    vectors_MD = _vectors(out, run, [run.encodings[last][i] for _, i in found])
    vectors_ND = _vectors(out, run, [run.encodings["train"][i] for i in chosen])
    near_MN = vectors_MD @ vectors_ND.T
    for (mistake, _), near_N in zip(found, near_MN, strict=True):
        best = np.argsort(-near_N, kind="stable")[:SHOWN]
        mistake["similar"] = [_told(run.data.splits.train[chosen[i]], float(near_N[i])) for i in best.tolist()]


def numbered(examples: Sequence[Example], mistakes: Sequence[Json]) -> list[tuple[Json, int]]:
    """Return the mistakes, each with the number of its text.

    >>> numbered([Example(("a",)), Example(("b",))], [passage(Example(("b",)))])[0][1]
    1
    """
    number = {_key(passage(example)): i for i, example in enumerate(examples)}
    return [(each, number[_key(each)]) for each in mistakes if _key(each) in number]


def _key(told: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(told.get(name) for name in ("place", "text", "text_pair"))


def _chosen(run: Run) -> list[int]:
    """Return training texts at random, as many as there is time for."""
    lengths = [min(LENGTH, sum(len(part.ids) for part in each)) for each in run.encodings["train"]]
    order = np.random.default_rng(0).permutation(len(lengths))
    many = int(np.searchsorted(np.cumsum(np.asarray(lengths)[order]), TOKENS, "right"))
    return sorted(order[: max(1, many)].tolist())


def _vectors(out: Path, run: Run, encodings: Sequence[Sequence[Encoding]]) -> FloatArray:
    """Return the mean token vector of each text, of length 1."""
    model = open_model(out)
    bare = replace(model, head=Head(model.config.hidden, "mean", pooled=False, last=""), arrays={})
    length = min(LENGTH, model.max_length)
    rows = [run.data.task.features(each, None, run.tokenizer, run.data.settings, length)[0] for each in encodings]
    vectors_ND = np.asarray(scorer_of(bare, run.device, "auto").outputs(rows), dtype=np.float64)
    length_N1 = np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors_ND / length_N1, dtype=np.float64)


def _told(example: Example, near: float) -> Json:
    target = example.target
    if isinstance(target, (tuple, list)):
        target = ", ".join(map(str, target))
    texts = [text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…" for text in example.inputs]
    answer = f"{target:g}" if isinstance(target, float) else str(target)
    return {"text": " · ".join(texts), "target": answer, "place": str(example.place), "near": round(near, 4)}
