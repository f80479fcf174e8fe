"""The texts that a model has seen: found again as a model reads them, and not by another model."""

from __future__ import annotations

from pathlib import Path

from filbert.folder.seen import SEEN, save_seen, which_seen
from filbert.records import Example

PARTS = {"train": [Example(("Good room",)), Example(("a", "b"))], "validation": [Example(("Bad room",))]}
ASKED = [
    Example(("GOOD\u00a0 room",)),
    Example(("bad room",)),
    Example(("b", "a")),
    Example(("new",)),
    Example(("a", "b")),
]
NOTHING: dict[str, list[int]] = {"train": [], "validation": []}


def test_seen_texts_are_found_as_a_model_reads_them(tmp_path: Path) -> None:
    save_seen(tmp_path, PARTS, "ab12")
    assert which_seen(tmp_path, {"data_fingerprint": "ab12"}, ASKED) == {"train": [0, 4], "validation": [1]}
    assert which_seen(tmp_path, {"data_fingerprint": "ab12"}, []) == NOTHING
    assert which_seen(tmp_path, {"data_fingerprint": "cd34"}, ASKED) == NOTHING
    assert b"room" not in (tmp_path / SEEN).read_bytes()


def test_nothing_is_known_without_the_file_or_of_a_damaged_one(tmp_path: Path) -> None:
    assert which_seen(tmp_path, {"data_fingerprint": "ab12"}, ASKED) == NOTHING
    save_seen(tmp_path, PARTS, "ab12")
    whole = (tmp_path / SEEN).read_bytes()
    for broken in (b"", whole[:-9], b"\xff" * 80):
        (tmp_path / SEEN).write_bytes(broken)
        assert which_seen(tmp_path, {"data_fingerprint": "ab12"}, ASKED) == NOTHING
