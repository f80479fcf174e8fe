"""Explanations: weights that add up, words that carry a class, every task, and a page that is inert and works."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsed import Page
from finished import EVIL, inputs, run
from small import LABELS, VOCAB, classifier, save

from filbert import load, tasks
from filbert.errors import ConfigError
from filbert.folder.torch_parts import network_of
from filbert.inference.attributions import attention_weights, integrated_gradients, masked_at
from filbert.inference.engine import Engine
from filbert.inference.model import open_model
from filbert.report.explanation import explanation_page, sentences
from filbert.text.words import word_spans

SHAPE = {"hidden": 16, "intermediate": 64}
TEXT = "a good film, not badly"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
each_task = pytest.mark.parametrize("name", tasks.TASKS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = save(tmp_path_factory.mktemp("explain") / "films", classifier(**SHAPE), name="films")
    return load(folder)


def test_the_weights_add_up_to_the_change_of_the_logits(engine: Engine) -> None:
    why = engine.explain(TEXT)
    outputs = engine.outputs(engine.features([(TEXT,)]))[0][0]
    other = next(label for label in why.meaning.split("'")[1::2] if label != why.answer)
    assert why.value == pytest.approx(outputs[LABELS.index(why.answer)] - outputs[LABELS.index(other)], abs=1e-3)
    total = sum(word.weight or 0.0 for word in why.words)
    assert total == pytest.approx(why.value - why.start, rel=0.02)
    assert abs(why.value - why.start) > 0.05
    assert why.complete


def test_the_points_are_doubled_until_the_sum_holds(engine: Engine) -> None:
    """On a rough way sixteen points are too few."""
    model = open_model(engine.folder or "")
    network = network_of(model.config, model.weights, model.head, model.arrays)
    for layer in network.encoder.layers:
        layer.qkv.weight.data.mul_(3)  # sharp attention
    (window,) = engine.features([(TEXT,)])[0]
    masked = masked_at(window, range(1, len(window) - 1), engine.tokenizer.mask)
    found = integrated_gradients(network, window, masked, np.array([1.0, 0.0, -1.0]), "cpu")
    assert found.points > 16
    assert found.gap <= 0.02


def test_special_tokens_did_nothing(engine: Engine) -> None:
    model = open_model(engine.folder or "")
    network = network_of(model.config, model.weights, model.head, model.arrays)
    (window,) = engine.features([(TEXT,)])[0]
    masked = masked_at(window, range(1, len(window) - 1), engine.tokenizer.mask)
    found = integrated_gradients(network, window, masked, np.array([1.0, 0.0, 0.0]), "cpu")
    assert found.weights_L[[0, -1]].tolist() == [0.0, 0.0]


def test_occlusion_is_the_fall_without_the_word(engine: Engine) -> None:
    why = engine.explain(TEXT, by="occlusion")
    model = open_model(engine.folder or "")
    best, other = (LABELS.index(label) for label in why.meaning.split("'")[1::2])
    (window,) = engine.features([(TEXT,)])[0]
    hidden = replace(window, ids=np.where(window.ids == VOCAB.index("film"), engine.tokenizer.mask, window.ids))
    with_it, without = (engine.outputs([[each]])[0][0] for each in (window, hidden))
    word = next(word for word in why.words if word.text == "film")
    fall = (with_it[best] - with_it[other]) - (without[best] - without[other])
    assert word.weight == pytest.approx(fall, abs=1e-3)
    assert model.info["name"] == "films"


def test_pieces_are_merged_into_the_words_of_the_text(engine: Engine) -> None:
    why = engine.explain("Badly good, (film)…")
    assert [word.text for word in why.words] == ["Badly", "good", ",", "(", "film", ")", "…"]
    assert all(why.texts[0][word.begin : word.end] == word.text for word in why.words)


def test_a_label_can_be_asked_for(engine: Engine) -> None:
    why = engine.explain(TEXT)
    assert set(why.outputs) == set(LABELS)
    for label in LABELS:
        assert engine.explain(TEXT, output=label).output == label
    with pytest.raises(ConfigError, match="is none of this text's"):
        engine.explain(TEXT, output="other")
    with pytest.raises(ConfigError, match="--by"):
        engine.explain(TEXT, by="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no visible character"):
        engine.explain("\u200b")


def test_what_was_cut_is_said(engine: Engine) -> None:
    why = engine.explain("good film " * 60)
    assert why.unread == 120 - 62
    assert sum(word.weight is None for word in why.words) == why.unread
    assert any("were cut and not read" in sentence for sentence in sentences(why.json()))


@each_task
def test_every_task_is_explained(name: str) -> None:
    found = load(run(name).folder)
    given = inputs(3, name)[1]
    why = found.explain(given)
    assert why.complete
    read = [word for word in why.words if word.weight is not None]
    assert len(read) == sum(len(word_spans(text)) for text in given)
    (prediction,) = found.predict([given])
    assert why.answer == found.task.show(prediction, found.settings).answer
    value = found.explain(given, by="occlusion").value
    assert value == pytest.approx(why.value, rel=1e-3, abs=1e-3)


def test_both_texts_of_a_pair_have_weights() -> None:
    found = load(run("single-label", pairs=True).folder)
    why = found.explain(("good bad text 1", "warm late text 2"))
    assert {word.part for word in why.words if word.weight} == {0, 1}


def test_an_answer_in_a_later_window_is_explained_there() -> None:
    """What stands in other windows is not struck from the text, but said."""
    done = run("question-answering")
    found = load(done.folder)
    found.max_length = 32
    context = "The late text is long. " * 20 + inputs(1, "question-answering")[0][1]
    why = found.explain(("is it good?", context))
    assert why.windows > 1
    assert why.elsewhere > 0
    assert why.unread == 0
    assert why.complete


def test_attention_is_the_softmax_of_the_scores(engine: Engine) -> None:
    model = open_model(engine.folder or "")
    network = network_of(model.config, model.weights, model.head, model.arrays)
    (window,) = engine.features([(TEXT,)])[0]
    index, weight = attention_weights(network, window, "cpu")
    length = len(window)
    assert index.shape == (2, 2, length, length)
    assert weight.sum(-1) == pytest.approx(np.ones((2, 2, length)), abs=1e-5)
    assert (np.diff(weight, axis=-1) <= 0).all()
    ids = torch.as_tensor(window.ids)
    with torch.inference_mode():
        hidden = network.encoder.embeddings(ids, torch.arange(length), torch.zeros_like(ids))
        q, k, _ = network.encoder.layers[0].qkv(hidden).view(length, 3, 2, 8).permute(1, 2, 0, 3)
        wanted = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1).numpy()
    for head in range(2):
        rows = np.take_along_axis(wanted[head], index[0, head], axis=-1)
        assert rows == pytest.approx(weight[0, head], abs=1e-5)


def test_of_a_long_text_the_largest_shares_are_kept(tmp_path: Path) -> None:
    folder = save(tmp_path / "long", classifier(max_positions=200, **SHAPE), max_length=200)
    why = load(folder).explain("good film " * 60)
    assert why.unread == 0
    packed = why.attention.packed()
    assert packed["kept"] == 16
    assert 0 < packed["share"] <= 1
    assert len(why.html()) < 2_000_000


def test_the_page_is_inert() -> None:
    found = load(run("single-label").folder)
    page = Page(found.explain(f"good {EVIL} text\r\nsecond </script> line").html(f"a {EVIL}"))
    scripts = [attributes for name, attributes in page.elements if name == "script"]
    assert [attributes.get("type") for attributes in scripts] == ["application/json", None]
    assert page.open == []
    policy = next(a["content"] for n, a in page.elements if n == "meta" and a.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [a for _, a in page.elements if {"style", "src", "onclick", "onload"} & set(a)]


def test_the_weights_reach_the_page(engine: Engine) -> None:
    why = engine.explain(TEXT)
    page = why.html()
    data = json.loads(re.search(r'id="attention-data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert data["tokens"][0] == "[CLS]"
    assert (data["layers"], data["heads"]) == (2, 2)
    best = why.top(1)[0]
    assert f'title="{best.weight:+.3f}"'.replace("-", "−") in page


def test_a_sum_that_does_not_hold_is_said(engine: Engine) -> None:
    facts = {**engine.explain(TEXT).json(), "gap": 0.3}
    assert sentences(facts)[1].startswith("warning: the weights of all words miss")
    page = explanation_page({**facts, "name": "films", "attention": engine.explain(TEXT).attention.packed()})
    assert 'class="check bad"' in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop: 3 films!", ["Don't", "stop", ":", "3", "films", "!"]),
        ("naïve cafe\u0301 'quoted'", ["naïve", "cafe\u0301", "'", "quoted", "'"]),
        ("👩\u200d👩 ok👍🏽", ["👩\u200d👩", "ok", "👍🏽"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("AI很好", ["AI", "很", "好"]),
        ("\u200b a", ["\u200b", "a"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(text: str) -> set[int]:
        raise ConfigError("no jieba")

    monkeypatch.setattr("filbert.text.words.word_starts", missing)
    assert [text[begin:end] for begin, end in word_spans(text)] == words


def test_chinese_words_are_jiebas() -> None:
    pytest.importorskip("jieba")
    text = "我来到北京大学。"
    assert [text[begin:end] for begin, end in word_spans(text)] == ["我", "来到", "北京大学", "。"]


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def at(why: Any, width: int = 1000, scheme: str = "light") -> Any:
            why.save(tmp_path / "why.html")
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            page.said = []
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.goto((tmp_path / "why.html").as_uri())
            return page

        yield at
        browser.close()


def test_attention_is_found_by_keys_and_by_pointing(engine: Engine, opened: Callable[..., Any]) -> None:
    page = opened(engine.explain(TEXT))
    pressed = "#tokens button[aria-pressed=true]"
    page.locator("#tokens button").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(pressed).inner_text() == "a"
    page.keyboard.press("End")
    assert page.locator(pressed).inner_text() == "[SEP]"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("PageUp")
    assert page.locator("#seen").inner_text().startswith("Layer 1, head 2: [SEP]")
    page.locator("#layer").select_option(index=1)
    page.locator("#tokens button", has_text="film").hover()
    assert page.locator("#seen").inner_text().startswith("Layer 2, head 2: film (token 4) looks at")
    assert page.locator("#seen li").count() == 5
    page.locator("summary").click()
    page.locator("#heads button").first.click()
    assert page.locator("#seen").inner_text().startswith("Layer 1, head 1")
    assert page.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1000])
def test_the_page_fits_and_runs_nothing_of_the_text(opened: Callable[..., Any], width: int, scheme: str) -> None:
    found = load(run("question-answering").folder)
    page = opened(found.explain((f"is it {EVIL}?", f"很好 {EVIL} " * 30)), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#tokens button").count() > 20
    assert page.said == []
