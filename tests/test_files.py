"""JSON that is none is refused by name, what is written is whole, SHA-256 is remembered while a file is the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from filbert import files
from filbert.errors import ModelError
from filbert.files import (
    DRAFT,
    JSON_LIMIT,
    compare,
    delete_drafts,
    read_json,
    read_sealed,
    replacing,
    sha256,
    sha256_remembered,
    write_json,
    write_sealed,
    write_tensors,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# -- JSON -------------------------------------------------------------------------------------------------------------


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
        (b"[1]", "is not a JSON object but a list"),
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


# -- whole or not at all ----------------------------------------------------------------------------------------------


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    for value in ({"b": 2}, {"a": "übel"}):
        write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == value
    assert "übel" in (tmp_path / "a.json").read_text("utf-8")
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)})
    assert load_file(str(tmp_path / "a.safetensors"))["x"].tolist() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_a_file_cut_short_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def cut() -> None:
        with replacing(path) as beside:
            beside.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")
def test_a_full_disk_is_an_os_error_whatever_is_written(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        with replacing(path) as draft, Path("/dev/full").open("w") as file:
            draft.write_text("some")
            file.write("x" * 10_000)

    with pytest.raises(OSError, match="No space left"):
        full(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_is_no_file_and_no_link_of_anybodys(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "a.json.part").symlink_to(tmp_path / "precious")
    (tmp_path / "a.json.tmp").write_text("mine")
    with replacing(tmp_path / "a.json") as one, replacing(tmp_path / "a.json") as two:
        assert one.parent != two.parent
        assert one.parent.name.startswith(DRAFT)
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "a.json.tmp").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_what_the_umask_leaves(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o666 & ~mask}


def test_what_killed_processes_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    names = ["a.csv", "b.csv"]
    for name in names:
        with replacing(tmp_path / name) as draft:
            shutil.copytree(draft.parent, tmp_path / f"{draft.parent.name}9")
    (tmp_path / f"{DRAFT}mine").write_text("a file is not a draft")
    delete_drafts(tmp_path, "a.csv")
    assert len(list(tmp_path.glob(f"{DRAFT}*9"))) == 1
    delete_drafts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{DRAFT}mine", *names]


def test_any_flipped_bit_of_sealed_json_is_seen(tmp_path: Path) -> None:
    path, value = tmp_path / "a.json", {"steps": 12, "best": [0.1, float("inf")], "out": "数/\udcff", "plan": None}
    write_sealed(path, value)
    assert read_sealed(path) == value
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (1, 4, 64):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with contextlib.suppress(ModelError):
                assert read_sealed(path) == value  # but for white space and the case of escapes, nothing passes
    path.write_bytes(whole.replace(b"12", b"13"))
    with pytest.raises(ModelError, match=r"is damaged: the SHA-256 .* — start over"):
        read_sealed(path, "start over")


# -- SHA-256 ----------------------------------------------------------------------------------------------------------


def test_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "weights").write_bytes(data)
    assert sha256(tmp_path / "weights") == hashlib.sha256(data).hexdigest()


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    first = sha256_remembered(tmp_path / "weights")
    monkeypatch.setattr(files, "sha256", lambda _: pytest.fail("hashed again"))
    assert sha256_remembered(tmp_path / "weights") == first


def test_the_hash_is_computed_again_for_a_changed_file_and_without_a_writable_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = sha256_remembered(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    second = sha256_remembered(file)
    assert first != second
    (tmp_path / "cache" / "filbert" / "sha256.json").write_text("[damaged")
    assert sha256_remembered(file) == second
    (tmp_path / "taken").write_text("a file where the cache folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert sha256_remembered(file) == second


def test_damage_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    compare(tmp_path / "weights", hashlib.sha256(b"one").hexdigest(), "copy it again")
    with pytest.raises(ModelError, match=r"weights — is damaged: its SHA-256 is .*, expected 53aa — copy it again"):
        compare(tmp_path / "weights", "53aa", "copy it again")
