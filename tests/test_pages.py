"""READMEs and guides: both languages say the same, every command is one, every link leads somewhere, tables are new."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filbert import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAIRS = {
    "README": (ROOT / "README.md", ROOT / "README.zh-CN.md"),
    **{page.stem: (page, DOCS / "zh" / "guides" / page.name) for page in sorted((DOCS / "guides").glob("*.md"))},
}
PAIRS |= {  # pages of the site beside the guides; what is made from the code, and the log, are there in English alone
    f"docs/{name}": (DOCS / f"{name}.md", DOCS / "zh" / f"{name}.md")
    for name in ("doctor", "explain", "export", "recipes", "serving")
}
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELLS = ("bash", "sh", "console")
both = pytest.mark.parametrize("name", PAIRS)


def shape(page: Path) -> dict[str, Any]:
    """Return what two pages that say the same in two languages have in common."""
    text = page.read_text("utf-8")
    prose = FENCED.sub("", text)
    tables = [table.strip().splitlines() for table in re.findall(r"(?:^\|.*\n)+", prose, re.M)]
    return {
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.M)],
        "code": [(kind, without_comments(code)) for kind, code in FENCED.findall(text) if kind != "text"],
        "printed": [
            sorted(re.findall(r"\d[\d.,]*\d|\d", code)) for kind, code in FENCED.findall(text) if kind == "text"
        ],
        "tables": [(len(rows), len(re.split(r"(?<!\\)\|", rows[0])) - 2) for rows in tables],
        "links": [same(page, link) for link in LINK.findall(prose)],
        "lists": len(re.findall(r"^- ", prose, re.M)),
    }


def without_comments(code: str) -> list[str]:
    lines = [re.sub(r"(^|\s+)# .*", "", line).rstrip() for line in code.splitlines()]
    return [line for line in lines if line]


def same(page: Path, link: str) -> str:
    """Return where a link leads, as an English page would have it."""
    if "://" in link:
        return link
    found = (page.parent / link.split("#")[0]).resolve().relative_to(ROOT).as_posix()
    return found.replace("docs/zh/", "docs/").replace(".zh.png", ".png").replace("README.zh-CN", "README")


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `filbert` of each command in a page's shell blocks."""
    for kind, code in FENCED.findall(page.read_text("utf-8")):
        lines = code.replace("\\\n", " ").splitlines() if kind in SHELLS else []
        for line in lines:
            if kind == "console" and not line.startswith("$ "):
                continue
            words = list(shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>"))  # comments go
            words = shlex.split(line.removeprefix("$ "), comments=True) if words else []
            for at, word in enumerate(words):
                name = word == "filbert" and (
                    at == 0 or words[at - 1] in ("-m", "&&", "|", ";") or "=" in words[at - 1]
                )
                if name:
                    ends = [i for i, each in enumerate(words) if i > at and each in ("|", "&&", ";", "<", ">", "&")]
                    yield words[at + 1 : min(ends, default=len(words))]


@both
def test_both_languages_have_one_structure(name):
    english, chinese = (shape(page) for page in PAIRS[name])
    assert chinese == english
    assert english["headings"][0] == 1


def test_every_guide_is_there_in_both_languages():
    assert {page.name for page in (DOCS / "zh" / "guides").glob("*.md")} == {
        page.name for page, _ in PAIRS.values() if page.parent.name == "guides"
    }
    assert {page for page in (DOCS / "zh").glob("*.md")} == {
        page for _, page in PAIRS.values() if page.parent.name == "zh"
    }
    assert len(PAIRS) == 18


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_is_one(page):
    for words in commands(page):
        parser = cli._parser()
        if words and not words[0].startswith("-"):
            command = parser.commands[words[0]]  # an unknown one is a KeyError
            command.make_context(words[0], words[1:])


def test_the_commands_are_found():
    found = [words[0] for page in PAGES for words in commands(page)]
    assert len(found) > 200
    assert set(found) >= set(cli.COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_is_there(page):
    prose = FENCED.sub("", page.read_text("utf-8"))
    links = [link.split("#")[0] for link in LINK.findall(prose) if "://" not in link and not link.startswith("#")]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_pages_are_short():
    for english, chinese in PAIRS.values():
        most = {"README.md": 200, "export.md": 150}.get(english.name, 110)
        assert all(20 <= len(page.read_text("utf-8").splitlines()) <= most for page in (english, chinese))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tables_are_those_of_the_records(language, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    sys.modules.pop("readme", None)
    import readme

    assert readme.PAGES[language].read_text("utf-8") == readme.filled(language), "run python bench/readme.py"


def test_pictures_are_small():
    pictures = [*(DOCS / "images").glob("*.png")]
    assert len(pictures) >= 2
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []
