"""The page in a browser, by clicks and keys: what a person types, sees and gets back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Running, running
from small import classifier, save

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

EVIL = "<img src=x onerror=alert(1)>"
KEY = "0123456789abcdefXYZ"
SHAPE = {"hidden": 64, "intermediate": 64}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    one = save(folder / "films", classifier(**SHAPE), ("bad", EVIL, "差"), columns={"inputs": [["text"]], "target": []})
    columns = {"inputs": [["premise"], ["claim"]], "target": []}
    two = save(folder / "pairs", classifier(2, seed=5, **SHAPE), ("no", "yes"), columns=columns)
    with running([one, two]) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser: Any, served: Running) -> Iterator[Open]:
    """A function that opens the page; afterwards nothing was asked of another host, nor complained about."""
    contexts, wrong = [], list[str]()

    def open_page(url: str = served.url, locale: str = "en-US", **options: Any) -> Any:
        contexts.append(browser.new_context(locale=locale, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append("a dialog"))
        page.on(
            "request", lambda sent: wrong.append(sent.url) if not sent.url.startswith((url, "data:", "blob:")) else None
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [line for line in wrong if "401" not in line and "422" not in line] == []


def test_a_text_is_answered(opened: Open, served: Running) -> None:
    page = opened()
    page.get_by_role("textbox", name="Text").fill("good film")
    page.get_by_role("button", name="Ask the model").click()
    page.wait_for_selector(".answer")
    wanted = served.ask("good film")
    assert page.inner_text(".answer") == wanted[0]["label"]
    assert page.locator(".bars .name").all_inner_texts() == [each["label"] for each in wanted]
    shares = [float(text.rstrip("%")) for text in page.locator(".bars .share").all_inner_texts()]
    assert shares == pytest.approx([100 * each["score"] for each in wanted], abs=0.06)
    assert served.model.ready.version in page.inner_text(".time")
    assert "ms" in page.inner_text(".time")
    assert page.locator("img").count() == 0  # a label of HTML is text
    assert page.locator(".notes").is_hidden()


def test_what_was_not_read_is_said(opened: Open) -> None:
    page = opened()
    page.fill("#text-0", "good film " * 100)
    page.press("#text-0", "Control+Enter")
    page.wait_for_selector(".notes li")
    assert "Longer than the 64 tokens" in page.inner_text(".notes")
    page.fill("#text-0", "xylophone")
    page.press("#text-0", "Control+Enter")
    page.get_by_text("not in the model's vocabulary").wait_for()
    page.fill("#text-0", " ")
    page.click("#ask")
    page.locator("#result .wrong").get_by_text("nothing to read").wait_for()


def test_a_pair_has_two_fields(opened: Open, served: Running) -> None:
    page = opened()
    page.get_by_label("Model").select_option("pairs")
    page.get_by_label("premise").fill("good film")
    page.get_by_label("claim").fill("bad film")
    page.click("#ask")
    page.wait_for_selector(".answer")
    wanted = served.client.post("/models/pairs/predict", json={"inputs": ["good film", "bad film"]}).json()
    assert page.inner_text(".answer") == wanted[0]["label"]


def test_places_in_the_text_are_marked(opened: Open) -> None:
    page = opened()
    page.wait_for_selector("#text-0")
    for cells in ("answer_start: 2, answer_end: 6", 'places: "2-6 8-9"'):
        page.evaluate(
            f"""show({{answer: "Navy", bars: {{}}, row: {{{cells}}}}}, ["who", "😀 Navy<b>!"], new Headers(), 1)"""
        )
        assert page.locator("#result mark").first.inner_text() == "Navy"
        assert page.inner_text(".read") == "😀 Navy<b>!"


def test_a_table_comes_back(opened: Open, tmp_path: Path) -> None:
    page = opened()
    page.get_by_role("tab", name="File").click()
    page.set_input_files(
        "#upload", {"name": "评论.csv", "mimeType": "text/csv", "buffer": b"text,id\ngood,1\nbad film,2\n"}
    )
    page.wait_for_selector("#link:visible")
    with page.expect_download() as got:
        page.click("#link")
    assert got.value.suggested_filename == "评论.predictions.csv"
    got.value.save_as(tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("text,id,label,")
    assert [line.split(",")[1] for line in lines[1:]] == ["1", "2"]
    page.set_input_files("#upload", {"name": "broken.csv", "mimeType": "text/csv", "buffer": b'text,id\n"good,1\n'})
    page.wait_for_selector("#file-wrong:visible")
    assert "broken.csv:2" in page.inner_text("#file-wrong")


DROP = """() => {
  const data = new DataTransfer();
  data.items.add(new File(["text\\ngood film\\n"], "dropped.csv"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.parametrize("early", [False, True], ids=["models-known", "models-not-known-yet"])
def test_a_dropped_table_is_labelled(opened: Open, early: bool) -> None:
    page = opened()
    if early:
        held = list[Any]()
        page.route("**/info", lambda route: held.append(route))
        with page.expect_request("**/info"):
            page.reload()
        page.evaluate(DROP)
        assert page.locator("#working").is_hidden()
        held[0].continue_()
    else:
        page.wait_for_selector("#text-0")
        page.evaluate(DROP)
    page.wait_for_selector("#link:visible")
    assert page.get_attribute("#tab-file", "aria-selected") == "true"
    assert "dropped.predictions.csv" in page.inner_text("#told")


def test_the_keyboard_is_enough(opened: Open) -> None:
    page = opened()
    page.wait_for_selector("#text-0")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips to the text
    page.keyboard.type("good")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer")
    page.focus("#tab-text")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-file"
    assert page.locator("#panel-file").is_visible()
    assert page.locator("#result").is_hidden()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".answer").is_visible()


def test_it_speaks_chinese_and_is_dark_at_night(opened: Open) -> None:
    page = opened(locale="zh-CN", color_scheme="dark", viewport={"width": 360, "height": 740})
    assert page.get_attribute("html", "lang") == "zh-CN"
    page.get_by_role("textbox", name="文本").fill("good")
    page.get_by_role("button", name="提交").click()
    page.wait_for_selector(".answer")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in colour[4:-1].split(",")) < 120
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    unsaid = page.evaluate("[...document.querySelectorAll('[data-say]')].filter(each => !each.textContent).length")
    assert unsaid == 0


def test_a_key_unlocks_it(opened: Open, served: Running) -> None:
    with running([served.server.folders[0]], key=KEY) as locked:
        page = opened(locked.url)
        page.get_by_label("This server asks for a key").fill("a wrong one")
        page.get_by_role("button", name="Unlock").click()
        assert page.locator("#fields textarea").count() == 0
        page.fill("#key", KEY)
        page.press("#key", "Enter")
        page.fill("#text-0", "good")
        page.click("#ask")
        page.wait_for_selector(".answer")


def test_the_description_is_drawn(opened: Open, served: Running) -> None:
    page = opened()
    page.get_by_role("link", name="API").click()
    page.wait_for_selector("section h2")
    assert "POST /predict" in page.locator("section h2").all_inner_texts()
