"""A saved model opens in `transformers` as it stands, comes back to the last bit, is refused when anything is off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import LABELS, VOCAB, classifier, same_weights, spread, tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

from filbert.bases.load import load_base
from filbert.errors import ModelError
from filbert.files import sha256, write_json
from filbert.folder.layout import read_weights
from filbert.folder.save import WHOLE, load_model, save_model
from filbert.inference.engine import load

TEXTS = ["good", "a badly film", "not a good film not bad", "", "xyz good", "bad " * 40]
INFO = {"max_length": 64, "name": "films"}


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(tmp_path / "model", classifier(), tokenizer(), LABELS, INFO)
    return tmp_path / "model"


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file; None takes one out."""
    told = {**json.loads(path.read_text("utf-8")), **fields}
    write_json(path, {key: value for key, value in told.items() if value is not None})


def seal(folder: Path) -> None:
    """Write the manifest's checksums anew, so that the next check is met."""
    change(folder / "filbert.json", files={name: sha256(folder / name) for name in WHOLE})


def change_weights(folder: Path, **tensors: torch.Tensor | None) -> None:
    state = {**load_file(str(folder / "model.safetensors")), **tensors}
    save_file({k: v for k, v in state.items() if v is not None}, str(folder / "model.safetensors"), {"format": "pt"})
    seal(folder)


# -- there and back ---------------------------------------------------------------------------------------------------


def test_back_to_the_last_bit(folder):
    saved = load_model(folder)
    assert same_weights(saved.model.state_dict(), classifier().state_dict())
    parts = saved.parts
    assert (parts.labels, parts.max_length, parts.info["name"]) == (LABELS, 64, "films")
    assert parts.tokenizer.encode(["a badly film"])[0].ids.tolist() == [10, 6, 9, 7]
    assert not saved.model.training
    assert saved.model.encoder.config == classifier().encoder.config


def test_saving_again_gives_the_same_bytes(folder, tmp_path):
    saved = load_model(folder)
    save_model(tmp_path / "again", saved.model, saved.parts.tokenizer, saved.parts.labels, INFO)
    for name in (*WHOLE, "filbert.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_folder_holds_what_it_should_and_nothing_half_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([*WHOLE, "filbert.json"])
    info = json.loads((folder / "filbert.json").read_text("utf-8"))
    assert (info["task"], info["labels"]) == ("classify", list(LABELS))
    assert info["files"] == {name: sha256(folder / name) for name in WHOLE}


def test_a_moved_folder_works(folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert load_model(tmp_path / "elsewhere").parts.labels == LABELS


def test_a_model_trained_in_bf16_is_saved_in_fp32(tmp_path):
    model = classifier()
    model.encoder.bfloat16()
    save_model(tmp_path, model, tokenizer(), LABELS, INFO)
    assert {array.dtype for array in read_weights(tmp_path).values()} == {np.dtype(np.float32)}


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_opens_in_transformers(tmp_path, position):
    save_model(tmp_path, classifier(position=position), tokenizer(), LABELS, INFO)
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
    found = load(tmp_path).predict_proba(texts)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.ptp(found, axis=0).min() > 0.05  # the texts do differ
    assert load_model(tmp_path).model.encoder.config.position == position


@torch.no_grad()
def test_a_classifier_of_transformers_opens_here(tmp_path):
    config = BertConfig(
        vocab_size=len(VOCAB), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    theirs = spread(BertForSequenceClassification(config)).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    words = AutoTokenizer.from_pretrained(tmp_path)
    engine = load(tmp_path)
    expected = theirs(**words(TEXTS[:5], padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    assert np.abs(engine.predict_proba(TEXTS[:5]) - expected).max() <= 1e-5
    assert (engine.labels, engine.max_length, engine.info) == (LABELS, 64, {})


def test_shards_are_read_together(folder):
    state = load_file(str(folder / "model.safetensors"))
    names = sorted(state)
    parts = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, str(folder / file), {"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "filbert.json").unlink()
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    write_json(folder / "model.safetensors.index.json", index)
    assert same_weights(load_model(folder).model.state_dict(), classifier().state_dict())


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_M37_a_changed_file_is_named(folder, name):
    with (folder / name).open("r+b") as file:
        file.seek(-2, 2)
        byte = file.read(1)
        file.seek(-2, 2)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(folder)


@pytest.mark.parametrize("name", WHOLE)
def test_M37_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(folder)


def test_M37_weights_of_another_run(folder, tmp_path):
    save_model(tmp_path / "other", classifier(seed=1), tokenizer(), LABELS, INFO)
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(ModelError, match=r"model\.safetensors.*SHA-256"):
        load_model(folder)


def test_M37_labels_of_another_run(folder):
    change(folder / "filbert.json", labels=["fine", "dull", "übel"])
    with pytest.raises(ModelError, match="labels"):
        load_model(folder)


@pytest.mark.parametrize("labels", [None, 3, "abc"])
def test_M37_a_manifest_without_labels(folder, labels):
    change(folder / "filbert.json", labels=labels)
    with pytest.raises(ModelError, match="labels"):
        load_model(folder)


@pytest.mark.parametrize("files", [None, {}, [], {"config.json": "0"}, {"../x": "0"}, 3])
def test_M37_a_manifest_that_vouches_for_nothing(folder, files):
    change(folder / "filbert.json", files=files)
    with pytest.raises(ModelError, match=r"filbert\.json|config\.json|\.\./x"):
        load_model(folder)


@pytest.mark.parametrize("fields", [{"format": 2}, {"task": "answer"}, {"format": None}])
def test_a_manifest_of_another_version_or_task(folder, fields):
    change(folder / "filbert.json", **fields)
    with pytest.raises(ModelError, match="update Filbert"):
        load_model(folder)


def test_a_base_model_is_no_classifier(folder):
    change(folder / "filbert.json", task="pretrain")
    with pytest.raises(ModelError, match="filbert fit TEXTS --base"):
        load_model(folder)


@pytest.mark.parametrize("max_length", ["long", [], 0, -3])
def test_M36_max_length_that_is_no_length(folder, max_length):
    change(folder / "filbert.json", max_length=max_length)
    with pytest.raises(ModelError, match="max_length"):
        load_model(folder)


@pytest.mark.parametrize("doubt", ["low", [], 1, 1.5, -0.1])
def test_M36_a_doubt_that_is_no_share(folder, doubt):
    change(folder / "filbert.json", int8_doubt=doubt)
    with pytest.raises(ModelError, match="int8_doubt"):
        load_model(folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "[" * 100_000, " " * (17 << 20), "\xed\xa0\x80"],  # the last: a surrogate in UTF-8
    ids=["empty", "cut", "list", "null", "deep", "large", "surrogate"],
)
@pytest.mark.parametrize("name", ["config.json", "filbert.json"])
def test_M36_json_that_is_none(folder, name, content):
    if name == "config.json":
        (folder / "filbert.json").unlink()
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(folder)


@pytest.mark.parametrize("id2label", [{"0": "a", "2": "b", "3": "c"}, ["a", "b", "c"], {"zero": "a"}, 3])
def test_M36_id2label_must_number_the_labels(folder, id2label):
    change(folder / "config.json", id2label=id2label)
    seal(folder)
    with pytest.raises(ModelError, match="id2label"):
        load_model(folder)


def test_M36_more_labels_than_classes(folder):
    change(folder / "config.json", id2label={"0": "a", "1": "b", "2": "c", "3": "d"})
    change(folder / "filbert.json", labels=["a", "b", "c", "d"])
    seal(folder)
    with pytest.raises(ModelError, match=r"4 labels but .*\(3, 8\)"):
        load_model(folder)


def test_M36_more_words_than_embeddings(folder):
    from filbert.text.tokenizer import Tokenizer

    Tokenizer.from_vocab([*VOCAB, "more"]).save(folder, 64)
    seal(folder)
    with pytest.raises(ModelError, match=r"12 tokens.*11 rows"):
        load_model(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 16},
        {"num_hidden_layers": 3},
        {"intermediate_size": 33},
        {"vocab_size": 12},
        {"max_position_embeddings": 65},
        {"type_vocab_size": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_M36_config_of_another_shape(folder, fields):
    change(folder / "config.json", **fields)
    seal(folder)
    with pytest.raises(ModelError, match="different models"):
        load_model(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": "8"},
        {"hidden_size": True},
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"vocab_size": 10**12},
        {"hidden_size": -1},
        {"hidden_act": "relu"},
        {"layer_norm_eps": "tiny"},
        {"layer_norm_eps": []},
        {"hidden_dropout_prob": 7},
        {"model_type": "roberta"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"problem_type": "multi_label_classification"},
    ],
    ids=str,
)
def test_M36_config_that_cannot_be(folder, fields):
    """Refused as a model error, not taken for another model nor left to crash."""
    change(folder / "config.json", **fields)
    seal(folder)
    with pytest.raises(ModelError, match=next(iter(fields))):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("classifier.weight", torch.zeros(3, 9)),
        ("classifier.weight", torch.zeros(2, 8)),
        ("classifier.bias", torch.zeros(2)),
        ("bert.pooler.dense.weight", torch.zeros(8, 9)),
        ("bert.pooler.dense.bias", torch.zeros(9)),
        ("bert.encoder.layer.0.output.dense.bias", torch.zeros(9)),
        ("bert.embeddings.word_embeddings.weight", None),
        ("bert.encoder.layer.1.attention.self.query.weight", None),
        ("bert.pooler.dense.weight", None),
        ("bert.pooler.dense.bias", None),
        ("classifier.weight", None),
        ("classifier.bias", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "missing" if value is None else str(tuple(value.shape)),
)
def test_M36_a_tensor_of_another_shape_or_none(folder, name, tensor):
    change_weights(folder, **{name: tensor})
    with pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_give_no_score(folder, bad):
    change_weights(folder, **{"classifier.bias": torch.tensor([0.0, bad, 0.0])})
    with pytest.raises(ModelError, match="NaN or infinite"):
        load(folder).predict(["good"])


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_M36_truncated_weights(folder, keep):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    seal(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_model(folder)


def test_M36_a_header_that_promises_too_much(folder):
    (folder / "model.safetensors").write_bytes((10**15).to_bytes(8, "little") + b"{}")
    seal(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_model(folder)


def test_no_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(folder)


@pytest.mark.parametrize("path", ["nowhere", "model/config.json"])
def test_no_folder(folder, path):
    with pytest.raises(ModelError, match="no folder"):
        load_model(folder.parent / path)


def test_an_encoder_is_no_classifier(tmp_path):
    config = BertConfig(
        vocab_size=len(VOCAB), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    with pytest.raises(ModelError, match=r"classifier\.weight.*no classifier"):
        load_model(tmp_path)
    encoder, words, heads = load_base(tmp_path)  # but it is a base
    assert (encoder.config.layers, len(words)) == (2, 11)
    assert sorted(heads) == ["pooler.dense.bias", "pooler.dense.weight"]


def test_M35_a_config_that_names_code(folder):
    change(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    seal(folder)
    with pytest.raises(ModelError, match="auto_map"):
        load_model(folder)


# -- a save that is cut short -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", WHOLE)
def test_M37_a_save_cut_short_is_not_taken_for_a_model(folder, monkeypatch, stop):
    """The old manifest goes first, the new one comes last: between them the folder vouches for nothing of ours."""
    import filbert.folder.save as checkpoint

    def cut(path: Path, *rest: Any) -> None:
        raise KeyboardInterrupt

    if stop == "model.safetensors":
        monkeypatch.setattr(checkpoint, "write_tensors", cut)
    elif stop == "config.json":
        monkeypatch.setattr(checkpoint, "write_json", cut)
    else:
        monkeypatch.setattr(checkpoint, "sha256", cut)
    with pytest.raises(KeyboardInterrupt):
        save_model(folder, classifier(seed=1), tokenizer(), LABELS, INFO)
    assert not (folder / "filbert.json").exists()
    assert not list(folder.glob("*.part"))
