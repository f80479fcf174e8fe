"""Model folders: what passes, and what is refused by its name and field."""

from __future__ import annotations

import json
import os
import time

import pytest
from model_files import FILES, configured, without, written

from filbert.bases.find import find_base
from filbert.errors import ModelError
from filbert.folder.check import check_folder, refuse_code, refuse_links


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model", FILES)


@pytest.mark.parametrize(
    ("file", "data", "named"),
    [
        ("config.json", configured(auto_map={"AutoModel": "evil.Model"}), r"config\.json auto_map — names Python code"),
        ("tokenizer_config.json", b'{"auto_map": null}', r"tokenizer_config\.json auto_map — names Python code"),
        (
            "config.json",
            configured(model_type="roberta"),
            r"config\.json model_type — is 'roberta', supported is 'bert'",
        ),
        ("config.json", b"{}", "model_type — is missing"),
        ("config.json", b"[]", "is not a JSON object"),
        ("config.json", b"{", "cannot be read as JSON"),
        ("config.json", b'{"a":' * 100_000, "nested too deeply"),
        ("config.json", b'{"a": "\xff"}', "cannot be read as JSON"),
        ("config.json", b" " * (5 << 20), "is larger than 4 MB"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "../up.safetensors"}}', r"weight_map — '\.\./up"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "a\\\\b.safetensors"}}', "weight_map"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "/etc/passwd"}}', "weight_map — '/etc/passwd'"),
        ("model.safetensors.index.json", b'{"weight_map": {"w": "w.bin"}}', r"weight_map — 'w\.bin'"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"w": "w.safetensors"}}',
            r"w\.safetensors is not in the folder",
        ),
        ("model.safetensors.index.json", b'{"weight_map": {"w": ["x"]}}', "weight_map"),
        ("model.safetensors.index.json", b"{}", "weight_map — does not map"),
    ],
)
def test_a_foreign_file_is_refused_with_its_field(folder, file, data, named):
    (folder / file).write_bytes(data)
    start = time.monotonic()
    with pytest.raises(ModelError, match=named):
        check_folder(folder)
    assert time.monotonic() - start < 2


def test_shards_beside_their_index_pass(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert find_base(str(folder)).folder == folder


def test_pickled_weights_are_refused_unless_safetensors_stand_beside_them(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    check_folder(folder)
    (folder / "model.safetensors").unlink()
    for check in (check_folder, lambda path: find_base(str(path))):
        with pytest.raises(ModelError, match=r"pytorch_model\.bin — is pickled, .* filbert convert FOLDER -o OUT"):
            check(folder)


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "vocab.txt"])
def test_links_out_of_the_folder_are_refused(folder, target):
    (folder.parent / "outside").write_bytes(FILES["vocab.txt"])
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to(target)  # the last one is a link to itself
    with pytest.raises(ModelError, match=r"vocab\.txt — is a link that leads out of its folder"):
        check_folder(folder)


def test_links_inside_the_folder_and_to_the_folder_pass(folder):
    (folder / "vocab.txt").rename(folder / "words.txt")
    (folder / "vocab.txt").symlink_to("words.txt")
    (folder.parent / "latest").symlink_to(folder)
    check_folder(folder.parent / "latest")


def test_the_hub_cache_may_link_to_its_own_blobs_only(tmp_path):
    repo = tmp_path / "hub" / "models--nuts--hazel"
    snapshot = written(repo / "snapshots" / "c0ffee", without("vocab.txt"))
    written(repo / "blobs", {"own": FILES["vocab.txt"]})
    written(tmp_path / "hub" / "blobs" / "ab", {"shared": FILES["vocab.txt"]})
    (repo / "blobs" / "shared").symlink_to("../../blobs/ab/shared")
    written(tmp_path / "hub" / "models--other", {"file": FILES["vocab.txt"]})
    (repo / "blobs" / "other").symlink_to("../../models--other/file")
    (repo / "blobs" / "evil").symlink_to("/etc/hostname")
    for blob in ("own", "shared"):
        (snapshot / "vocab.txt").symlink_to(f"../../blobs/{blob}")
        check_folder(snapshot)
        (snapshot / "vocab.txt").unlink()
    for blob in ("evil", "other"):
        (snapshot / "vocab.txt").symlink_to(f"../../blobs/{blob}")
        with pytest.raises(ModelError, match="leads out"):
            check_folder(snapshot)
        (snapshot / "vocab.txt").unlink()


def test_a_pipe_named_like_a_file_does_not_hang(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(ModelError, match=r"lacks config\.json"):
        check_folder(folder)


def test_M35_code_is_refused_whatever_it_says(tmp_path):
    refuse_code(tmp_path / "config.json", {"model_type": "bert"})
    for fields in ({"auto_map": None}, {"custom_pipelines": {}}):
        with pytest.raises(ModelError, match=rf"config\.json {next(iter(fields))} — names Python code"):
            refuse_code(tmp_path / "config.json", json.loads(json.dumps(fields)))


def test_M35_a_link_may_lead_inside_only(tmp_path):
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "alias").symlink_to("part")
    (tmp_path / "latest").symlink_to(folder)
    refuse_links(tmp_path / "latest")
    (folder / "up").symlink_to("..")
    with pytest.raises(ModelError, match="up — is a link that leads out"):
        refuse_links(folder)
