"""Chinese words begin where jieba says; nothing else is a word here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from filbert.errors import ConfigError
from filbert.text import chinese as words
from filbert.text.chinese import han_share, word_starts


def test_han_share_tells_the_languages_apart() -> None:
    assert han_share(["这部电影很好看，iPhone 也好"]) > 0.5
    assert han_share(["An English review", "café déjà vu"]) == 0
    assert han_share(["!!!", ""]) == 0


def marked(text: str) -> str:
    """Put a bar before each word that was told."""
    starts = word_starts(text)
    return "".join("|" * (i in starts) + c for i, c in enumerate(text))


@pytest.mark.parametrize(
    "expected",
    [
        "",
        "plain English 3.14",
        "|我|来到|北京|清华大学",
        "AI |改变|北京大学, ok? |电影|很|好看",
        "|电影good|电影",
        "|价格3.5|元。|他|说：“|好”",
        "|\U00020bb7|野家|㐀|很|好",
        "カタカナ한국어",
    ],
)
def test_where_words_begin(expected: str) -> None:
    pytest.importorskip("jieba")
    assert marked(expected.replace("|", "")) == expected


def test_every_run_of_han_begins_a_word(real_data) -> None:
    pytest.importorskip("jieba")
    lines = (real_data("chnsenticorp") / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:100]
    for text in lines:
        starts = word_starts(text)
        han = ["\u4e00" <= c <= "\u9fff" for c in text]
        assert all(han[i] for i in starts)
        assert all(i in starts for i in range(len(text)) if han[i] and (i == 0 or not han[i - 1]))
        assert len(starts) < sum(han) or sum(han) < 5  # words, not characters


def test_no_file_is_read_or_written_in_the_shared_folder(tmp_path: Path) -> None:
    pytest.importorskip("jieba")
    code = (
        "import tempfile; from filbert.text.chinese import han_share, word_starts; "
        "print(tempfile.gettempdir(), len(word_starts('北京大学很好')))"
    )
    environment = {"TMPDIR": str(tmp_path), "TEMP": str(tmp_path), "TMP": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ran.stdout.split() == [str(tmp_path), "3"]
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []
    assert tempfile.gettempdir() != str(tmp_path)


def test_without_jieba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    words._jieba_cut.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'filbert\[zh\]'"):
        word_starts("北京")
    words._jieba_cut.cache_clear()
