"""What is said before training of texts that the base cannot read."""

from __future__ import annotations

from filbert.finetuning.prepare import warn_unreadable
from filbert.progress import Silent
from filbert.records import Example
from filbert.text.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.from_vocab([*SPECIALS, *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh"), "天"])


class Told(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def said(*texts: str) -> list[str]:
    watch = Told()
    warn_unreadable(TOKENIZER, [Example((text,)) for text in texts], watch)
    return watch.lines


def test_chinese_is_sent_to_the_base_that_reads_it() -> None:
    (line,) = said("质量太差，用了两天就坏了", "天")
    assert "no pieces for much of 1 of 2 training texts: they are Chinese" in line
    assert line.endswith("— --base filbert-mini reads Chinese")


def test_other_scripts_are_named_without_a_base() -> None:
    (line,) = said("Очень плохо")
    assert "of 1 training text: another language or script" in line
    assert "filbert-mini" not in line
    assert said("bad cab", "天") == []
