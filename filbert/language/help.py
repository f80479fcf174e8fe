"""The language of --help and of what is said of a command line that is none: English, or Chinese out of a catalogue.

The catalogue, `zh.help.toml`, has the help texts of the commands, the words that the command line's framework puts
around them, and its errors. It is read only where Chinese is spoken.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from filbert.language import PLACE, _filled, loaded

WORDS = "words"  # the catalogue's table of single words and kinds of values, found by their small letters
ERRORS = "errors"  # the catalogue's table of what the framework says of a command line
REST = "rest"  # a place that holds a sentence of that table
NAME = "name"  # a place that may hold the name of an argument, quoted
CODE = "zh"


def word(english: str) -> str:
    """Return a heading, the name of an argument or the kind of a value in Chinese.

    >>> word("Options"), word("int range"), word("MLM")
    ('选项', '整数', 'MLM')
    """
    return str(_tables()[WORDS].get(english.lower(), english))


def helped(english: str) -> str:
    """Return a help text in Chinese, as it is where the catalogue has none; line ends and blanks are alike.

    >>> helped("Texts per step [32].")
    '每步的文本数 [32]。'
    """
    text = " ".join(english.split())
    return _texts().get(text, text)


def refused(told: str) -> str:
    """Return what the framework says of a command line, in Chinese: lines on how it is called, and the error.

    >>> refused("Error: Missing option '--out'.")
    "错误：缺少选项 '--out'。"
    """
    called, mark, error = told.partition("Error: ")
    return "\n".join([*map(_refused, called.split("\n")[:-1]), _refused(mark + error)])


def _refused(line: str) -> str:
    if line in _tables()[ERRORS]:
        return str(_tables()[ERRORS][line])
    for words, names, said in _errors():
        values = _filled(words, names, line)
        if values is not None:
            for name, turn in ((REST, _refused), (NAME, _named)):
                if name in values:
                    values[name] = turn(values[name])
            return PLACE.sub(lambda place, values=values: values[place[1]], said)  # type: ignore[misc]
    return line


def _named(name: str) -> str:
    """Return the name of an argument, quoted as it is."""
    return re.sub(r"^'(\w+)'$", lambda found: f"'{word(found[1])}'", name)


@functools.cache
def _tables() -> dict[str, dict[str, Any]]:
    return loaded(f"{CODE}.help.toml")


@functools.cache
def _texts() -> dict[str, str]:
    return {
        key: said for name, table in _tables().items() if name not in (WORDS, ERRORS) for key, said in table.items()
    }


@functools.cache
def _errors() -> list[tuple[list[str], list[str], str]]:
    """Return the words around the places of each error, the places' names, and what is said."""
    return [(parts[::2], parts[1::2], said) for key, said in _tables()[ERRORS].items() for parts in [PLACE.split(key)]]
