"""The terminal: nothing of a file can act on it, tables align in Chinese, progress in a log is rare."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from filbert.cli import console
from filbert.cli.console import Screen, bars, cells, fitted, table
from filbert.errors import safe


def test_D04_nothing_reaches_the_terminal() -> None:
    assert safe("a\x1b]0;x\x07\u202e\u2066\u200b\x9b") == r"a\x1b]0;x\x07\u202e\u2066\u200b\x9b"
    assert safe("two\nlines 中文　é") == "two\nlines 中文　é"


def test_chinese_tables_are_aligned() -> None:
    lines = table([("类别", "n"), ("pos", "12"), (fitted("一个非常非常非常非常长的类别名字啊啊啊"), "3")], right=[1])
    assert len({cells(line) for line in lines}) == 1
    assert cells(lines[2]) <= 30 + 4


def test_bars_of_many_classes() -> None:
    lines = bars({f"c{n}": 1 / 40 for n in range(40)})
    assert len(lines) == 11
    assert lines[-1] == "… and 30 more classes, together 75.0 %"


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_progress_in_a_log_is_rare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    with Screen() as screen:
        for n in range(1000):
            clock.now += 0.5
            screen.progress("training", n / 1000, 1.0, tokens_per_second=1234.5, seconds_left=90)
    lines = capsys.readouterr().err.splitlines()
    assert 15 <= len(lines) <= 20  # five in a hundred, 25 seconds apart
    assert lines[0].startswith("training:   5% · 1,234 tokens/s · 1:30 min left")


def test_the_bar_takes_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    screen = Console(file=drawn, force_terminal=True, width=100, markup=False, highlight=False)
    monkeypatch.setattr(console, "_console", lambda stream: screen)
    with Screen() as shown:
        shown.say("warning: label '[red]x[/red]' \x1b[2J")
        shown.progress("scoring [bold]b[/bold]", 3, 10, texts_per_second=7)
        shown.show("[link=x]正面[/link]")
    text = drawn.getvalue()
    for wanted in ("[red]x[/red]", r"\x1b[2J", "scoring [bold]b[/bold]", "3 of 10", "7 texts/s", "[link=x]正面[/link]"):
        assert wanted in text
