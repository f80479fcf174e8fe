"""A model's folder is opened whole, or refused by the name of the file and the field that is wrong."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import change, change_weights, seal
from safetensors.torch import load_file, save_file
from small import LABELS, VOCAB, classifier, same_weights, save

from filbert.errors import ModelError
from filbert.files import write_json
from filbert.folder.layout import HEADER, MOST_LABELS
from filbert.folder.open import MODEL_FILES, _check_vocabulary, head_arrays, open_base, open_model_parts
from filbert.folder.torch_parts import network_of
from filbert.model.head import Head
from filbert.text.tokenizer import Tokenizer

HEAD = Head(outputs=len(LABELS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "model", classifier(), name="films")


def test_the_parts_are_those_that_were_saved(folder):
    parts = open_model_parts(folder)
    model = network_of(parts.base.config, parts.base.weights, HEAD, head_arrays(parts.base, HEAD, folder))
    assert same_weights(model.state_dict(), classifier().state_dict())
    assert (parts.max_length, parts.info["name"], parts.cascade) == (64, "films", None)
    assert parts.fields["problem_type"] == "single_label_classification"


def test_shards_are_read_together(folder):
    state = load_file(str(folder / "model.safetensors"))
    names = sorted(state)
    files = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, held in files.items():
        save_file({name: state[name] for name in held}, str(folder / file), {"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "filbert.json").unlink()
    index = {"weight_map": {name: file for file, held in files.items() for name in held}}
    write_json(folder / "model.safetensors.index.json", index)
    parts = open_model_parts(folder)
    model = network_of(parts.base.config, parts.base.weights, HEAD, head_arrays(parts.base, HEAD, folder))
    assert same_weights(model.state_dict(), classifier().state_dict())
    assert parts.info == {}


def test_bf16_is_read_as_the_same_numbers_in_fp32(folder):
    state = load_file(str(folder / "model.safetensors"))
    narrow = {name: tensor.bfloat16() for name, tensor in state.items()}
    save_file(narrow, str(folder / "model.safetensors"), {"format": "pt"})
    seal(folder)
    found = open_base(folder).weights["embeddings.token.weight"]
    assert found.dtype == np.float32
    assert np.array_equal(found, narrow["bert.embeddings.word_embeddings.weight"].float().numpy())


# -- files and manifest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODEL_FILES)
def test_M37_a_changed_file_is_named(folder, name):
    with (folder / name).open("r+b") as file:
        file.seek(-2, 2)
        byte = file.read(1)
        file.seek(-2, 2)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        open_model_parts(folder)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_M37_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        open_model_parts(folder)


def test_M37_weights_of_another_run(folder, tmp_path):
    save(tmp_path / "other", classifier(seed=1))
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(ModelError, match=r"model\.safetensors.*SHA-256"):
        open_model_parts(folder)


@pytest.mark.parametrize("settings", [3, "abc", ["a"]])
def test_M37_a_manifest_whose_settings_are_none(folder, settings):
    change(folder / "filbert.json", settings=settings)
    with pytest.raises(ModelError, match=r"filbert\.json settings — is .* restore the file"):
        open_model_parts(folder)


@pytest.mark.parametrize("files", [None, {}, [], {"config.json": "0"}, {"../x": "0"}, 3])
def test_M37_a_manifest_that_vouches_for_nothing(folder, files):
    change(folder / "filbert.json", files=files)
    with pytest.raises(ModelError, match=r"filbert\.json|config\.json|\.\./x"):
        open_model_parts(folder)


@pytest.mark.parametrize("version", [2, None])
def test_a_manifest_of_another_version(folder, version):
    change(folder / "filbert.json", format=version)
    with pytest.raises(ModelError, match="update Filbert"):
        open_model_parts(folder)


def test_a_base_model_is_no_finished_one(folder):
    change(folder / "filbert.json", task="pretrain", settings=None)
    with pytest.raises(ModelError, match="filbert fit TEXTS --base"):
        open_model_parts(folder)


@pytest.mark.parametrize("max_length", ["long", [], 0, -3])
def test_M36_max_length_that_is_no_length(folder, max_length):
    change(folder / "filbert.json", max_length=max_length)
    with pytest.raises(ModelError, match="max_length"):
        open_model_parts(folder)


@pytest.mark.parametrize("margin", ["low", [], 1, 1.5, -0.1])
def test_M36_a_margin_that_is_no_share(folder, margin):
    change(folder / "filbert.json", int8_margin=margin)
    with pytest.raises(ModelError, match="int8_margin"):
        open_model_parts(folder)


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
        open_model_parts(folder)


def test_no_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_model_parts(folder)


@pytest.mark.parametrize("path", ["nowhere", "model/config.json"])
def test_no_folder(folder, path):
    with pytest.raises(ModelError, match="not a folder"):
        open_model_parts(folder.parent / path)


def test_M35_a_config_that_names_code(folder):
    change(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    seal(folder)
    with pytest.raises(ModelError, match="auto_map"):
        open_model_parts(folder)


# -- parts that do not belong together --------------------------------------------------------------------------------


def test_M36_more_words_than_embeddings(folder):
    Tokenizer.from_vocab([*VOCAB, "more"]).save(folder, 64)
    seal(folder)
    with pytest.raises(ModelError, match=r"12 tokens.*11 rows"):
        open_model_parts(folder)


@pytest.mark.parametrize(("tokens", "rows", "fits"), [(11, 11, 1), (10, 11, 0), (11, 16, 1), (31102, 32102, 1)])
def test_a_few_rows_without_a_token_are_padding_or_lost_lines(tmp_path, tokens, rows, fits):
    with nullcontext() if fits else pytest.raises(ModelError, match=r"10 tokens.*11 rows.*lines .* were lost"):
        _check_vocabulary(tmp_path, tokens, rows)


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("name", ["classifier.weight", "bert.embeddings.LayerNorm.bias"])
def test_weights_that_are_no_floating_point_numbers(folder, name, kind):
    stored = load_file(str(folder / "model.safetensors"))[name]
    change_weights(folder, **{name: stored.to(kind)})
    with pytest.raises(ModelError, match=f"{name.removeprefix('bert.')}' holds .* floating-point"):
        open_model_parts(folder)


def test_two_tensors_of_one_name(folder):
    stored = load_file(str(folder / "model.safetensors"))["classifier.bias"]
    change_weights(folder, **{"bert.classifier.bias": stored.clone()})
    open_model_parts(folder)
    change_weights(folder, **{"bert.classifier.bias": stored + 1})
    with pytest.raises(ModelError, match=r"'classifier\.bias' twice"):
        open_model_parts(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 16},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
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
        open_model_parts(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": "8"},
        {"hidden_size": True},
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"vocab_size": 10**12},
        {"num_hidden_layers": 9_999_999},
        {"hidden_size": -1},
        {"hidden_act": "relu"},
        {"layer_norm_eps": "tiny"},
        {"layer_norm_eps": []},
        {"hidden_dropout_prob": 7},
        {"model_type": "roberta"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
    ids=str,
)
def test_M36_config_that_cannot_be(folder, fields):
    """Refused as a model error, not taken for another model nor left to crash."""
    change(folder / "config.json", **fields)
    seal(folder)
    with pytest.raises(ModelError, match=next(iter(fields))):
        open_model_parts(folder)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("bert.encoder.layer.0.output.dense.bias", torch.zeros(9)),
        ("bert.embeddings.word_embeddings.weight", None),
        ("bert.encoder.layer.1.attention.self.query.weight", None),
    ],
    ids=["another shape", "no words", "no queries"],
)
def test_M36_a_tensor_of_the_encoder_that_is_none(folder, name, tensor):
    change_weights(folder, **{name: tensor})
    with pytest.raises(ModelError, match=r"config\.json"):
        open_model_parts(folder)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (Head(outputs=2), r"classifier\.weight' has shape \(3, 8\), .* ask for \(2, 8\)"),
        (Head(outputs=3, last="qa_outputs"), r"no tensor 'qa_outputs\.weight'"),
    ],
    ids=["two outputs", "of another task"],
)
def test_M36_a_head_that_the_weights_do_not_have(folder, head, said):
    with pytest.raises(ModelError, match=said):
        head_arrays(open_base(folder), head, folder)


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, 0.99])
def test_M36_truncated_weights(folder, keep):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    seal(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        open_model_parts(folder)


def test_M36_a_header_that_promises_too_much(folder):
    (folder / "model.safetensors").write_bytes((10**15).to_bytes(8, "little") + b"{}")
    seal(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        open_model_parts(folder)


def test_M36_what_takes_long_to_read_is_refused_by_its_size(folder, monkeypatch):
    """A header of a million tensors took 26 s, 600,000 words 4.9 s, a config.json of 400,000 labels 5.1 s."""
    monkeypatch.setattr("filbert.text.tokenizer_files.Backend.from_str", None)  # no tokenizer is made
    Tokenizer.from_vocab([*VOCAB, *(f"w{n}" for n in range(99))]).save(folder, 64)
    seal(folder)
    with pytest.raises(ModelError, match=r"110 tokens.*11 rows"):
        open_model_parts(folder)
    (folder / "tokenizer.json").write_bytes(b" " * ((1 << 20) + 1_000_000))
    seal(folder)
    with pytest.raises(ModelError, match=r"tokenizer\.json — is 2\.0 MB, too large for the 11 rows"):
        open_model_parts(folder)
    Tokenizer.from_vocab(VOCAB).save(folder, 64)
    long = b"{" + b" " * (HEADER + 1) + b"}"
    (folder / "model.safetensors").write_bytes(len(long).to_bytes(8, "little") + long)
    seal(folder)
    with pytest.raises(
        ModelError, match=r"model\.safetensors — its header has 1,048,579 bytes, a BERT's at most 1,048,576"
    ):
        open_model_parts(folder)
    names = {str(n): "a" for n in range(MOST_LABELS + 1)}
    change(folder / "config.json", id2label=names)
    (folder / "filbert.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json id2label — names 50,001 labels — at most 50,000 are read"):
        open_model_parts(folder)
    (folder / "config.json").write_bytes(b" " * ((4 << 20) + 1))
    with pytest.raises(ModelError, match=r"config\.json — is larger than 4 MB"):
        open_model_parts(folder)


def test_M37_a_manifest_of_a_base_is_held_to_its_files_too(folder):
    info = json.loads((folder / "filbert.json").read_text("utf-8"))
    assert open_base(folder).config.layers == 2
    write_json(folder / "filbert.json", {**info, "files": {**info["files"], "vocab.txt": "0"}})
    with pytest.raises(ModelError, match=r"vocab\.txt — its SHA-256 differs"):
        open_base(folder)
