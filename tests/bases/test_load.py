"""A base's folder in either layout: what passes, what is refused by its name and field, what comes out of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from model_files import FILES
from small import same_weights

from filbert.bases.convert import convert
from filbert.bases.find import find_base
from filbert.bases.load import check_base, is_tensorflow, load_base
from filbert.errors import ModelError
from filbert.files import read_json, write_json
from filbert.pretraining.folder import load_pretrained


@pytest.fixture
def googles(tmp_path, real_data) -> Path:
    """A copy of a checkpoint in Google's own format."""
    folder = tmp_path / "googles"
    shutil.copytree(real_data("checkpoints/tf1_toy"), folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def change(path: Path, **fields: Any) -> None:
    write_json(path, {**read_json(path), **fields})


# ---- checked ----


def test_googles_folder_is_a_base_as_it_stands(googles):
    before = sorted(googles.iterdir())
    assert find_base(str(googles)).folder == googles
    assert sorted(googles.iterdir()) == before


def test_safetensors_beside_googles_checkpoint_are_what_is_read(googles):
    (googles / "model.safetensors").write_bytes(FILES["model.safetensors"])
    assert not is_tensorflow(googles)
    with pytest.raises(ModelError, match=r"lacks config\.json"):
        find_base(str(googles))
    (googles / "config.json").write_bytes(FILES["config.json"])
    assert find_base(str(googles)).folder == googles


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "vocab.txt").unlink(), r"lacks vocab\.txt"),
        (lambda folder: (folder / "bert_config.json").write_text("{}"), r"bert_config\.json vocab_size"),
        (lambda folder: (folder / "tokenizer_config.json").write_text('{"auto_map": 1}'), "auto_map — names Python"),
        (lambda folder: (folder / "bert_model.ckpt.index").unlink(), r"lacks config\.json"),
        (lambda folder: [shutil.move(folder / f"bert_model.ckpt.{part}", folder / f"{name}.{part}")
                         for part, name in (("index", "a"), ("meta", "b"))]
                        and (folder / "c.index").touch(), r"several checkpoints \(a, c\)"),
    ],
    ids=["vocab", "config", "code", "index", "several"],
)  # fmt: skip
def test_googles_folder_spoiled_is_refused_by_name(googles, spoil, named):
    spoil(googles)
    with pytest.raises(ModelError, match=named):
        find_base(str(googles))


@pytest.mark.parametrize("name", ["bert_model.ckpt.data-00000-of-00001", "vocab.txt", "eval/events"])
def test_M35_links_out_of_googles_folder_are_refused(googles, name):
    (googles / name).unlink(missing_ok=True)
    link = googles / name.split("/")[0]
    link.symlink_to(googles.parent)
    with pytest.raises(ModelError, match=f"{link.name} — is a link that leads out"):
        check_base(googles)


# ---- opened ----


def test_googles_folder_opens_as_its_conversion_does(googles, tmp_path):
    convert(googles, tmp_path / "converted")
    before = {path.name: path.read_bytes() for path in googles.iterdir()}
    (encoder, words, heads), (expected, _, their_heads) = load_base(googles), load_base(tmp_path / "converted")
    assert {path.name: path.read_bytes() for path in googles.iterdir()} == before
    assert encoder.config == expected.config
    assert same_weights(encoder.state_dict(), expected.state_dict())
    assert same_weights(heads, their_heads)
    assert {tensor.dtype for tensor in encoder.state_dict().values()} == {torch.float32}
    assert words.encode(["All WORK"])[0].ids.tolist() == [5, 6]
    assert words.settings["do_lower_case"]
    assert load_pretrained(googles).heads == {"mlm", "nsp", "pooler"}


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        ("bert_config.json", {"hidden_act": "relu"}, r"bert_config\.json hidden_act"),
        ("bert_config.json", {"num_attention_heads": 3}, r"bert_config\.json num_attention_heads"),
        ("bert_config.json", {"num_hidden_layers": 3}, "different models"),
        ("bert_config.json", {"vocab_size": 14}, "15 tokens.*14 rows|different models"),
        ("tokenizer_config.json", {"auto_map": {}}, r"tokenizer_config\.json auto_map"),
    ],
    ids=str,
)
def test_M36_googles_folder_that_does_not_fit(googles, file, fields, said):
    if file not in {path.name for path in googles.iterdir()}:
        (googles / file).write_text("{}")
    change(googles / file, **fields)
    with pytest.raises(ModelError, match=said):
        load_base(googles)


def test_M36_googles_weights_with_a_flipped_bit(googles):
    file = googles / "bert_model.ckpt.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="fails its checksum"):
        load_base(googles)


def test_googles_vocabulary_of_unknown_casing_asks(googles):
    specials = (googles / "vocab.txt").read_text().splitlines()[:5]
    (googles / "vocab.txt").write_text("\n".join([*specials, *"好坏电影这部很看不的"]) + "\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"write .*do_lower_case.* into tokenizer_config"):
        load_base(googles)
    (googles / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert load_base(googles)[1].settings["do_lower_case"]
