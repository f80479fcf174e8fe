"""Files made by others: what is no plain JSON object, names code or leads out of its folder is refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from filbert.errors import ModelError
from filbert.files import JSON_LIMIT, read_json
from filbert.folder.check import refuse_code, refuse_links


def test_an_object_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"n": 1}'.ljust(JSON_LIMIT))
    assert read_json(tmp_path / "a.json") == {"n": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b" " * (JSON_LIMIT + 1), "larger than 16 MB"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"1" * 5000, "cannot be read as JSON|int"),
        (b"[1]", "no JSON object but a list"),
    ],
    ids=["large", "deep", "bytes", "cut", "digits", "list"],
)
def test_M36_what_is_no_object_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ModelError, match=said) as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_pipe_or_nothing_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "nothing"):
        with pytest.raises(ModelError, match=f"{name} is missing"):
            read_json(tmp_path / name)


def test_M35_code_is_refused_whatever_it_says(tmp_path: Path) -> None:
    refuse_code(tmp_path / "config.json", {"model_type": "bert"})
    for fields in ({"auto_map": None}, {"custom_pipelines": {}}):
        with pytest.raises(ModelError, match=rf"config\.json {next(iter(fields))} — names code"):
            refuse_code(tmp_path / "config.json", json.loads(json.dumps(fields)))


def test_M35_a_link_may_lead_inside_only(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "alias").symlink_to("part")
    (tmp_path / "latest").symlink_to(folder)
    refuse_links(tmp_path / "latest")
    (folder / "up").symlink_to("..")
    with pytest.raises(ModelError, match="up — is a link that leads out"):
        refuse_links(folder)
