"""The language of what is said: English as it stands in the code, or Chinese out of a catalogue.

Sentences stay in the code as readable English, in `_("… {value} …", value=…)`; a language has one catalogue, `zh.toml`,
from English sentence to its own. What a catalogue lacks is said in English. The language is that of a context, so that
two threads, or two requests of a server, never mix theirs.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")
LONGEST = 2000  # characters of a sentence that is looked for in the catalogue
STORED = "stored"  # the catalogue's table of sentences that report.json holds, which are made elsewhere
NOUNS = "nouns"  # the catalogue's table of what is counted: measure word and noun
_spoken: ContextVar[str] = ContextVar("language", default="en")


def language() -> str:
    """Return the language that is spoken here: "en" or "zh"."""
    return _spoken.get()


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak a language inside a `with` block, in this thread or task alone.

    >>> with speaking("zh"):
    ...     print(_("accuracy"))
    准确率
    """
    if code not in LANGUAGES:
        raise ValueError(f"language — is {code!r} — choose one of: {', '.join(LANGUAGES)}")
    token = _spoken.set(code)
    try:
        yield
    finally:
        _spoken.reset(token)


def _(sentence: str, /, **values: object) -> str:
    """Return a sentence in the language that is spoken, with its {places} filled as `str.format` does.

    >>> _("{share} of all texts", share="3 %")
    '3 % of all texts'
    """
    said = sentence if _spoken.get() == "en" else _catalogue(_spoken.get())[0].get(sentence, sentence)
    return said.format(**values) if values else said


def pgettext(context: str, sentence: str) -> str:
    """Return a word that means several things, in the language that is spoken; the catalogue has `context|word`.

    >>> with speaking("zh"):
    ...     _("precision"), pgettext("numbers", "precision")
    ('精确率', '数值精度')
    """
    said = _(f"{context}|{sentence}")
    return sentence if said == f"{context}|{sentence}" else said


def N_(sentence: str) -> str:
    """Return a sentence as it is, marked for the catalogue: `_` is asked for it where it is shown.

    >>> N_("accuracy")
    'accuracy'
    """
    return sentence


def noun(one: str) -> tuple[str, str] | None:
    """Return the measure word and the noun of what is counted; None in English, or where the catalogue has none.

    The split before a noun is a word of its own: "validation text" need not stand in the catalogue.

    >>> with speaking("zh"):
    ...     noun("validation text")
    ('条', '验证集文本')
    """
    if _spoken.get() == "en":
        return None
    sentences, nouns = _catalogue(_spoken.get())
    split, _space, rest = one.partition(" ")
    if one not in nouns and split in sentences and rest in nouns:
        measure, name = nouns[rest]
        return measure, sentences[split] + name
    return nouns.get(one)


def plural(one: str) -> str:
    """Return a noun in the plural.

    >>> plural("test text")
    'test texts'
    """
    found = noun(one)
    return one + "s" if found is None else found[1]


def retold(told: str) -> str:
    """Return a sentence that was stored in English, such as one of report.json, in the language that is spoken.

    It is found by its words among those of the catalogue's table `stored`; what stands in its {places} is retold, too,
    where that is known.

    >>> with speaking("zh"):
    ...     retold("labels: 2 ('bad', 'good')")
    "标签：2 个（'bad', 'good'）"
    """
    if _spoken.get() == "en" or len(told) > LONGEST:
        return told
    sentences, _nouns = _catalogue(_spoken.get())
    if told in sentences:
        return sentences[told]
    if (count := COUNT.fullmatch(told)) and (counted := noun(count[2])):
        return f"{count[1]} {''.join(counted)}"
    for pattern, said in _patterns(_spoken.get()):
        if found := pattern.fullmatch(told):
            values = found.groupdict().items()  # one word may be a label, and stays
            return said.format(**{k: retold(value) if " " in value or k in WORDS else value for k, value in values})
    return told


WORDS = {"split", "header", "kind", "side", "unit", "by"}  # places that hold a word of ours
COUNT = re.compile(r"([\d,]+) (.+?)s?")
PLACE = re.compile(r"\{(\w+)[^{}]*\}")  # a name, and perhaps how it is shown


@functools.cache
def _patterns(code: str) -> list[tuple[re.Pattern[str], str]]:
    """Return for each sentence that is stored a pattern of what it may look like, those with most words first."""
    stored = sorted(_tables(code)[STORED].items(), key=lambda pair: -len("".join(PLACE.split(pair[0])[::2])))
    return [(re.compile(_pattern(english), re.DOTALL), PLACE.sub(r"{\1}", said)) for english, said in stored]


def _pattern(english: str) -> str:
    r"""Return the pattern of a sentence with its places filled; a place that comes again is filled the same.

    >>> _pattern("{n:,} of {whole}")
    '(?P<n>.*)\\ of\\ (?P<whole>.*)'
    """
    parts, pattern = PLACE.split(english), ""
    for i, part in enumerate(parts):
        again = part in parts[1:i:2]
        pattern += re.escape(part) if i % 2 == 0 else f"(?P={part})" if again else f"(?P<{part}>.*)"
    return pattern


@functools.cache
def _catalogue(code: str) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return the sentences of a language, and its nouns."""
    sentences, nouns = dict[str, str](), dict[str, tuple[str, str]]()
    for name, table in _tables(code).items():
        if name == NOUNS:
            nouns = {one: (measure, many) for one, (measure, many) in table.items()}
        else:
            sentences |= table
    return sentences, nouns


@functools.cache
def _tables(code: str) -> dict[str, dict[str, Any]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(files("filbert.language").joinpath(f"{code}.toml").read_text("utf-8"))
