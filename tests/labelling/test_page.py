"""The labelling page in a browser, by keys and clicks, and its routes against other pages."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from annotating import Opened, truth

from filbert.labelling.app import Site

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

DONE = "words => document.getElementById('done').textContent.includes(words)"


@pytest.fixture
def site(opened: Opened) -> Iterator[Site]:
    ready = threading.Event()
    made = Site(opened(share=0.25), opened=lambda url: ready.set())
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(10)
    yield made
    made.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_labels_are_given_by_keys(site: Site, tmp_path: Path) -> None:
    wrong = list[str]()
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page: Any = browser.new_context(
            locale="zh-CN", color_scheme="dark", viewport={"width": 400, "height": 800}
        ).new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(site.url)
        page.wait_for_selector(".text")
        assert page.get_attribute("html", "lang") == "zh-CN"
        for n in range(14):
            text = page.inner_text(".text")
            assert text.endswith("<b>=1")  # shown as it stands
            page.keyboard.press("1" if truth(text) == "even" else "2")
            page.wait_for_function(DONE, arg=f" {n + 1} /")
        page.keyboard.press("Backspace")
        page.wait_for_function(DONE, arg=" 13 /")
        page.keyboard.press("Space")
        page.wait_for_function("t => document.querySelector('.text').textContent !== t", arg=text)
        page.fill("#new", "中性")
        page.press("#new", "Enter")
        page.get_by_role("button", name="中性").click()
        page.wait_for_function(DONE, arg=" 14 /")
        page.wait_for_function("() => document.getElementById('accuracy').textContent.includes('%')")
        page.check("#guess")
        page.wait_for_selector(".labels .fill")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert (
            page.evaluate("[...document.querySelectorAll('[data-say]')].filter(each => !each.textContent).length") == 0
        )
        browser.close()
    assert wrong == []
    assert (tmp_path / "out.csv").read_text("utf-8").count("\n") == 15


def test_other_pages_and_names_are_refused(site: Site) -> None:
    state = httpx.get(f"{site.url}/state").json()
    said = {"id": state["asked"]["id"], "label": "odd"}
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        assert httpx.post(f"{site.url}/answer", json=said, headers=headers).status_code == 400
    for body in ({"id": "1", "label": "odd"}, {"id": said["id"]}, {"id": said["id"], "label": "other"}, []):
        assert httpx.post(f"{site.url}/answer", json=body).status_code == 422
    assert httpx.post(f"{site.url}/answer", content=b"{").status_code == 400
    assert httpx.get(f"{site.url}/state").json()["labelled"] == 0
    assert httpx.post(f"{site.url}/answer", json=said).json()["labelled"] == 1
    page = httpx.get(site.url)
    assert "default-src 'none'" in page.headers["content-security-policy"]
