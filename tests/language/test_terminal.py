"""What a command prints follows the locale, FILBERT_LANGUAGE and --language; English stays what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filbert import cli
from filbert.cli.console import Screen, facts, table
from filbert.language import language
from filbert.language.terminal import VARIABLE, given, printing, terminal, translated

MESSAGE = "a.csv:3 label — is empty — drop it"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", VARIABLE: "en"}, "en"),
        ({"LANG": "de_DE.UTF-8", VARIABLE: "zh"}, "zh"),
    ],
)
def test_the_locale_chooses(variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert terminal() == wanted
    assert (translated(MESSAGE) == MESSAGE) == (wanted == "en")
    assert language() == "en"  # what is stored and what programs read


def test_a_message_is_told_in_its_parts_and_values_stay() -> None:
    with printing("zh"):
        assert translated(MESSAGE) == "a.csv:3 label — 为空 — 请删除"
        assert translated(f"error: {MESSAGE}\n{MESSAGE}") == f"错误：{translated(MESSAGE)}\n{translated(MESSAGE)}"
        assert translated("'is empty' — is empty — drop it") == "'is empty' — 为空 — 请删除"
        assert translated("fate of nations") == "fate of nations"
    assert translated(MESSAGE) == MESSAGE


def test_answers_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with printing("zh"), Screen() as screen:
        screen.show("is empty", data=True)
        screen.show(*table(facts(("report", "a b"), ("measure again", "c"))))
        screen.say("warning: is empty")
    shown = capsys.readouterr()
    assert shown.out == "is empty\n报告      a b\n再次评测  c\n"
    assert shown.err == "警告：为空\n"


def test_an_option_names_the_language() -> None:
    assert given(["fit", "a.csv", "--language=zh"]) == given(["fit", "--language", "zh", "a.csv"]) == "zh"
    assert given(["fit", "a.csv"]) is given(["fit", "--language", "fr"]) is given(["fit", "--language"]) is None


@pytest.mark.parametrize("code", ["en", "zh"])
def test_json_is_the_same_in_every_language(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, code)
    assert cli.run(["predict", "none", "a text", "--json"]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["message"].startswith("none is not a folder — give the run folder")
    assert shown.err.startswith("error: none is not a folder" if code == "en" else "错误：none 不是目录")


def test_an_unknown_language_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(VARIABLE, "fr")
    assert cli.run(["predict", "none", "a text"]) == 2
    assert "FILBERT_LANGUAGE — is 'fr' — choose one of: en, zh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "a.csv label — there is no column 'x' — choose one of 'y', 'z'",
            "a.csv label — 没有 'x' 列 — 请选择 'y', 'z' 之一",
        ),
        (
            "validation — columns — text: 'a', label: 'b' (as the model was trained)",
            "验证集 — 列 — 文本：'a'，标签：'b'（与模型训练时相同）",
        ),
        ("1 row: name — is empty or cannot be seen", "1 行：name — 为空或不可见"),
        ("label the class 'x' has one text for training", "label the class 'x' has one text for training"),
        ("2 weights for 1 corpus", "给了 2 个权重，而有 1 个语料"),
        ("fitting the baseline on the same questions", "正在用相同的问题拟合基线"),
        (
            "validation after 1.00 epochs: macro_f1 0.3333 · loss 0.6931 — best macro-F1 so far",
            "1.00 轮后的验证：宏平均 F1 0.3333 · 损失 0.6931 — 目前最好：宏平均 F1",
        ),
        (
            "333 texts of test stand in train, too, 331 of them word for word (330 different ones)",
            "测试集中有 333 条文本也在训练集中，其中 331 条逐字相同（330 条不同）",
        ),
    ],
)
def test_what_is_told_is_told_whole_or_by_its_parts(english: str, chinese: str) -> None:
    """A sentence of few words takes no other's place: what the catalogue does not know stays in English."""
    with printing("zh"):
        assert translated(english) == chinese
