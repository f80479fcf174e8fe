"""Terminal output: notices and progress on stderr, results on stdout, so that they can be piped.

Progress is a bar on a terminal, elsewhere a line at most every ten seconds. Text from files (texts, labels, names) is
escaped before it is shown and never read as markup. rich is imported only on a terminal.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from filbert.errors import counted, safe
from filbert.failures import say
from filbert.language.terminal import translated

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

MIN_INTERVAL = 10.0  # seconds between two lines of progress in a log, at least
MAX_INTERVAL = 60.0  # and at most, if there is progress
STEP = 0.05  # share of the total after which a line is printed before MAX_INTERVAL
WIDTH = 30  # terminal cells of a label, longer ones are cut
BAR = 24  # terminal cells of a probability of 1
TOP = 10  # classes shown for one text
_EIGHTHS = " ▏▎▍▌▋▊▉"


def cells(text: str) -> int:
    """Return the width of a text in terminal columns: two for a Chinese character, none for a combining accent.

    >>> cells("ab"), cells("正面")
    (2, 4)
    """
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def fitted(text: str, width: int = WIDTH) -> str:
    """Return text on one line, escaped and cut to a width in terminal columns; quoted where blanks are at an end.

    >>> fitted("一二三四", 6), fitted("pos ")
    ('一二…', "'pos '")
    """
    line = safe(text.replace("\n", "↵"))
    line = line if line == line.strip() and line else f"'{line}'"
    if cells(line) <= width:
        return line
    while cells(line) > width - 1:
        line = line[:-1]
    return line + "…"


def facts(*rows: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return rows whose first cells are words of ours, these in the language of the terminal.

    >>> facts(("report", "runs/a/report.html"))
    [('report', 'runs/a/report.html')]
    """
    return [(translated(row[0]), *row[1:]) for row in rows]


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as aligned lines, the columns in `right` right-aligned; cells must be escaped already.

    >>> table([("label", "texts"), ("好", "12")], right=[1])
    ['label  texts', '好        12']
    """
    widths = [max(cells(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = [
            " " * (width - cells(cell)) + cell if i in right else cell + " " * (width - cells(cell))
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def bars(probabilities: Mapping[str, float]) -> list[str]:
    """Return one line per class, the most probable first: label, percent and a bar.

    >>> bars({"bad": 0.25, "good": 0.75})
    ['good  75.0 %  ██████████████████', 'bad   25.0 %  ██████']
    """
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    rows = [(fitted(label), f"{100 * p:.1f} %", _bar(p)) for label, p in ranked[:TOP]]
    lines = table(rows, right=[1])
    if len(ranked) > TOP:
        rest = sum(p for _, p in ranked[TOP:])
        more = counted(len(ranked) - TOP, "more class", "more classes")
        lines.append(translated(f"… and {more}, together {100 * rest:.1f} %"))
    return lines


def _bar(share: float) -> str:
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def duration(seconds: float) -> str:
    """Return seconds as people write them.

    >>> duration(7.4), duration(75), duration(4000)
    ('7 s', '1:15 min', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} {translated('s')}"
    clock = f"{whole // 60}:{whole % 60:02d} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
    return translated(clock)


def figures_line(figures: Mapping[str, float]) -> str:
    """Return the line of figures beside a progress bar: speed, loss, time left.

    >>> figures_line({"tokens_per_second": 12345.6, "loss": 0.41234, "seconds_left": 75})
    '12,346 tokens/s · loss 0.412 · 1:15 min left'
    """
    parts = []
    for name, value in figures.items():
        if name == "seconds_left":
            parts.append(translated(f"{duration(value)} left"))
        elif name.endswith("_per_second"):
            unit = translated(f"{name.removesuffix('_per_second')}/s")
            parts.append(f"{value:,.0f} {unit}")
        else:
            parts.append(f"{translated(name)} {value:.3f}")
    return " · ".join(parts)


class Screen:
    """A `progress.Watcher` that prints; as a context manager it removes its progress bar at the end.

    `results=False` keeps stdout for the one JSON object.
    """

    def __init__(self, *, results: bool = True) -> None:
        self._results = results
        self._terminal = _console(sys.stderr)
        self._stdout = _console(sys.stdout) if results else None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._printed_at, self._printed_share = "", 0.0, 0.0

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def say(self, text: str, *, indent: int = 0) -> None:
        """Print a notice on stderr, in the language of the terminal."""
        line = safe(translated(text))
        if self._terminal is None:
            say(" " * indent + line.replace("\n", "\n" + " " * indent))
            return
        from rich.padding import Padding
        from rich.text import Text

        style = "yellow" if text.startswith("warning:") else "dim" if indent else ""
        self._terminal.print(Padding(Text(line, style), (0, 0, 0, indent)))

    def show(self, *lines: str, style: str = "", prose: bool = False, data: bool = False) -> None:
        """Print result lines on stdout, prose wrapped between words; nothing when stdout is kept for JSON.

        They are said in the language of the terminal; `data`, such as an answer, is shown as it is.
        """
        if not self._results:
            return
        self.clear()
        for line in lines if data else map(translated, lines):
            if self._stdout is None:
                print(safe(line))
            else:
                from rich.text import Text

                self._stdout.print(Text(safe(line), style), soft_wrap=not prose)
        sys.stdout.flush()

    def coloured(self, parts: Sequence[tuple[str, str]]) -> None:
        """Print a text of several parts, each in a style of its own, on a terminal; elsewhere nothing."""
        if self._stdout is None:
            return
        from rich.text import Text

        self.clear()
        line = Text()
        for text, style in parts:
            line.append(safe(text), style)
        self._stdout.print("", line, sep="\n")

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        """Show `done` of `total` (0: unknown) until another stage begins, or `clear`."""
        if stage != self._stage:
            self.clear()
            self._stage, self._printed_at, self._printed_share = stage, time.monotonic(), 0.0
        if self._terminal is not None:
            self._draw(stage, done, total, figures)
            return
        waited, share = time.monotonic() - self._printed_at, done / total if total else 0.0
        if waited >= MAX_INTERVAL or (waited >= MIN_INTERVAL and (not total or share - self._printed_share >= STEP)):
            self._printed_at, self._printed_share = time.monotonic(), share
            rest = figures_line(figures)
            self.say(f"{translated(stage)}{translated(': ')}{_so_far(done, total)}{' · ' * bool(rest)}{rest}")

    def clear(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task, self._stage = None, None, ""

    def _draw(self, stage: str, done: float, total: float, figures: Mapping[str, float]) -> None:
        known = {"total": total or None, "completed": done}
        words = {"far": _so_far(done, total), "rest": figures_line(figures)}
        if self._bar is None or self._task is None:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[far]}", markup=False),
                TextColumn("{task.fields[rest]}", markup=False, style="dim"),
            )
            self._bar = Progress(*columns, console=self._terminal, transient=True, refresh_per_second=4)
            self._task = self._bar.add_task(safe(translated(stage)), **known, **words)  # type: ignore[arg-type]
            self._bar.start()
        else:
            self._bar.update(self._task, **known, **words)  # type: ignore[arg-type]


def _so_far(done: float, total: float) -> str:
    if not total:
        return f"{done:,.0f}"
    return f"{done / total:4.0%}" if total == 1 else translated(f"{done:,.0f} of {total:,.0f}")


def _console(stream: TextIO) -> Console | None:
    """Return a rich console where the stream is a terminal, else None."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(file=stream, markup=False, highlight=False, emoji=False)
