"""Every message of the code has its Chinese in zh.messages.toml, with the same places; nothing else stands there.

A message is any string of the package that has words and a blank: what is no sentence for people is listed below.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import filbert
from filbert.language import MESSAGES, NOUNS, PLACE, _tables, noun, retold, speaking

ROOT = Path(filbert.__file__).parent
SHOWING = {"shown", "safe", "fitted", "str", "repr", "ascii", "shell_quoted", "quote", "sorted", "len"}
VERBS = {"is", "has", "does", "of", "holds", "stands", "held"}
MARKED = {"_", "N_", "pgettext", "plural"}  # the page's: tests/language/test_catalogue.py
OURS = {"translated", "facts"}  # words of ours, one alone, too

UNREAD = {  # no messages: English pages of the hub, HTML, an API's description, code, word lists
    *("pretraining/card.py", "report/card.py", "report/score_card.py"),
    *(f"tasks/{task}/report_card.py" for task in ("multi_label", "question_answering", "regression", "single_label")),
    *("tasks/summarization/report_card.py", "report/charts.py", "report/explanation.py", "report/html.py"),
    *("report/page.py", "server/openapi.py", "server/pages.py", "server/stats.py", "export/example.py"),
    *("text/languages.py", "text/sentences.py"),
}
UNSAID = re.compile(  # what is no sentence: commands, options, styles, patterns, headers, what others' errors say
    r"(filbert|pip|predict|evaluate|explain|serve|ask|summarize|torch|torch\._utils|collections|bold|dim|verdict) [^—]*"
    r"|--[\w-]+( -o)? [A-Z{][^ ]*|\{theirs\}|text (wrong|place)|(text|attachment)[/;].*|urn:.*|\{_ODS\}.*|.*(\\d|\\s).*"
    r"| — set LC_ALL=.*| \(a text that begins with a hyphen .*"  # of a command line: zh.help.toml
    r"|Literal\[.*|<.*|Äé.*|unnamed: 0|answer start"
    r"|\{__name__\} at|\{file\} num_attention_heads — \{e\}|one of the words .*"
    r"|CUDA out of memory|Cannot allocate memory|can't start new thread|emory usage limit|new-line character|Extra data"
    r"|codec can't encode|Input data was truncated|PowerPoint Document|Upload a model made with Filbert"
)


def named(node: ast.expr) -> str:
    """The name of what stands in a place; "" where it has none."""
    while isinstance(node, ast.Call):
        function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if function == "counted" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            words = [word for word in str(node.args[1].value).split() if word != "more"]
            words = words[: next((at for at, word in enumerate(words) if word in VERBS), None)]
            return "_".join(words) + ("es" if words[-1].endswith("s") else "s")
        if function not in {*SHOWING, "join"} or not node.args:
            return ""
        node = node.args[0]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        key = str(node.slice.value)
        return key if key.isidentifier() else ""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def message(node: ast.JoinedStr | ast.Constant) -> str:
    """A string as the catalogue has it: {name} where a value stands, {1}, {2} where it has no name of its own."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    said, values, unnamed = "", dict[str, str](), 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            said += str(part.value)
        elif isinstance(part, ast.FormattedValue) and not re.search(r"\{\w+\}$", said):  # two side by side are one
            name, value = named(part.value), ast.dump(part.value)
            if not name or values.get(name, value) != value:
                unnamed += 1
                name = str(unnamed)
            values[name] = value
            said += f"{{{name}}}"
    return said


def is_message(said: str) -> bool:
    """Whether a string has a word of two letters, and a blank beside it or a place."""
    return " " in said and re.search(r"[A-Za-z][a-z]", PLACE.sub(" ", said)) is not None and not UNSAID.fullmatch(said)


def silent(tree: ast.AST) -> set[int]:
    """The nodes that are no messages: documentation, formats, help, assertions, and what the page says by `_`."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found += [each.value for each in node.body if isinstance(each, ast.Expr)]
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                found += [part] if isinstance(part, ast.Constant) else ast.walk(part.format_spec or ast.Pass())  # type: ignore[attr-defined]
        elif isinstance(node, ast.Assert) and node.msg is not None:
            found += ast.walk(node.msg)
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            found += node.args if name in {*MARKED, "counted"} else []
            found += [
                each for word in node.keywords if word.arg in ("help", "metavar") for each in ast.walk(word.value)
            ]
    return set(map(id, found)) - {id(node) for node in found if isinstance(node, ast.Call)}


def messages(text: str) -> Iterator[str]:
    """The messages of a module's code."""
    tree = ast.parse(text)
    skipped = silent(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in skipped:
            if not isinstance(node, ast.Constant) or isinstance(node.value, str):
                said = message(node)
                yield from filter(is_message, [] if said.endswith("\n") else said.split("\n"))  # [] for a file's text
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "progress":
            yield from (each.value for each in node.args[:1] if isinstance(each, ast.Constant))  # a stage
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if node.func.id == "counted" and len(texts) == 2:
                yield from (f"{{n}} {each}" for each in texts)
            elif node.func.id in OURS:
                firsts = [arg.elts[0] for arg in node.args if isinstance(arg, ast.Tuple)]
                yield from texts
                yield from (str(first.value) for first in firsts if isinstance(first, ast.Constant))


TABLES = _tables("zh")
SAID = TABLES[MESSAGES]
PAGE = {english for name, table in TABLES.items() if name not in (NOUNS, MESSAGES) for english in table}
MODULES = {str(path.relative_to(ROOT).as_posix()): path for path in sorted(ROOT.rglob("*.py"))}
FOUND = {
    said: module
    for module, path in MODULES.items()
    if module not in UNREAD and not module.startswith("language/")
    for said in messages(path.read_text("utf-8"))
    if said not in PAGE
}


def test_every_message_is_in_the_catalogue() -> None:
    missing = [f'{json.dumps(said, ensure_ascii=False)} = ""  # {FOUND[said]}' for said in FOUND if said not in SAID]
    assert not missing, "add to filbert/language/zh.messages.toml, with the Chinese (or to UNSAID here):\n" + "\n".join(
        missing
    )


def test_nothing_else_is_in_the_catalogue() -> None:
    gone = [said for said in SAID if said not in FOUND]
    assert not gone, "take out of filbert/language/zh.messages.toml, as nothing says it any more:\n" + "\n".join(gone)


def test_both_have_the_same_places() -> None:
    assert [
        said for said, chinese in SAID.items() if sorted(PLACE.findall(said)) != sorted(PLACE.findall(chinese))
    ] == []


def test_messages_have_full_width_marks_and_some_chinese() -> None:
    half = re.compile(r"[\u4e00-\u9fff]\s?[,;:()?!]|[,;()?!][\u4e00-\u9fff]")
    assert [chinese for chinese in SAID.values() if half.search(chinese)] == []


def test_what_is_counted_has_a_measure_word() -> None:
    counted = {
        str(node.args[1].value)
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "counted"
        if len(node.args) == 2 and isinstance(node.args[1], ast.Constant)
    }
    with speaking("zh"):
        lacking = sorted(one for one in counted if noun(one) is None and f"{{n}} {one}" not in SAID)
    assert not lacking, f"add measure word and noun to [nouns] of filbert/language/zh.toml: {lacking}"


def test_each_is_found_again_with_its_places_filled() -> None:
    """No other message takes its place, and nothing of ours stays English."""
    wrong = []
    with speaking("zh"):
        for said in filter(is_message, SAID):
            weak = PLACE.sub("", said).strip() == "of"
            filled, wanted = (
                PLACE.sub(lambda at, weak=weak: "12" if at[1] == "n" else f"12{at[1]}" if weak else f"‹{at[1]}›", text)  # type: ignore[misc]
                for text in (said, SAID[said])
            )
            if retold(filled) != wanted:
                wrong.append((filled, retold(filled)))
    assert wrong == []
