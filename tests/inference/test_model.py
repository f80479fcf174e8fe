"""A finished model, ours or other people's: its files say its task; head, labels and weights belong together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import run
from model_files import change, change_weights, seal
from small import LABELS, VOCAB, chances, classifier, save, spread, tokenizer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel

from filbert import tasks
from filbert.bases.load import load_base
from filbert.errors import ModelError
from filbert.inference.engine import load
from filbert.inference.model import open_model

TEXTS = ["good", "a badly film", "not a good film not bad", "", "xyz good"]
SMALL = {
    "vocab_size": len(VOCAB),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "model", classifier())


def test_the_task_and_its_settings_are_those_of_the_manifest(folder):
    model = open_model(folder)
    assert (model.task.NAME, model.settings.labels, model.head.outputs) == ("single-label", LABELS, 3)


@pytest.mark.parametrize("name", list(tasks.TASKS))
def test_opening_features_and_answers_need_neither_torch_nor_scikit_learn(name):
    """In C++ a first label comes from a cold process in half a second; torch alone takes three times as long."""
    code = f"""
import sys
import numpy as np
from filbert.inference.model import open_model
model = open_model({str(run(name).folder)!r})
texts = ["good"] * len(model.info["columns"]["inputs"])
encodings = model.tokenizer.encode(texts, offsets=model.task.WINDOWS)
windows = model.task.features(encodings, None, model.tokenizer, model.settings, model.max_length)
rows = [() if model.head.one_row else (len(each) if each.marks is None else len(each.marks),) for each in windows]
outputs = [[np.zeros((*count, model.head.outputs)) for count in rows]]
[found] = model.task.decode(outputs, model.settings, [windows])
print(list(model.task.row(found, model.settings))[0], model.task.show(found, model.settings).answer)
assert not {{"torch", "scipy", "sklearn", "pyarrow"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tasks.named(name).TARGET.startswith(done.stdout.split()[0])  # answer, of answers


@torch.no_grad()
def test_a_classifier_of_transformers_opens_here(tmp_path):
    theirs = spread(BertForSequenceClassification(BertConfig(**SMALL, id2label=dict(enumerate(LABELS))))).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    words = AutoTokenizer.from_pretrained(tmp_path)
    engine = load(tmp_path)
    expected = theirs(**words(TEXTS, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    assert np.abs(chances(engine, TEXTS) - expected).max() <= 1e-5
    assert (engine.settings.labels, engine.max_length, engine.info) == (LABELS, 64, {})
    assert engine.texts is None  # nothing says whether it was made for one text or for two: both are answered
    assert len(engine.predict(["good", ("a good film", "not bad")])) == 2


def test_an_encoder_is_no_finished_model(tmp_path):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    with pytest.raises(ModelError, match=r"is of no kind known here .*BertModel"):
        open_model(tmp_path)
    encoder, words, heads = load_base(tmp_path)  # but it is a base
    assert (encoder.config.layers, len(words)) == (2, 11)
    assert sorted(heads) == ["pooler.dense.bias", "pooler.dense.weight"]


def test_an_encoder_that_does_not_say_what_it_is_lacks_a_head(folder):
    change_weights(folder, **{"classifier.weight": None, "classifier.bias": None})
    with pytest.raises(ModelError, match=r"classifier\.weight.*not a finished model"):
        open_model(folder)


def test_a_head_of_no_task_is_refused_with_what_there_is(tmp_path):
    BertForTokenClassification(BertConfig(**SMALL)).save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    with pytest.raises(ModelError, match=r"BertForTokenClassification.*choose a model for single-label"):
        open_model(tmp_path)


def test_a_manifest_of_another_task(folder):
    change(folder / "filbert.json", task="answer")
    with pytest.raises(ModelError, match="update Filbert"):
        open_model(folder)


def test_M37_labels_of_another_run(folder):
    change(folder / "filbert.json", settings={"labels": ["fine", "dull", "übel"]})
    with pytest.raises(ModelError, match="labels"):
        open_model(folder)


@pytest.mark.parametrize("labels", [None, 3, "abc"])
def test_M37_a_manifest_without_labels(folder, labels):
    change(folder / "filbert.json", settings={} if labels is None else {"labels": labels})
    with pytest.raises(ModelError, match="labels"):
        open_model(folder)


@pytest.mark.parametrize("id2label", [{"0": "a", "2": "b", "3": "c"}, ["a", "b", "c"], {"zero": "a"}, 3])
def test_M36_id2label_must_number_the_labels(folder, id2label):
    change(folder / "config.json", id2label=id2label)
    seal(folder)
    with pytest.raises(ModelError, match="id2label"):
        open_model(folder)


def test_M36_more_labels_than_classes(folder):
    change(folder / "config.json", id2label={"0": "a", "1": "b", "2": "c", "3": "d"})
    change(folder / "filbert.json", settings={"labels": ["a", "b", "c", "d"]})
    seal(folder)
    with pytest.raises(ModelError, match=r"shape \(3, 8\), .* ask for \(4, 8\)"):
        open_model(folder)


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_M36_a_config_of_another_task_than_the_manifest(folder, problem):
    """Refused as a model error, not taken for another model nor left to crash."""
    change(folder / "config.json", problem_type=problem)
    seal(folder)
    with pytest.raises(ModelError, match="problem_type"):
        open_model(folder)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("classifier.weight", torch.zeros(3, 9)),
        ("classifier.weight", torch.zeros(2, 8)),
        ("classifier.bias", torch.zeros(2)),
        ("bert.pooler.dense.weight", torch.zeros(8, 9)),
        ("bert.pooler.dense.bias", torch.zeros(9)),
        ("bert.pooler.dense.weight", None),
        ("bert.pooler.dense.bias", None),
        ("classifier.weight", None),
        ("classifier.bias", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "missing" if value is None else str(tuple(value.shape)),
)
def test_M36_a_tensor_of_another_shape_or_none(folder, name, tensor):
    change_weights(folder, **{name: tensor})
    with pytest.raises(ModelError, match=name.removeprefix("bert.").replace(".", r"\.")):
        open_model(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_give_no_score(folder, bad):
    change_weights(folder, **{"classifier.bias": torch.tensor([0.0, bad, 0.0])})
    with pytest.raises(ModelError, match="NaN or infinite"):
        load(folder).predict(["good"])
