"""Report pages in headless Chromium, English and Chinese, light and dark: nothing is too wide, no error is logged.

The slow test keeps a picture of each page, to be looked at: under pytest's folder, or in `FILBERT_SCREENSHOTS`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from finished import run
from reports import full_report, log_lines

from filbert import tasks
from filbert.language import LANGUAGES
from filbert.report import write_report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

WIDE = """[...document.querySelectorAll('.scroll, .chart, html')].filter(e => e.scrollWidth > e.clientWidth)
          .map(e => (e.closest('section') || e).id || e.tagName)"""
CLASSES = {  # what no small run of a task is: two classes, many, Chinese ones
    "binary": ["negative", "positive"],
    "twenty": [f"intent {n} of a customer" for n in range(20)],
    "chinese": ["娱乐", "体育", "教育"],
}
WORDS = re.compile(r"[A-Za-z][a-z]{2,}(?: [a-z]{2,}){2}")  # three English words in a row
NOT_OURS = "code, td.passage, td.text, th[scope=row], dd, .upright, bdi, b, summary"  # texts, labels, names


def write(folder: Path, report: dict[str, Any], log: str) -> None:
    folder.mkdir(parents=True)
    report["data"]["warnings"] = ["warning: 3 texts of train repeat another one word for word"]
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    (folder / "train.jsonl").write_text(log, "utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Return the page of each kind of model in each language."""
    root, found = tmp_path_factory.mktemp("pages"), {}
    kinds = {}
    for name, labels in CLASSES.items():
        write(root / name, full_report(labels), log_lines())
        kinds[name] = (root / name, tasks.TASKS["single-label"])
    for name, task in tasks.TASKS.items():
        shutil.copytree(run(name).folder, root / name, ignore=shutil.ignore_patterns("*.safetensors"))
        kinds[name] = (root / name, task)
    for name, (folder, task) in kinds.items():
        for code in LANGUAGES:
            write_report(folder, task.page(), code)
            found[name, code] = shutil.copy(folder / "report.html", root / f"{name}.{code}.html")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (400, "dark")])
def test_no_page_is_too_wide_or_logs_an_error(
    pages: dict[tuple[str, str], Path], browser: Any, width: int, scheme: str
) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for (name, code), path in pages.items():
        page.goto(path.as_uri())
        assert page.locator("#mistakes table").count() == 1, name
        wide = page.evaluate(WIDE)
        assert (wide == []) if width > 1000 else ("HTML" not in wide), (name, code, wide)  # on a phone tables scroll
        assert page.locator("html").get_attribute("lang") == code
    page.close()
    assert said == []


def test_no_english_sentence_is_left_in_a_chinese_page(pages: dict[tuple[str, str], Path], browser: Any) -> None:
    page = browser.new_page()
    for (name, code), path in pages.items():
        page.goto(path.as_uri())
        page.evaluate(f"document.querySelectorAll('{NOT_OURS}').forEach(e => e.remove())")
        told = page.evaluate("""[document.title, document.body.textContent,
            ...[...document.querySelectorAll('[aria-label]')].map(e => e.ariaLabel)].join('\\n')""")
        left = WORDS.findall(told)
        assert bool(left) == (code == "en"), (name, code, left[:5])
    page.close()


@pytest.mark.slow
def test_pictures_are_kept(pages: dict[tuple[str, str], Path], browser: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("FILBERT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    for width in (400, 1200):
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for (name, code), path in pages.items():
                page.goto(path.as_uri())
                page.screenshot(path=str(folder / f"{name}.{code}.{width}.{scheme}.png"), full_page=True)
            page.close()
    assert len(list(folder.glob("*.png"))) >= 4 * len(pages)
