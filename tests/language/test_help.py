"""--help and what is said of a wrong command line: Chinese where that is spoken, all of it, and English as it was."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest

from filbert import cli
from filbert.cli import help as chinese
from filbert.cli.console import cells
from filbert.language import PLACE, loaded
from filbert.language.help import ERRORS, WORDS, helped, refused, word
from filbert.language.terminal import VARIABLE

TABLES = loaded("zh.help.toml")
TEXTS = {key: said for name, table in TABLES.items() if name not in (WORDS, ERRORS) for key, said in table.items()}
Pages = tuple[dict[str, str], set[str], set[str]]
SAME = re.compile(r"[AB]|[\d.<=]*x[<>]=[\d.]+")  # what stands for a text, and ranges of numbers
EARLIER = {  # of versions of Typer that were before the one installed here
    *("integer", "integer range", "boolean"),
    *("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    *("{rest} (Did you mean one of: {names}?)", "No such option {name}.", "{value} is not a valid float."),
    *("{value} is not a valid integer.", "{value} is not in the range {range}.", "Missing command."),
    "{rest} — set LC_ALL=C.UTF-8, or PYTHONUTF8=1",  # said of a path in a locale without its characters
}
WRONG = [
    ("predict", "缺少参数 '模型'。"),
    ("fly", "没有命令 'fly'。"),
    ("fot", "没有命令 'fot'。您是否要用 'fit'？"),
    ("fit --fo", "没有选项 --fo（相近的选项：--folds, --long, --out）"),
    ("fit x --epochs", "选项 '--epochs' 需要一个值。"),
    ("fit x --epochs a", "'--epochs' 的值无效：应为数值"),
    ("fit x --seed a", "'--seed' 的值无效：应为整数"),
    ("fit x --seeds 0", "'--seeds' 的值无效：应不小于 1"),
    ("fit x --seeds 100", "'--seeds' 的值无效：应不大于 99"),
    ("next a b c d", "多余的参数：c d"),
    ("fit x --json=3", "选项 '--json' 不接受值。"),
    ("ask a b", "缺少选项 '--context'。"),
    ("predict m -1_star,_never", "没有选项 -1（以连字符开头的文本请放在 -- 之后：-- '-1 star, never'）"),
]


def run(line: str) -> tuple[int, str, str]:
    """Run a command line whose words have _ for a blank; its exit code, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run([word.replace("_", " ") for word in line.split()])
    return code, out.getvalue(), err.getvalue()


def noted(look_up: Callable[[str], str], asked: set[str]) -> Callable[[str], str]:
    def noting(text: str) -> str:
        asked.add(" ".join(text.split()))
        return look_up(text)

    return noting


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[dict[str, str], set[str], set[str]]]:
    """The help of all commands in Chinese, and the words and the texts that were looked up for it."""
    words, texts = set[str](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "zh")
        patch.setenv("COLUMNS", "80")
        patch.setattr(chinese, "word", noted(word, words))
        patch.setattr(chinese, "helped", noted(helped, texts))
        yield {name: run(f"{name} --help")[1] for name in ("", *cli.COMMANDS)}, words, texts


def test_every_text_of_the_help_is_in_the_catalogue_and_no_other(pages: Pages) -> None:
    _pages, words, texts = pages
    assert texts - set(TEXTS) == set(), "add to filbert/language/zh.help.toml, with the Chinese"
    assert set(TEXTS) - texts == set(), "take out of filbert/language/zh.help.toml"
    words = {each.lower() for each in words if not SAME.fullmatch(each)}
    assert words - set(TABLES[WORDS]) == set()
    assert set(TABLES[WORDS]) - words - EARLIER == set()


def test_lines_fit_and_columns_are_straight(pages: Pages) -> None:
    for name, page in pages[0].items():
        lines = page.splitlines()
        assert max(map(cells, lines)) <= 78, name
        assert [line for line in lines if line.lstrip()[:1] in chinese.CLOSING and line.strip()] == [], name
        options = page.partition("选项：\n")[2].partition("\n\n")[0].splitlines()
        starts = {cells(found[0]) for line in options if (found := re.match(r"  -.*?\S  +(?=\S)| +(?=[^\s-])", line))}
        assert len(starts) == 1, (name, starts)


def test_no_sentence_stands_twice_and_marks_are_of_full_width() -> None:
    assert len(TEXTS) == sum(len(table) for name, table in TABLES.items() if name not in (WORDS, ERRORS))
    half = re.compile(r"[\u4e00-\u9fff]\s?[,;:()?!]|[,;()?!][\u4e00-\u9fff]")
    assert [said for said in (*TEXTS.values(), *TABLES[ERRORS].values()) if half.search(said)] == []
    for english, said in TABLES[ERRORS].items():
        assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(said))


@pytest.mark.parametrize("code", ["en", "zh"])
def test_help_follows_the_language(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, code)
    monkeypatch.setenv("COLUMNS", "80")
    page = run("fit --help")[1]
    if code == "zh":
        assert page.startswith("用法：filbert fit [选项] {路径}\n\n  用带标签或数值的文本微调模型并评测")
        assert "  --epochs <数值>             训练轮数 [按文本数：8 至 1]。\n" in page
    else:
        assert page.startswith("Usage: filbert fit [OPTIONS] {path}\n\n  Train a model on labelled texts, or on texts")
        assert "  --epochs <float>            Epochs over the texts [by their number: 8 to 1].\n" in page
        assert re.search("[\u4e00-\u9fff]", page) is None
    assert run("fit --help --language=zh")[1].startswith("用法")


def test_without_a_command_the_help_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for code, start in (("en", "Usage: filbert [OPTIONS]"), ("zh", "用法：filbert [选项]")):
        monkeypatch.setenv(VARIABLE, code)
        code_, out, err = run("")
        assert (code_, (out + err).startswith(start), (out + err).count("\n\n\n")) == (2, True, 0)


def test_errors_of_the_command_line_follow_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    said = set[str]()
    patterns = [
        (english, re.compile(".*?".join(map(re.escape, PLACE.split(english)[::2])), re.DOTALL))
        for english in TABLES[ERRORS]
    ]
    for line, wanted in WRONG:
        monkeypatch.setenv(VARIABLE, "zh")
        assert run(line)[2].endswith(f"错误：{wanted}\n")
        monkeypatch.setenv(VARIABLE, "en")
        english = run(line)[2].splitlines()
        assert english[-1].startswith("Error: ")
        said |= {key for key, pattern in patterns for each in english if pattern.search(each)}
    assert set(TABLES[ERRORS]) - said - EARLIER == set()


def test_usage_and_hint_are_chinese_and_json_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "zh")
    code, out, err = run("ask --json m q")
    assert (code, json.loads(out)["error"]["message"]) == (2, "Missing option '--context'.")
    assert err == "用法：filbert ask [选项] {模型} {问题}\n帮助：filbert ask -h\n\n错误：缺少选项 '--context'。\n"


def test_what_is_quoted_in_an_error_is_not_translated() -> None:
    assert refused("Error: No such command 'Missing command.'.") == "错误：没有命令 'Missing command.'。"
    assert refused("Error: what nobody foresaw") == "错误：what nobody foresaw"
