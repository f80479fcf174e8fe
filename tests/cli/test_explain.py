"""`filbert explain`: words on the terminal, a page, or JSON; nothing overwritten."""

from __future__ import annotations

from pathlib import Path

from command import Run

TEXT = "a great film, not dull"


def test_explain_on_the_terminal(run: Run, model: Path) -> None:
    ran = run("explain", model, TEXT)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] in ("neg", "pos")
    assert any(line.startswith("great") and ("+" in line or "-" in line) for line in lines)
    assert any("add up to" in line for line in lines)


def test_explain_writes_a_page_once(run: Run, model: Path, tmp_path: Path) -> None:
    ran = run("explain", model, TEXT, "-o", "why.html")
    assert ran.code == 0, ran.err
    assert "page  why.html" in ran.out
    before = (tmp_path / "why.html").read_text("utf-8")
    assert "great" in before
    assert run("explain", model, "another", "-o", "why.html").code == 2
    assert (tmp_path / "why.html").read_text("utf-8") == before
    assert run("explain", model, "another", "-o", "why.html", "--overwrite").code == 0
    assert run("explain", model, TEXT, "-o", "why.csv").code == 2
    assert run("explain", model, TEXT, "-o", "zh.html", "--language", "zh").code == 0
    chinese = (tmp_path / "zh.html").read_text("utf-8")
    assert '<html lang="zh">' in chinese
    assert "逐词贡献" in chinese


def test_explain_as_json_by_occlusion_of_a_label(run: Run, model: Path) -> None:
    told = run("explain", model, "-", "--by", "occlusion", "--output", "neg", "--json", stdin=TEXT.encode()).json
    assert told["output"] == "neg"
    assert told["by"] == "occlusion"
    assert [word["text"] for word in told["words"]] == ["a", "great", "film", ",", "not", "dull"]
    assert told["texts"] == [TEXT]


def test_what_cannot_be_explained_is_said(run: Run, model: Path) -> None:
    assert "one of 'neg, pos'" in run("explain", model, TEXT, "--output", "x").err.replace("pos, neg", "neg, pos")
    assert "--by" in run("explain", model, TEXT, "--by", "x").err
    assert "takes one text" in run("explain", model, TEXT, "--pair", "two").err
    assert "does not exist" in run("explain", model, "texts/missing.txt").err
