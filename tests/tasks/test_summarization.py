"""Summaries: each sentence in one window, its place in the text to the character, and which sentences are taken."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import tokenizer

from filbert import tasks
from filbert.config import TrainConfig
from filbert.errors import ConfigError, DataError, Refusal
from filbert.finetuning.dataset import dataset_of
from filbert.finetuning.fit import fit
from filbert.inference.engine import load
from filbert.metrics import overlap
from filbert.records import Encoding, Example, Features, FloatArray
from filbert.report.html import tag
from filbert.tasks import summarization
from filbert.tasks.summarization import selection
from filbert.tasks.summarization.length import Settings, resized
from filbert.tasks.summarization.outputs import decode, joined, of_sentences, row
from filbert.tasks.summarization.report_page import highlighted
from filbert.tasks.summarization.selection import centrality, chosen, lead, oracle, textrank
from filbert.tasks.summarization.sentences import grouped, sentences_of, split, windows_of
from filbert.text.vocab import learn

TEXTS = {
    "english": "Not a good film. It is bad! Was it a film? Yes.",
    "chinese": "这部电影很好。“真的吗？”她问。它不好！",
    "emoji": "Good 😀 film. 👩‍👩‍👧 Not bad at all 🏳️‍🌈. 𝒜 film.",
    "line ends": "A title\r\n\r\nGood film.\r\nBad film.\rNot a film.\n\n",
    "markup": "Good film.<br /><br />Bad film.",
    "spaces": "  Good\u3000film.\u00a0 Bad\tfilm.  ",
    "glued": "A good film.The bad film.",
    "one": "good",
}
WORDS = learn([*TEXTS.values(), "the of and to a in"], 300)


def encoded(text: str) -> Encoding:
    return WORDS.encode([text], offsets=True)[0]


def counts(features: list[Features]) -> list[int]:
    return [0 if each.marks is None else len(each.marks) for each in features]


@pytest.mark.parametrize("length", [5, 9, 16, 64])
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_every_sentence_is_in_exactly_one_window(text: str, length: int) -> None:
    encoding = encoded(text)
    found = windows_of(encoding, WORDS, length)
    whole = sentences_of(encoding)
    assert [text[each.begin : each.end] for each in whole] == list(split(text))
    seen = 0
    for window in found:
        assert 2 < len(window) <= length
        assert window.marked == seen
        assert window.begin == whole[seen].first
        assert window.marks is not None
        ends = [*window.marks[1:].tolist(), len(window)]
        for number, (begin, end) in enumerate(zip(window.marks.tolist(), ends, strict=True)):
            sentence = whole[seen]
            assert window.ids[begin] == WORDS.cls
            assert window.ids[end - 1] == WORDS.sep
            alone = WORDS.encode([text[sentence.begin : sentence.end]])[0].ids
            assert window.ids[begin + 1 : end - 1].tolist() == alone[: length - 2].tolist()
            assert set(window.segments[begin:end]) == {number % 2}
            seen += 1
    assert seen == len(whole)
    assert sum(each.cut for each in found) == sum(max(0, each.pieces + 2 - length) for each in whole)


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_places_are_those_of_the_original_text(text: str) -> None:
    encoding = encoded(text)
    windows = windows_of(encoding, WORDS, 12)
    random = np.random.default_rng(0)
    outputs = [[random.normal(size=(count, 1)) for count in counts(windows)]]
    (found,) = decode(outputs, Settings(2, blocking=False), [windows])
    sentences = split(text)
    assert [text[begin:end] for begin, end in found.places] == list(sentences)
    assert found.sentences == tuple(sentences[i] for i in found.chosen)
    best = np.argsort(-np.concatenate(outputs[0])[:, 0])[:2]
    assert found.chosen == tuple(sorted(best.tolist()))
    said = row(found, Settings())
    places = [tuple(map(int, each.split("-"))) for each in said["places"].split()]
    assert joined([text[begin:end] for begin, end in places]) == said["summary"]


@pytest.mark.parametrize(
    ("tokens", "length", "wanted"),
    [
        ([8, 8], 16, [(0, 2)]),  # both just fit
        ([8, 9], 16, [(0, 1), (1, 2)]),  # one token more
        ([16, 16], 16, [(0, 1), (1, 2)]),
        ([4] * 5, 16, [(0, 3), (3, 5)]),  # even ones: not 4 and 1
        ([2, 14, 14, 2], 16, [(0, 2), (2, 4)]),
        ([16], 16, [(0, 1)]),
    ],
)
def test_windows_are_few_and_even(tokens: list[int], length: int, wanted: list[tuple[int, int]]) -> None:
    assert grouped(tokens, length) == wanted


def test_a_sentence_longer_than_a_window_is_cut_and_that_is_said() -> None:
    text = "Good film. " + "Bad film not " * 10 + "good. A film."
    found = windows_of(encoded(text), WORDS, 12)
    assert [each.cut > 0 for each in found] == [False, True, False]
    assert counts(found) == [1, 1, 1]


def test_targets_are_cut_with_their_windows() -> None:
    text = "The sales rose. It rained. The profits fell. We won. The rest is noise."
    encodings = [encoded(text)]
    found = summarization.features(encodings, "Sales rose.Profits fell.", WORDS, Settings(), 18)
    assert len(found) > 1
    assert np.concatenate([each.target for each in found]).tolist() == [1, 0, 1, 0, 0]
    assert all(each.target is None for each in summarization.features(encodings, None, WORDS, Settings(), 18))


def test_text_without_a_piece_is_one_sentence() -> None:
    (window,) = summarization.features(tokenizer().encode(["\u200b"], offsets=True), None, tokenizer(), Settings(), 9)
    assert window.ids.tolist() == [2, 3]
    (found,) = decode([[np.zeros((1, 1))]], Settings(), [[window]])
    assert found.chosen == (0,)


def test_trigram_blocking_leaves_out_what_was_said() -> None:
    texts = ["It was a big win today.", "Again it was a big loss.", "We slept.", "He ate."]
    scores = [0.9, 0.8, 0.7, 0.1]
    assert chosen(scores, texts, Settings(2)) == (0, 2)
    assert chosen(scores, texts, Settings(2, blocking=False)) == (0, 1)
    chinese = ["它今天增长了。", "公司今天增长了。", "下雨。"]
    assert chosen([3, 2, 1], chinese, Settings(2)) == (0, 2)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"sentences": 2}, (1, 3)),
        ({"sentences": 99}, (0, 1, 2, 3)),
        ({"words": 6}, (0, 1)),  # what does not fit is passed over
        ({"words": 4}, (1,)),
        ({"words": 1}, (2,)),  # one sentence is always given: the shortest, where none fits
        ({"words": 2}, (2,)),  # the first that fits
        ({"characters": 13}, (2,)),
        ({"characters": 28}, (1, 2)),
        ({"characters": 29}, (0, 1)),  # 14 + 14 and the blank between
        ({"share": 0.5}, (1, 3)),
        ({"share": 0.01}, (1,)),
    ],
)
def test_length_by_sentences_words_characters_or_share(told: dict[str, float], wanted: tuple[int, ...]) -> None:
    texts = ["One two three.", "Four five six.", "Seven, eight.", "Nine ten eleven twelve thirteen."]
    assert chosen([0.3, 0.9, 0.1, 0.8], texts, resized(Settings(), **told)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [*TEXTS.values(), "A. Bb. 它增长了。Cc d. 好。 Ee."])
def test_so_many_characters_at_most(text: str) -> None:
    texts = split(text)
    random = np.random.default_rng(0)
    for most in range(min(map(len, texts)), len(text) + 2):
        taken = chosen(random.random(len(texts)), texts, Settings(most, "characters"))
        assert 0 < len(joined([texts[i] for i in taken])) <= most


def test_a_headline_keeps_a_line_of_its_own() -> None:
    """Nothing is added to the text, and yet "Rates rise again The bank said" is not read as one sentence."""
    for text in (
        "Rates rise again\n\nThe bank said more. It did.",
        "央行加息\n央行周一宣布。",
        "Rates rise (again)\nThey did.",
    ):
        sentences = split(text)
        assert joined(sentences[:2]) == "\n".join(sentences[:2])
    assert joined(["“It rose.”", "It fell [3]."]) == "“It rose.” It fell [3]."


def test_what_is_as_good_as_can_be_is_no_worst_summary() -> None:
    examples = [Example((f"Sales rose {n}. It rained in {n}. Nobody came.",), f"Sales rose {n}.") for n in range(3)]
    right, wrong = ([of_sentences(each.text, [i]) for each in examples] for i in (0, 1))
    assert tasks.named("summarization").mistakes(examples, right, Settings()) == []
    told = tasks.named("summarization").mistakes(examples, [right[0], wrong[1], right[2]], Settings())
    assert [each["text"] for each in told] == [examples[1].text]


def test_sentences_are_joined_as_their_script_has_it() -> None:
    assert joined(["그는 갔다.", "한국어 문장."]) == "그는 갔다. 한국어 문장."
    assert joined(["Good 😀", "😀 film."]) == "Good 😀\n😀 film."
    assert joined(["好！", "“是。”", "他说（不）", "OK."]) == "好！“是。”他说（不）\nOK."
    assert joined(["かな。", "カナ。", "It is."]) == "かな。カナ。It is."


@pytest.mark.parametrize("told", [{"words": 0}, {"share": 1.5}, {"share": float("nan")}, {"sentences": -1}])
def test_lengths_that_make_no_sense_are_refused(told: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(told))):
        resized(Settings(), **told)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--sentences and --words"):
        resized(Settings(), sentences=1, words=2)


def test_the_oracle_is_never_below_the_first_sentences() -> None:
    from filbert.metrics.overlap import counted

    random = np.random.default_rng(0)
    words = [f"w{n}" for n in range(30)]
    for _ in range(40):
        texts = tuple(" ".join(random.choice(words, 6)) + "." for _ in range(8))
        reference = " ".join(random.choice(words, 14))
        best = counted([texts[i] for i in oracle(texts, reference)], reference)
        for count in (1, 2, 3):
            assert sum(best) >= sum(counted(texts[:count], reference)) - 1e-9 or len(oracle(texts, reference)) > 1


class Text(str):
    """A string of which one can tell whether it is still held."""


@pytest.mark.parametrize(
    "use",
    [
        split,
        lambda text: oracle((text, "It rained."), text),
        lambda text: overlap.counted([text], text),
        lambda text: overlap.rouge((text,), (text,)),
    ],
)
def test_no_document_stays_alive(use: Callable[[str], object]) -> None:
    text = Text("Sales rose of late. He left.")
    held = weakref.ref(text)
    assert use(text) == use(Text(text))
    del text
    assert held() is None


def test_the_oracle_finds_the_sentences_that_a_reference_is_made_of() -> None:
    texts = split("Sales rose 2%. It rained on Friday. Profits fell, he said. We won the cup. The end is near.")
    for wanted in ((0,), (1, 3), (0, 2, 4)):
        assert oracle(texts, "".join(texts[i] for i in reversed(wanted))) == wanted
    assert oracle(texts, "xyz") == ()
    assert oracle(split("它增长了。下雨了。他赢了。"), "赢了增长") == (0, 2)


def test_baselines_leave_nothing_out() -> None:
    texts = ["It was a big win today.", "Again it was a big loss.", "We slept."]
    assert lead(texts, Settings(2)) == (0, 1)
    assert textrank(texts, Settings(2)) == (0, 1)


def readable_centrality(vectors_SD: FloatArray) -> FloatArray:
    """PageRank over all cosines, S × S of them."""
    lengths_S1 = np.linalg.norm(vectors_SD, axis=1, keepdims=True)
    unit_SD = vectors_SD / np.where(lengths_S1 > 0, lengths_S1, 1)
    cosines_SS, count = unit_SD @ unit_SD.T, len(vectors_SD)
    cosines_SS = np.maximum(cosines_SS - cosines_SS[~np.eye(count, dtype=bool)].min(), 0)
    np.fill_diagonal(cosines_SS, 0)
    sums_S1 = cosines_SS.sum(axis=1, keepdims=True)
    moves_SS = np.where(sums_S1 > 1e-9, cosines_SS / np.where(sums_S1 > 1e-9, sums_S1, 1), 1 / count)
    found_S = np.full(count, 1 / count)
    for _ in range(100):
        before_S, found_S = found_S, 0.15 / count + 0.85 * found_S @ moves_SS
        if np.abs(found_S - before_S).max() < 1e-9:
            break
    return np.asarray(found_S)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_centrality_is_that_of_all_cosines(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(count)
    dense_SD = random.normal(size=(count, 5)) + 1
    counts_SD = np.maximum(random.integers(-4, 3, size=(count, 9)), 0).astype(np.float64)
    counts_SD[0] = 0  # a sentence without a word
    for vectors_SD in (dense_SD, counts_SD, np.ones((count, 4))):
        wanted = readable_centrality(vectors_SD)
        for block in (1, 4_000_000):
            monkeypatch.setattr(selection, "BLOCK", block)
            assert centrality(vectors_SD) == pytest.approx(wanted, abs=1e-9)


def test_a_long_document_takes_no_square_of_memory() -> None:
    texts = [f"w{n % 977} w{n % 101} w{n}" for n in range(6_000)]
    tracemalloc.start()
    assert len(textrank(texts, Settings(3))) == 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120 << 20  # all cosines are 288 MB


def test_what_needs_no_model() -> None:
    texts = ["Cats eat fish.", "Dogs eat meat.", "Cats and dogs eat fish and meat.", "It rained."]
    assert lead(texts, Settings(2)) == (0, 1)
    assert textrank(texts, Settings(1)) == (2,)
    assert centrality(np.ones((1, 3))).tolist() == [1.0]
    assert centrality(np.zeros((3, 2))) == pytest.approx([1 / 3] * 3)
    assert centrality(np.random.default_rng(0).normal(size=(9, 4))).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("names", "cells", "wanted"),
    [
        (("article", "highlights"), ["The sales of the firm rose."] * 3, None),  # one text again and again
        (("article", "highlights"), [f"The sales of firm {n} rose." for n in range(9)], True),
        (("正文", "摘要"), [f"第{n}家公司的销售额今年又增长了很多很多。" for n in range(9)], True),
        (("content", "title"), [f"The sales of firm {n} rose." for n in range(9)], False),
        (("text", "summary"), ["good", "bad"] * 9, None),
        (("text", "label"), [f"The sales of firm {n} rose." for n in range(9)], None),
        (("question", "context", "summary"), [f"The sales of firm {n} rose." for n in range(9)], None),
    ],
)
def test_which_columns_are_summaries(names: tuple[str, ...], cells: list[str], wanted: bool | None) -> None:
    found = summarization.claim(cells, names)
    assert (None if found is None else found.sure) is wanted


def test_what_cannot_be_learned_from_is_refused() -> None:
    task = tasks.named("summarization")
    with pytest.raises(DataError, match="3 texts with a summary"):
        dataset_of([("A b. C d.",)] * 3, ["A b."] * 3, task)
    with pytest.raises(DataError, match="2 texts where one is summarized"):
        dataset_of([("A b.", "C d.")] * 9, ["A b."] * 9, task)
    with pytest.raises(DataError, match="no summary shares a word"):
        dataset_of([(f"A b. C d{n}.",) for n in range(9)], ["xyz"] * 9, task)
    with pytest.raises(Refusal, match="no text"):
        task.target_of(3)
    with pytest.raises(Refusal, match="empty"):
        task.target_of(" \u200b")


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"settings": {"unit": "miles"}},
        {"settings": {"lengt": 3}},
        {"settings": {"length": 0}},
        {"settings": {"weights": [1]}},
    ],
)
def test_settings_that_are_not_its_own_are_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"filbert.json settings"):
        summarization.reopen(told, {"architectures": ["BertModel"]})


def test_the_length_is_learned_from_the_summaries() -> None:
    def examples(share: bool) -> list[Example]:
        made = []
        for n in range(4, 24):
            sentences = [f"Item {n} number{i} is x{n * 100 + i}." for i in range(n)]
            kept = sentences[: n // 2 if share else 3]
            made.append(Example((" ".join(sentences),), " ".join(kept)))
        return made

    assert summarization.settle(examples(False), {}, "a") == Settings(3, "sentences")
    found = summarization.settle(examples(True), {}, "a")
    assert found.unit == "share"
    assert 0.4 < found.length <= 0.5


def test_chosen_sentences_are_marked_in_the_page() -> None:
    text = "A <b>. C d. E f."
    parts = highlighted(text, [(0, 6), (7, 11), (12, 16)], [0, 2])
    assert tag("p", parts) == "<p><mark>A &lt;b&gt;.</mark> C d. <mark>E f.</mark></p>"
    assert "".join(map(str, highlighted(text[:9], [(0, 6), (7, 11), (12, 16)], [1, 2]))).endswith("<mark>C </mark>")


def test_it_learns_which_sentences_are_taken(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts, summaries = [], []
    for n in range(60):
        others = [f"The {random.choice(['cat', 'dog', 'cow'])} sees {n}." for _ in range(2)]
        at, kept = int(random.integers(0, 3)), f"Result {random.choice(['up', 'down'])} by {n}."
        texts.append((" ".join([*others[:at], kept, *others[at:]]),))
        summaries.append(kept)
    data = dataset_of(texts, summaries, tasks.named("summarization"))
    assert data.settings == Settings(1, "sentences")
    config = TrainConfig(epochs=3, precision="fp32", batch_size=8, learning_rate=3e-4)
    done = fit(data, tmp_path / "run", base="filbert-mini", config=config)
    scores = done.report["scores"]["validation"]
    assert scores["rouge1"]["value"] > 0.9 > scores["beside"]["TextRank"]["rouge1"]["value"]
    assert scores["beside"]["oracle"]["rouge1"]["value"] >= scores["rouge1"]["value"]
    engine = load(done.folder, device="cpu")
    new = "The dog sees 3. Result up by 9. The cow sees 1."
    (found,) = engine.predict([new])
    assert found.summary == "Result up by 9."
    assert found.confidence > 0.5
    assert engine.predict([new * 40])[0].chosen  # several windows
    page = (done.folder / "report.html").read_text("utf-8")
    assert "linear" not in page
    for said in ("oracle", "TextRank"):
        assert said in page
    assert "filbert summarize" in (done.folder / "README.md").read_text("utf-8")
