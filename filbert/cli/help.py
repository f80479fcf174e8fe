"""How --help looks in Chinese: each text out of the catalogue, lines measured in terminal columns.

What a command says of itself stays English in the code and is translated where it is laid out, so that the pages made
from the commands are the same in every language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from filbert.cli.console import cells
from filbert.language.help import helped, word

OPENING, CLOSING = "[(（《", "])，。；：、！？…）》"  # marks that end no line, and marks that begin none
WIDE = "\u2e80-\u9fff\uff00-\uffef"
OPENED, CLOSED = f"[{re.escape(OPENING)}]*", f"[{re.escape(CLOSING)}]*"
LAST = "[\u4e00-\u9fff]{2}"  # characters of a text: one alone makes no line
PIECE = re.compile(  # a line may end after it: not in a short bracket, nor in a Latin word
    rf"(?:\[[^][ ]{{1,20}}\]){CLOSED}|{LAST}{CLOSED}$|{OPENED}(?:[{WIDE}]|[^ {WIDE}]+){CLOSED}| +"
)
NAMED = re.compile(r"<([^<>]+)>|(?<![-\w|])[A-Za-z_]+(?![-\w|])")  # the kind of a value, or what stands for one
_Formatter: Any = typer.Context.formatter_class


class ChineseHelp(_Formatter):  # type: ignore[misc]
    """The framework's formatter of usage and help, in Chinese."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called."""
        self._fill(f"{word('Usage')}：{prog} ", named(args))

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{'':{self.current_indent}}{word(heading)}：\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs, a blank line between them."""
        for at, paragraph in enumerate(text.split("\n\n")):
            self.write("\n" * (at > 0))
            self._fill("", helped(paragraph))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean in two columns."""
        said = [(named(name), explained(text)) for name, text in rows]
        column = min(max(cells(name) for name, _text in said), col_max) + col_spacing
        for name, text in said:
            if cells(name) > column - col_spacing:
                self._fill("", name)
                name = ""
            self._fill(name + " " * (column - cells(name)), text)

    def _fill(self, start: str, text: str) -> None:
        """Write a text behind a start, further lines below the first one."""
        first = " " * self.current_indent + start
        rest = " " * cells(first)
        lines = list(filled(text, max(self.width - len(rest), 10)))
        self.write("".join(f"{rest if at else first}{line}".rstrip() + "\n" for at, line in enumerate(lines or [""])))


def named(name: str) -> str:
    """Return options and arguments as they are written, what stands for a value in Chinese; a command's name stays.

    >>> named("-o, --out <path>"), named("[OPTIONS] {model}"), named("label")
    ('-o, --out <路径>', '[选项] {模型}', 'label')
    """
    if re.fullmatch("[a-z]+", name):
        return name
    return NAMED.sub(lambda found: f"<{word(found[1])}>" if found[1] else word(found[0]), name)


def explained(text: str) -> str:
    """Return what an option means, in Chinese, with what the framework adds to it.

    >>> explained("Print the version.  [default: 1; x>=1]")
    '显示版本。  [默认：1；x>=1]'
    """
    said, gap, added = text.rpartition("  [")
    if not gap:
        return helped(text)
    parts = (part.partition(": ") for part in added.removesuffix("]").split("; "))
    told = (f"{word(kind)}：{value}" if colon else word(kind) for kind, colon, value in parts)
    return f"{helped(said)}  [{'；'.join(told)}]"


def filled(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text, at most so many terminal columns wide; a Latin word is never cut.

    >>> list(filled("训练轮数，按 epochs 计", 12))
    ['训练轮数，按', 'epochs 计']
    """
    line = ""
    for piece in PIECE.findall(text):
        if line and cells(line + piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    if line:
        yield line
