"""Report pages in headless Chromium: no table and no picture is wider than a page of 1,100 pixels."""

from __future__ import annotations

import shutil

import pytest
from finished import run

from filbert import tasks

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

WIDE = """[...document.querySelectorAll('.scroll, .chart, html')].filter(e => e.scrollWidth > e.clientWidth)
          .map(e => (e.closest('section') || e).id || e.tagName)"""


def test_no_table_is_wider_than_the_page() -> None:
    pages = {name: run(name).folder / "report.html" for name in tasks.TASKS}
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        for name, path in pages.items():
            page.goto(path.as_uri())
            assert page.locator("#mistakes table").count() == 1, name
            assert page.evaluate(WIDE) == [], name
        browser.close()
