"""Labelled texts and classifiers as the benchmarks need them: fewer texts, labels as numbers, random classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from filbert.finetuning.dataset import Dataset, settled
from filbert.folder.save import save_network
from filbert.model.encoder import Encoder
from filbert.model.network import Network
from filbert.records import Example, IntArray
from filbert.tasks import single_label
from filbert.tasks.single_label.outputs import true
from filbert.tasks.single_label.settings import Settings
from filbert.text.tokenizer import Tokenizer


def with_texts(
    data: Dataset,
    *,
    train: Sequence[Example] | None = None,
    validation: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
) -> Dataset:
    """Return the data set with other texts in the parts named."""
    parts = data.splits
    return settled(
        data.task,
        parts.train if train is None else train,
        parts.validation if validation is None else validation,
        parts.test if test is None else test,
        seed=0,
        name="benchmark",
    )


def numbers(examples: Sequence[Example], data: Dataset) -> IntArray:
    """Return the number of each text's label, in the order of the data set's labels."""
    return true(examples, data.settings)


def save_random(folder: Path, encoder: Encoder, tokenizer: Tokenizer, max_length: int) -> Path:
    """Write a classifier of two labels on an encoder, its head initialised at random → its folder."""
    settings = Settings(("no", "yes"))
    info = {"task": single_label.NAME, "settings": asdict(settings), "max_length": max_length}
    fields = {"architectures": [single_label.HUB[0]], **single_label.saved(settings)}
    save_network(folder, Network(encoder, single_label.head(settings)), tokenizer, fields, info)
    return folder
