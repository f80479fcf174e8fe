"""SHA-256: the memory is believed only while the file is the same, and missed by nobody where it cannot be kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from filbert import files as checksum
from filbert.errors import ModelError
from filbert.files import compare, sha256, sha256_remembered


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "weights").write_bytes(data)
    assert sha256(tmp_path / "weights") == hashlib.sha256(data).hexdigest()


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    first = sha256_remembered(tmp_path / "weights")
    monkeypatch.setattr(checksum, "sha256", lambda _: pytest.fail("hashed again"))
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
