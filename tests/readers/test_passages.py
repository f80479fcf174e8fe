"""Passages of texts: whole paragraphs with file and line, and what is no text named or left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from filbert.errors import DataError
from filbert.readers.passages import TOGETHER, passages_of, read_passages


def test_a_passage_is_a_piece_of_its_file_and_knows_its_lines() -> None:
    text = "\n\nOne.\nStill one.\n \nTwo.\n\n" + "Three. " * 285 + "\n\n\n四。\n"
    found = passages_of(text, "a.txt")
    assert [passage.place.line for passage in found] == [3, 8, 8]
    assert all(passage.text in text for passage in found)
    assert str(found[0].line_of(found[0].text.index("Two"))) == "a.txt:6"
    assert str(found[-1].line_of(found[-1].text.index("四"))) == "a.txt:11"


def test_short_paragraphs_stand_together_up_to_a_bound() -> None:
    found = passages_of("\n\n".join(f"paragraph {n} " + "x" * 200 for n in range(50)), "a.txt")
    assert 5 < len(found) < 50
    assert "".join(p.text for p in found).count("paragraph") == 50
    assert all(len(p.text) <= TOGETHER for p in found)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"{n} a line of a log without any blank line" for n in range(5_000)),
        "A sentence of a long paragraph. " * 500,
        "一句话说得不长。" * 500,
        "words without a stop " * 500,
        "字" * 5_000,
        "x" * 999 + "\n" + "y" * 2_500 + " \n\n" + "z" * 1_000,
    ],
)
def test_a_longer_paragraph_is_cut_and_nothing_is_lost(text: str) -> None:
    found = passages_of(text, "a.txt")
    assert all(0 < len(passage.text) <= TOGETHER for passage in found)
    assert "".join("".join(passage.text for passage in found).split()) == "".join(text.split())
    lines = text.split("\n")
    assert all(passage.text.split("\n")[0] in lines[(passage.place.line or 0) - 1] for passage in found)


def test_lines_sentences_and_words_are_not_cut_where_they_fit() -> None:
    lines = [f"{n} a line of a log" for n in range(300)]
    whole = {line for passage in passages_of("\n".join(lines), "a.txt") for line in passage.text.split("\n")}
    assert whole == set(lines)
    assert all(p.text.endswith("here.") for p in passages_of("It ends here. " * 300, "a.txt"))
    assert all(p.text.endswith("word") for p in passages_of("word " * 900, "a.txt"))


def test_a_folder_is_read_and_what_is_no_text_is_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("Alpha.\r\n\r\nBeta.", "utf-8")
    (tmp_path / "sub" / "b.md").write_bytes("贝塔。".encode("utf-16"))
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "d.bin").write_bytes(b"a\0b")
    (tmp_path / ".hidden").write_text("no")
    passages, lines = read_passages(tmp_path)
    assert [passage.text for passage in passages] == ["Alpha.\n\nBeta.", "贝塔。"]
    assert lines == ["2 files read, 2 passages", "not read, as they are no plain text: 2 files"]


@pytest.mark.parametrize(
    ("data", "wrong"), [(b" \n\n\t", "no text that can be seen"), (b"a\0b", "NUL"), (b"\xff\xfa", "UTF-8|utf-8")]
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, data: bytes, wrong: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match=wrong) as raised:
        read_passages(tmp_path / "a.txt")
    assert "a.txt" in str(raised.value)
