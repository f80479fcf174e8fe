"""Every sentence of the report stands in the Chinese catalogue with the same places, and nothing else does."""

from __future__ import annotations

import ast
import re
import string
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import filbert
from filbert.language import N_, NOUNS, PLACE, STORED, _, language, plural, retold, speaking

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(filbert.__file__).parent
MARKED = {"_", "N_", "pgettext"}
COUNTED = {"counted", "plural"}


def calls(path: Path, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def strings(nodes: Iterator[ast.Call]) -> Iterator[str]:
    """Return the sentences that stand in calls as they are, a context before its word."""
    for node in nodes:
        words = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if words:
            yield "|".join(words)


CODE = {path: path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py")) if path.parent.name != "language"}
SPEAKING = [path for path, text in CODE.items() if re.search(r"^from filbert.language import .*\b(_|N_)\b", text, re.M)]
SENTENCES = {sentence for path in SPEAKING for sentence in strings(calls(path, MARKED))}
TABLES: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "language" / "zh.toml").read_text("utf-8"))
CATALOGUE = {
    english: said for name, table in TABLES.items() if name not in (NOUNS, STORED) for english, said in table.items()
}


def places(sentence: str) -> list[tuple[str, str]]:
    return sorted(
        (name, spec or "") for _text, name, spec, _as in string.Formatter().parse(sentence) if name is not None
    )


def test_every_sentence_is_in_the_catalogue_and_no_other() -> None:
    assert SENTENCES - set(CATALOGUE) == set()
    assert set(CATALOGUE) - SENTENCES == set()


def test_no_sentence_stands_in_two_tables() -> None:
    every = [english for name, table in TABLES.items() if name != NOUNS for english in table]
    assert sorted(every) == sorted(set(every))


@pytest.mark.parametrize("name", [name for name in TABLES if name != NOUNS])
def test_both_have_the_same_places(name: str) -> None:
    assert [english for english, said in TABLES[name].items() if places(english) != places(said)] == []


def test_what_is_counted_has_a_measure_word() -> None:
    counted = {
        each.args[-1].value if name == "plural" else each.args[1].value
        for path in SPEAKING
        for name in COUNTED
        for each in calls(path, {name})
        if isinstance(each.args[-1], ast.Constant)
        and isinstance(each.args[1 if name == "counted" else 0], ast.Constant)
    }
    splits = {"train", "validation", "test"}
    alone = {" ".join(each.split()[1:]) if each.split()[0] in splits else each for each in counted}
    assert alone - set(TABLES[NOUNS]) - {"target is"} == set()  # of the terminal, in English


def test_the_words_of_stored_sentences_are_words_of_the_code() -> None:
    """They are put together of parts there: what is made otherwise by now, or misspelt, is found by its words."""
    constants = [
        node.value
        for text in CODE.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    known = set(re.findall(r"[a-z]{3,}", "\n".join(constants).lower()))
    words = {word for english in TABLES[STORED] for word in re.findall(r"[a-z]{3,}", PLACE.sub(" ", english).lower())}
    assert words - known == set()


def test_the_underscore_is_nothing_else_where_it_translates() -> None:
    """A loop over `_` in a function would make it a local name there."""
    for path in SPEAKING:
        names = [node for node in ast.walk(ast.parse(CODE[path])) if isinstance(node, ast.Name) and node.id == "_"]
        assert [node.lineno for node in names if isinstance(node.ctx, ast.Store)] == [], path


def test_chinese_has_full_width_marks() -> None:
    """A comma, colon or bracket beside a Chinese character is of full width."""
    half = re.compile(r"[\u4e00-\u9fff]\s?[,;:()?!]|[,;()?!][\u4e00-\u9fff]")
    assert [said for said in CATALOGUE.values() if half.search(said)] == []


def test_english_is_what_stands_in_the_code() -> None:
    for sentence in SENTENCES:
        assert _(sentence) == N_(sentence) == sentence


def test_threads_do_not_mix_their_languages() -> None:
    heard: dict[str, set[str]] = {"en": set(), "zh": set()}
    start = threading.Barrier(2)

    def talk(code: str) -> None:
        with speaking(code):
            start.wait()
            for _turn in range(2000):
                heard[code].add(f"{language()} {_('accuracy')}")

    threads = [threading.Thread(target=talk, args=(code,)) for code in heard]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert heard == {"en": {"en accuracy"}, "zh": {"zh 准确率"}}
    assert language() == "en"


def test_an_unknown_sentence_or_noun_is_said_in_english() -> None:
    with speaking("zh"):
        assert _("a sentence of {nobody}", nobody="mine") == "a sentence of mine"
        assert plural("test walrus") == "test walruss"
        assert retold("what nobody stored") == "what nobody stored"
    with pytest.raises(ValueError, match="choose one of: en, zh"), speaking("fr"):
        pass


def test_stored_sentences_are_retold_and_labels_are_not() -> None:
    told = "labels: 2 ('accuracy', 'test')"
    assert retold(told) == told
    with speaking("zh"):
        assert retold(told) == "标签：2 个（'accuracy', 'test'）"
        assert retold("x" * 5000) == "x" * 5000
