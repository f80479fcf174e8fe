"""One small finished run for each task, made once: what the contract is held against."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, dataset_of
from filbert.finetuning.fit import Fitted, fit

WORDS = ("good", "bad", "long", "dull", "warm", "late", "kind", "odd")
EVIL = "<script>alert(1)</script>"
TARGETS: dict[str, Sequence[Any]] = {  # four different ones for each task there is
    "single-label": ("fine", EVIL, "übel", "差"),
    "multi-label": ((), (EVIL,), ("fine", "差"), ("fine",)),
    "regression": (1.5, -2.0, 300.25, 7.0),
    "question-answering": ("fine", EVIL, "übel", ()),  # each stands in every text of `inputs`
    "summarization": tuple(f"It was {word} here. And this is {EVIL}." for word in ("late", "odd", "kind", "dull")),
    "ordinal": ("A", EVIL, "C", "D"),  # of examples/
}
ASKED = frozenset({"question-answering"})  # take a question and a text, and nothing else
ALONE = frozenset({"summarization"})  # take one text, of several sentences
CONFIG = TrainConfig(epochs=1, seed=3, precision="fp32", batch_size=8)


def inputs(count: int, name: str = "", *, pairs: bool = False) -> list[tuple[str, ...]]:
    """Return different short texts, or pairs of them, as the task of a name takes them."""
    if name in ASKED:
        words = [(WORDS[n % 8], WORDS[(n // 8) % 8], n) for n in range(count)]
        return [(f"is it {a}?", f"The {b} text {n} is fine {EVIL} übel, {a} and all.") for a, b, n in words]
    if name in ALONE:
        said = ["It was late here.", "It was odd here.", "It was kind here.", "It was dull here."]
        return [(" ".join([f"A {WORDS[n % 8]} text {n}.", *said, f"And this is {EVIL}."]),) for n in range(count)]
    texts = [f"{WORDS[n % 8]} {WORDS[(n // 8) % 8]} text {n}" for n in range(2 * count)]
    return list(zip(texts[::2], texts[1::2], strict=True)) if pairs else [(text,) for text in texts[:count]]


def data(name: str, *, pairs: bool = False, count: int = 80) -> Dataset:
    """Return texts with the task's targets, one after the other."""
    targets = [TARGETS[name][n % 4] for n in range(count)]
    return dataset_of(inputs(count, name, pairs=pairs), targets, tasks.named(name), seed=1)


@functools.cache
def run(name: str, *, pairs: bool = False) -> Fitted:
    """Return a finished run of a task, in a folder that stays for the session."""
    if name in ASKED | ALONE and pairs:
        return run(name)
    out = Path(tempfile.mkdtemp(prefix="filbert-test-")) / "run"
    return fit(data(name, pairs=pairs), out, base="tiny", config=CONFIG, name=f"a {EVIL}")
