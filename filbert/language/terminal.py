"""The language of what a command prints: that of the locale, unless FILBERT_LANGUAGE or --language names one.

The code says everything in English; `translated` is asked where a line is printed, and nowhere else. So what programs
read (--json, tables, logs, report.json) is the same in every language.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from filbert.language import LANGUAGES, retold, speaking

VARIABLE = "FILBERT_LANGUAGE"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides, as everywhere
_asked: list[str] = []  # a process has one terminal: all of its threads print in the same language


def terminal() -> str:
    """Return the language of what is printed: "en" or "zh".

    >>> with printing("zh"):
    ...     terminal()
    'zh'
    """
    if _asked:
        return _asked[-1]
    if os.environ.get(VARIABLE) in LANGUAGES:
        return os.environ[VARIABLE]
    locale = next(filter(None, map(os.environ.get, LOCALE)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


@contextmanager
def printing(code: str | None) -> Iterator[None]:
    """Print in a language inside a `with` block; None leaves it as it is."""
    _asked.append(code or terminal())
    try:
        yield
    finally:
        _asked.pop()


def translated(text: str) -> str:
    """Return what the code says, in the language of the terminal.

    >>> with printing("zh"):
    ...     translated("a.csv:3 label — is empty — drop it")
    'a.csv:3 label — 为空 — 请删除'
    """
    code = terminal()
    if code == "en":
        return text
    with speaking(code):
        return retold(text)


def given(words: Sequence[str]) -> str | None:
    """Return the language that --language names on a command line; None where it names none.

    >>> given(["fit", "a.csv", "--language", "zh"]), given(["fit", "a.csv"])
    ('zh', None)
    """
    for word, following in zip(words, [*words, ""][1:], strict=True):
        name, _equals, value = word.partition("=")
        if name == "--language":
            return value if value in LANGUAGES else following if following in LANGUAGES else None
    return None
