"""The tutorial is true and the same in both languages: its cells run and print what its pages say."""

from __future__ import annotations

import ast
import re
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import make_tutorial  # noqa: E402

sys.path.remove(str(ROOT / "docs"))

NAMES = [path.name for path in make_tutorial.chapters()]
FEW = ("rows = list(csv.DictReader(file))", "rows = list(csv.DictReader(file))[:90]")
BRIEF = {  # what keeps a chapter short: its code and that of the test
    "5-classifier.md": (FEW, ("range(100)", "range(3)")),
    "6-pretraining.md": (
        ("[row[column] for row in csv.DictReader(file)]", "[row[column] for row in csv.DictReader(file)][:300]"),
        ("epochs=20", "epochs=1"),
    ),
    "7-fine-tuning.md": (FEW, ("epochs=8", "epochs=1")),
    "8-use.md": (FEW, ("epochs=8", "epochs=1")),
    "9-imdb.md": (
        ("min(2000, ", "min(60, "),
        ("min(1000, ", "min(20, "),
        ("epochs=2, ", "epochs=1, "),
        ('"minilm"', '"tiny"'),
    ),
}
PAIRS = {("reviews_en.csv", "reviews_zh.csv")}  # texts of a cell that differ without being words
HAN = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
each_chapter = pytest.mark.parametrize("name", NAMES)


def page(name: str, language: str = "en") -> str:
    """A page as if both languages lay in the same folder."""
    return (make_tutorial.FOLDERS[language] / name).read_text("utf-8").replace("](../../../", "](../../")


def parted(text: str) -> tuple[list[str], list[float]]:
    """The words of a text and its numbers."""
    number = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    return re.split(number, text), [float(found) for found in re.findall(number, text)]


def shape(text: str) -> dict[str, object]:
    """What a page has in common with the one in the other language."""
    prose = re.sub(r"^```\w*\n.*?^```\n", "", text, flags=re.M | re.S)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.M),
        "cells": len(make_tutorial.cells(text)),
        "printing": [bool(printed) for printed in make_tutorial.printed(text)],
        "formulas": re.findall(r"\$\$.*?\$\$", prose, re.S),
        "exercises": re.findall(r"^\*\*(\d)\.\*\* ", prose, re.M),
        "answers": prose.count("<details markdown"),
        "links": re.findall(r"\]\(([^)]+)\)", prose.replace(".zh.ipynb", ".ipynb")),
        "rows": len(re.findall(r"^\|", prose, re.M)),
    }


@each_chapter
def test_the_cells_of_a_chapter_run_and_print_what_it_says(name, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("FILBERT_IMDB", raising=False)
    text = page(name)
    code = make_tutorial.MARK.join(make_tutorial.cells(text))
    for long, short in BRIEF.get(name, ()):
        assert long in code
        code = code.replace(long, short)
    printed = make_tutorial.run(code.split(make_tutorial.MARK), tmp_path)
    if name in BRIEF:
        return
    for said, is_so in zip(make_tutorial.printed(text), printed, strict=True):
        words, numbers = parted(" ".join(is_so.split()))  # code on a page is formatted, and stands further left
        shown = parted(" ".join(said.split()))
        assert (words, numbers) == (shown[0], pytest.approx(shown[1], rel=0.02, abs=0.02))


@each_chapter
def test_a_chapter_has_the_same_parts_in_both_languages(name):
    english, chinese = shape(page(name)), shape(page(name, "zh"))
    assert english == chinese
    assert len(english["exercises"]) == english["answers"] >= (0 if name == NAMES[-1] else 2)
    assert english["headings"].count("#") == 1


def test_both_languages_have_the_same_chapters():
    assert [path.name for path in make_tutorial.chapters("zh")] == NAMES
    assert shape(page("index.md")) == shape(page("index.md", "zh"))
    assert all(f"]({name})" in page("index.md") for name in NAMES)


@each_chapter
def test_the_code_of_a_chapter_differs_in_words_only(name):
    for english, chinese in zip(make_tutorial.cells(page(name)), make_tutorial.cells(page(name, "zh")), strict=True):
        for one, two in zip_longest(ast.walk(tree_of(english)), ast.walk(tree_of(chinese))):
            assert type(one) is type(two), chinese
            texts = [getattr(node, "value", None) for node in (one, two)]
            if isinstance(one, ast.Constant) and isinstance(texts[1], str):
                assert texts[0] == texts[1] or HAN.search(texts[1]) or tuple(texts) in PAIRS, texts
                continue
            fields = [[(key, value) for key, value in ast.iter_fields(node) if plain(value)] for node in (one, two)]
            assert fields[0] == fields[1], chinese


def tree_of(code: str) -> ast.Module:
    """The tree of a cell, the words of each f-string put together before its values: their order may differ."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            words = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            node.values = [ast.Constant(words), *(part for part in node.values if not isinstance(part, ast.Constant))]
    return tree


def plain(value: object) -> bool:
    """Whether a field of a node holds no other nodes."""
    return not isinstance(value, (ast.AST, list))


@each_chapter
@pytest.mark.parametrize("language", make_tutorial.FOLDERS)
def test_each_picture_is_made_by_its_chapter(name, language):
    text = page(name, language)
    made = re.findall(r'savefig\("(\w+\.svg)"\)', "".join(make_tutorial.cells(text)))
    if name.removesuffix(".md") in make_tutorial.UNWRITTEN:
        assert made or name == NAMES[-1]
        assert "](pictures/" not in text
        return
    assert made == re.findall(r"!\[[^]]{20,}\]\(pictures/(\w+\.svg)\)", text)
    assert all((make_tutorial.FOLDERS[language] / "pictures" / picture).is_file() for picture in made)


@pytest.mark.parametrize("language", make_tutorial.FOLDERS)
def test_no_picture_is_left_over(language):
    shown = set(re.findall(r"pictures/(\w+\.svg)", "".join(page(name, language) for name in NAMES)))
    assert {path.name for path in (make_tutorial.FOLDERS[language] / "pictures").iterdir()} == shown


@each_chapter
def test_what_stands_beside_a_formula_is_defined_where_the_link_goes(name):
    linked = re.findall(r"\[`(\w+)`\]\(\.\./\.\./([\w/]+\.py)\)", page(name))
    assert linked or "$$" not in page(name)
    for what, path in linked:
        assert re.search(rf"^(def|class) {what}\b", (ROOT / path).read_text("utf-8"), re.M), f"{path}: {what}"


@pytest.mark.parametrize("language", make_tutorial.FOLDERS)
def test_what_the_pages_link_to_is_there(language):
    folder = make_tutorial.FOLDERS[language]
    broken = [
        f"{path.name}: {link}"
        for path in folder.glob("*.md")
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
        if not (folder / link).exists()
    ]
    assert broken == []
