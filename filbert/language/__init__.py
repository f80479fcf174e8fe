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
MESSAGES = "messages"  # the catalogue's table of what commands print; it has a file of its own
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


def retold(text: str) -> str:
    """Return what was said in English, in report.json or by the code, in the language that is spoken.

    Each line is found by its words among those of the catalogue's tables `stored` and `messages`; what stands in its
    {places} is retold, too, where that is known. What is not found whole is told in parts: file — what — cure.

    >>> with speaking("zh"):
    ...     retold("labels: 2 ('bad', 'good')")
    "标签：2 个（'bad', 'good'）"
    """
    code = _spoken.get()
    return text if code == "en" else "\n".join(_retold(code, line) for line in text.split("\n"))


WORDS = {
    "split",
    "header",
    "kind",
    "side",
    "unit",
    "by",
    "best_by",
    "EXAMPLE",
    "each",
    "many",
    "what",
}  # places that hold a word of ours
QUOTES = "'\"[{(/"  # what begins a name, a label, a path: none of our phrases
COUNT = re.compile(r"([\d,]+) (.+?)s?")
PLACE = re.compile(r"\{(\w+)[^{}]*\}")  # a name, and perhaps how it is shown
WARNING = "warning: "
NUMBER = "n"  # a place that holds a number and nothing else
DIGITS = re.compile(r"[\d,]+")
DASH = " — "
FIGURE = re.compile(r"([a-z]\w+) (-?[\d.]+)")  # a metric's key and its value, as runs show them
RANGE = re.compile(r"([−+-]?[\d.,]+(?: %)?) to ([−+-]?[\d.,]+(?: %)?)")
PARTS = (
    (DASH, DASH),
    ("; ", "；"),
    (", ", "，"),
    (": ", "："),
    (" · ", " · "),
)  # what joins parts of a message, and in Chinese
LOOSE = (
    4  # letters: a sentence of no more, as "{1} or {2}", holds no phrases in its places that are not known themselves
)


@functools.lru_cache(maxsize=4096)
def _retold(code: str, told: str) -> str:
    """Return a line in a language; `code` is the one that is spoken."""
    sentences, _nouns = _catalogue(code)
    if len(told) > LONGEST or told in sentences:
        return sentences.get(told, told)
    if told.startswith(WARNING):
        return _as_pattern(code, told) or sentences[WARNING] + _retold(code, told.removeprefix(WARNING))
    if (count := COUNT.fullmatch(told)) and (counted := noun(count[2])):
        return f"{count[1]} {''.join(counted)}"
    if (figure := FIGURE.fullmatch(told)) and (name := sentences.get(figure[1].replace("_f1", "-F1"))):
        return f"{name} {figure[2]}"
    if found := RANGE.fullmatch(told):
        return f"{found[1]} 至 {found[2]}"
    if DASH not in told:
        return _as_pattern(code, told) or _in_parts(code, told) or told
    dashes = told.count(DASH)  # a sentence with as many, its places known; else parts; else whatever fits
    return (
        _as_pattern(code, told, dashes, strict=True)
        or _in_parts(code, told, whole=True)
        or _as_pattern(code, told, dashes)
        or _in_parts(code, told)
        or _as_pattern(code, told)
        or told
    )


def _as_pattern(code: str, told: str, dashes: int | None = None, *, strict: bool = False) -> str:
    """Return a line by its sentence with places; of those with so many dashes, or that end in a place after a colon."""
    for words, names, said in _patterns(code):
        if told.startswith(WARNING) and (not words[0].startswith(WARNING) or words == [WARNING, ""]):
            continue
        alike = dashes is None or sum(part.count(DASH) for part in words) == dashes
        if alike or (words[0].endswith(": ") and not words[-1] and len(names) == 1):
            values = _filled(words, names, told)
            close = values is not None and alike and (strict or _is_loose(words))
            if values is not None and not (close and any(_unknown(code, each) for each in values.values())):
                found = {name: _value(code, name, value) for name, value in values.items()}
                return PLACE.sub(lambda place, found=found: found[place[1]], said)  # type: ignore[misc]
    return ""


def _is_loose(words: list[str]) -> bool:
    return not words[0] and sum(map(str.isalpha, "".join(words))) <= LOOSE


def _unknown(code: str, value: str) -> bool:
    """Whether a value is a phrase that the catalogue does not know: what is quoted, or one word, is none."""
    phrase = " " in value and value[0] not in QUOTES and re.search(r"[A-Za-z]{2}", value)
    return bool(phrase) and _retold(code, value) == value


def _in_parts(code: str, told: str, *, whole: bool = False) -> str:
    """Return a line told part by part; "" where no part is known, or with `whole` where one is not."""
    for mark, joined in PARTS:
        if mark in told:
            parts = told.split(mark, 1 if mark == DASH else -1)  # what follows a dash may be a sentence with dashes
            found = [_part(code, part, mark) for part in parts]
            known = [one != other for one, other in zip(parts, found, strict=True)]
            if all(known) if whole or mark == ", " else any(known):  # in a list of others' names one of ours may stand
                return joined.join(found)
    return ""


def _part(code: str, part: str, mark: str) -> str:
    """Return a part of a line; some have their mark in the catalogue, as they are put behind others."""
    found = _retold(code, part)
    whole = _as_pattern(code, mark + part) if found == part and mark.startswith(" ") else ""
    return whole.removeprefix(mark) or found


def _value(code: str, name: str, value: str) -> str:
    """Return what stands in a place, retold where it is a phrase: one word, or what is quoted, may be a label."""
    if name in WORDS and (known := noun(value)):
        return known[1]
    return _retold(code, value) if name in WORDS or (" " in value and value[0] not in QUOTES) else value


@functools.cache
def _patterns(code: str) -> list[tuple[list[str], list[str], str]]:
    """Return the words around the places of each sentence, the places' names, and what is said; most words first."""
    tables = _tables(code)
    found = []
    for english, said in (*tables[STORED].items(), *tables[MESSAGES].items()):
        parts = PLACE.split(english)
        if len(parts) > 1:
            found.append((parts[::2], parts[1::2], said))
    return sorted(found, key=lambda each: -len("".join(each[0])))


def _filled(words: list[str], names: list[str], told: str) -> dict[str, str] | None:
    """Return what stands in the places of a sentence, the first as long as can be; None where it is another sentence.

    >>> _filled(["", " of ", ""], ["n", "whole"], "3 of 12 texts")
    {'whole': '12 texts', 'n': '3'}
    """
    start, end = len(words[0]), len(told) - len(words[-1])
    if end < start or not told.startswith(words[0]) or not told.endswith(words[-1]):
        return None
    values: dict[str, str] = {}
    weak = "".join(words).strip() == "of"  # "3 of 12 texts", but no label that has the word
    for i in range(len(names) - 1, -1, -1):
        at = told.rfind(words[i], start, end) if i else 0
        value = told[at + len(words[i]) : end]
        if at < 0 or values.get(names[i], value) != value:
            return None
        if (names[i] == NUMBER and not DIGITS.fullmatch(value)) or (weak and not value[:1].isdecimal()):
            return None
        values[names[i]], end = value, at
    return values


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
    return loaded(f"{code}.toml") | loaded(f"{code}.messages.toml")


def loaded(name: str) -> dict[str, dict[str, Any]]:
    """Return the tables of a catalogue's file beside this one.

    >>> loaded("zh.toml")[NOUNS]["text"]
    ['条', '文本']
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(files("filbert.language").joinpath(name).read_text("utf-8"))
