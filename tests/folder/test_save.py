"""A saved model opens in `transformers` as it stands, comes back to the last bit, is never a mixture of two."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from small import LABELS, chances, classifier, same_weights, save, tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from filbert.errors import ModelError
from filbert.files import sha256
from filbert.folder.layout import read_weights
from filbert.folder.open import MODEL_FILES
from filbert.folder.save import save_vocabulary
from filbert.folder.torch_parts import network_of
from filbert.inference.engine import load
from filbert.inference.model import Model, open_model
from filbert.model.network import Network
from filbert.owned import finished
from filbert.text.tokenizer import VOCABULARY, Tokenizer

TEXTS = ["good", "a badly film", "not a good film not bad", "", "xyz good", "bad " * 40]
INFO = {"max_length": 64, "name": "films"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "model", classifier(), **INFO)


def network(model: Model) -> Network:
    return network_of(model.config, model.weights, model.head, model.arrays)


def test_back_to_the_last_bit(folder):
    opened = open_model(folder)
    saved = network(opened)
    assert same_weights(saved.state_dict(), classifier().state_dict())
    assert (opened.settings.labels, opened.max_length, opened.info["name"]) == (LABELS, 64, "films")
    assert opened.tokenizer.encode(["a badly film"])[0].ids.tolist() == [10, 6, 9, 7]
    assert not saved.training
    assert saved.encoder.config == classifier().encoder.config


def test_saving_again_gives_the_same_bytes(folder, tmp_path):
    opened = open_model(folder)
    save(tmp_path / "again", network(opened), opened.settings.labels, opened.tokenizer, **INFO)
    for name in (*MODEL_FILES, "filbert.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_folder_holds_what_it_should_and_nothing_half_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([*MODEL_FILES, "filbert.json"])
    info = json.loads((folder / "filbert.json").read_text("utf-8"))
    assert (info["task"], info["settings"]["labels"]) == ("single-label", list(LABELS))
    assert info["files"] == {name: sha256(folder / name) for name in MODEL_FILES}


def test_a_moved_folder_works(folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert open_model(tmp_path / "elsewhere").settings.labels == LABELS


def test_a_model_trained_in_bf16_is_saved_in_fp32(tmp_path):
    model = classifier()
    model.encoder.bfloat16()
    save(tmp_path, model, **INFO)
    assert {array.dtype for array in read_weights(tmp_path).values()} == {np.dtype(np.float32)}


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_opens_in_transformers(tmp_path, position):
    save(tmp_path, classifier(position=position), **INFO)
    theirs, words = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    assert type(theirs) is BertForSequenceClassification
    assert theirs.config.id2label == dict(enumerate(LABELS))
    assert theirs.config.label2id == {label: i for i, label in enumerate(LABELS)}
    texts = [text for text in TEXTS if len(text) < 100]  # what fits: long texts are cut at other places
    inputs = words(texts, padding=True, return_tensors="pt", split_special_tokens=True)
    expected = theirs.eval()(**inputs).logits.softmax(-1).numpy()
    found = chances(load(tmp_path), texts)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(found, axis=0).min() > 0.05  # the texts do differ
    assert open_model(tmp_path).config.position == position


class Full:
    """A disk that is full at the n-th file: whatever is written ends in fsync, where a full disk may show."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def __call__(self, number: int) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_T17_a_full_disk_leaves_the_model_that_was_there(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for at in range(1, 20):
        monkeypatch.setattr(os, "fsync", full := Full(at))
        try:
            save(folder, classifier(seed=1), **INFO)
        except OSError:
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        else:
            break
    assert full.calls == len(MODEL_FILES) + 1  # each file and the manifest
    assert same_weights(network(open_model(folder)).state_dict(), classifier(seed=1).state_dict())


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("at", range(len(MODEL_FILES) + 1))
def test_M37_a_move_cut_short_is_ours_and_never_taken_for_a_model(tmp_path, monkeypatch, at, taken):
    folder, moved = tmp_path / "model", 0
    if taken:
        save(folder, classifier(), **INFO)

    def replace(path: Path, target: Path) -> Path:
        nonlocal moved
        if target.parent == folder:
            moved += 1
            if moved > at:
                raise KeyboardInterrupt
        os.replace(path, target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            save(folder, classifier(seed=1), **INFO)
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_model(folder)
    assert finished(folder) == (taken or at > 0)
    assert not [path for path in folder.iterdir() if path.name not in (*MODEL_FILES, "filbert.json")]
    save(folder, classifier(seed=1), **INFO)
    assert same_weights(network(open_model(folder)).state_dict(), classifier(seed=1).state_dict())


def test_T17_a_vocabulary_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    out = tmp_path / "new" / "words"
    for at in range(1, 10):
        monkeypatch.setattr(os, "fsync", full := Full(at))
        try:
            save_vocabulary(out, tokenizer())
        except OSError:
            assert list((tmp_path / "new").iterdir()) == []
        else:
            break
    assert full.calls == len(VOCABULARY) + 1
    assert finished(out)
    assert Tokenizer.from_folder(out).encode(["a film"])[0].ids.tolist() == [10, 7]


def test_everybody_may_read_a_model_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        save(tmp_path / "model", classifier(), **INFO)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()} == {0o644}
