"""Questions on texts: windows that lose no answer, the best span of all windows, thresholds, the loss, transformers."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import run
from transformers import AutoModelForQuestionAnswering

from filbert.errors import DataError
from filbert.inference.engine import load
from filbert.metrics.spans import measured
from filbert.records import Example, Features, FloatArray
from filbert.tasks import question_answering as task
from filbert.tasks.question_answering.baseline import guessed
from filbert.tasks.question_answering.candidates import Candidates, candidates
from filbert.tasks.question_answering.fitting import best_threshold
from filbert.tasks.question_answering.objective import span_loss, span_loss_readable
from filbert.tasks.question_answering.outputs import AnswerPrediction
from filbert.tasks.question_answering.settings import Answer, Settings, located
from filbert.tasks.question_answering.windows import starts
from filbert.text.tokenizer import SPECIALS, Tokenizer

WORDS = [chr(ord("a") + n) for n in range(26)]
TOKENIZER = Tokenizer.from_vocab([*SPECIALS, *WORDS, "##b", "天", "地", "人", "who", "?", ",", "."])


def windows(question: str, context: str, answer: Answer | None, settings: Settings, length: int) -> list[Features]:
    target = None if answer is None else (answer,)
    return task.features(TOKENIZER.encode([question, context], offsets=True), target, TOKENIZER, settings, length)


def as_if_sure(parts: Sequence[Features], answer: Answer) -> list[FloatArray]:
    """Return what a head would give that knows the answer: high at its ends, [CLS] high where it is not."""
    rows = []
    for part in parts:
        logits_L2 = np.zeros((len(part), 2))
        logits_L2[part.target, (0, 1)] = 9
        rows.append(logits_L2)
    return rows


@pytest.mark.parametrize("length", [10, 11, 14, 20, 64])
@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_no_answer_is_lost_at_the_edge_of_a_window(length: int, tokens: int) -> None:
    """Each answer of up to `longest` tokens is whole in a window, and comes out of it: first, last, across each cut."""
    context = " ".join(WORDS)
    settings = Settings(stride=2, longest=3)
    for at in range(len(WORDS) - tokens + 1):
        answer = Answer(" ".join(WORDS[at : at + tokens]), 2 * at)
        parts = windows("who?", context, answer, settings, length)
        assert all(len(part) <= length for part in parts)
        assert any(part.target.any() for part in parts)
        found = candidates(as_if_sure(parts, answer), parts, settings)
        assert (found.text(0), found.place(0)) == (answer.text, (answer.start, answer.end))


def test_windows_share_what_they_should_and_cover_all() -> None:
    parts = windows("who?", " ".join(WORDS), None, Settings(stride=4, longest=3), 15)
    bounds = [(part.begin, part.begin + len(part) - 5) for part in parts]  # [CLS] who ? [SEP] … [SEP]
    assert bounds == [(0, 10), (6, 16), (12, 22), (18, 26)]
    assert windows("who?", " ".join(WORDS), None, Settings(), 64)[0].target is None


def test_a_question_longer_than_the_window_is_cut_and_the_text_is_not() -> None:
    settings = Settings(stride=1, longest=2)
    parts = windows("who " * 200, "a b c d e", Answer("e", 8), settings, 16)
    assert all(len(part) <= 16 and part.cut == 194 for part in parts)
    assert candidates(as_if_sure(parts, Answer("e", 8)), parts, settings).text(0) == "e"
    (whole,) = windows("who " * 200, "a b c", None, settings, 512)
    assert whole.cut == 200 - 64


@pytest.mark.parametrize(
    ("tokens", "room", "longest", "most"), [(500, 113, 128, 15), (400, 123, 107, 10), (40, 3, 30, 38)]
)
def test_long_answers_do_not_let_windows_step_token_by_token(tokens: int, room: int, longest: int, most: int) -> None:
    begins = list(starts(tokens, room, Settings(longest=longest)))
    assert len(begins) <= most
    assert begins[-1] + room >= tokens
    assert all(b - a <= room for a, b in itertools.pairwise(begins))  # nothing between two windows


def test_an_answer_longer_than_any_window_is_no_target() -> None:
    parts = windows("who?", " ".join(WORDS), Answer(" ".join(WORDS), 0), Settings(stride=2, longest=3), 12)
    assert not any(part.target.any() for part in parts)


def test_a_text_without_tokens_has_no_answer() -> None:
    parts = windows("who?", "\u0001", None, Settings(), 32)
    (found,) = task.decode([[np.ones((len(parts[0]), 2))]], Settings(), [parts])
    assert isinstance(found, AnswerPrediction)
    assert (found.answer, found.no_answer, found.start) == ("", True, None)
    assert found.confidence == 1.0


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("天地人天地", "人"),
        ("天地人。天地", "地人"),
        ("👍🏽 a 👩‍👩‍👧 b c", "b"),
        ("e\u0301 a b", "a b"),  # an accent of its own code point
        ("A B C", "B C"),  # lower-cased by the tokenizer, not in the answer
        ("ａ\u200bb c", "c"),
        ("ab ab ab", "ab"),
        ("a\r\n\tb  c", "b  c"),
    ],
)
def test_answers_are_cut_out_of_the_original_text(context: str, answer: str) -> None:
    place = located(Answer(answer), context, Counter())
    for length in (9, 32):
        settings = Settings(stride=2, longest=2)
        parts = windows("who?", context, place, settings, length)
        found = candidates(as_if_sure(parts, place), parts, settings)
        assert context[slice(*found.place(0))] == found.text(0) == answer


def test_the_second_of_two_equal_answers_is_found_by_its_place() -> None:
    parts = windows("who?", "a b a b", Answer("b", 6), Settings(), 32)
    assert parts[0].target.tolist() == [7, 7]


def test_the_best_span_of_all_windows_is_given_and_null_is_the_least() -> None:
    parts = windows("who?", " ".join(WORDS), None, Settings(stride=2, longest=2), 12)
    outputs = [np.zeros((len(part), 2)) for part in parts]
    for logits_L2, null in zip(outputs, (5, 1, 3, 4, 4), strict=True):
        logits_L2[0] = null
    outputs[1][6] = 1  # in the second window: tokens from 5 on
    found = candidates(outputs, parts, Settings(stride=2, longest=2))
    assert (found.null, found.scores_K[0], found.text(0)) == (2.0, 2.0, WORDS[parts[1].begin + 2])
    assert len(set(found.spans)) == len(found.spans) == 20
    assert all(last - first < 2 for first, last in found.spans)


def test_starts_after_ends_and_question_tokens_are_no_answers() -> None:
    parts = windows("who?", "a b c", None, Settings(), 32)
    logits_L2 = np.zeros((len(parts[0]), 2))
    logits_L2[2] = 99  # "?"
    logits_L2[6, 0], logits_L2[4, 1] = 5, 5  # starts at c, ends at a
    (found,) = task.decode([[logits_L2]], Settings(), [parts])
    assert isinstance(found, AnswerPrediction)
    assert found.answer in ("c", "a")


def candidate(lead: float) -> Candidates:
    (encoding,) = TOKENIZER.encode(["b"], offsets=True)
    return Candidates(np.array([0.0]), ((0, 0),), lead, encoding)


def test_the_threshold_is_the_one_with_the_best_f1() -> None:
    found, settings = [candidate(lead) for lead in (-3.0, -1.0, 1.0, 4.0)], Settings(unanswerable=True)
    right, none = Example(("who?", "b"), (Answer("b", 0),)), Example(("who?", "b"), ())
    assert best_threshold(found, [right, right, none, none], settings) == 0.0
    assert best_threshold(found, [right, right, none, none], Settings()) == 0.0
    assert 1.0 < best_threshold(found, [right, right, right, none], settings) < 4.0
    assert best_threshold(found, [none] * 4, settings) < -3.0
    assert best_threshold(found, [right] * 4, settings) > 4.0


def test_no_answer_is_said_only_where_it_was_learned() -> None:
    settings = Settings(unanswerable=True, threshold=1.0)
    parts = windows("who?", "a", None, settings, 32)
    logits_L2 = np.zeros((len(parts[0]), 2))
    for null, none in ((0.4, False), (0.6, True)):
        logits_L2[0] = null
        (found,) = task.decode([[logits_L2]], settings, [parts])
        assert isinstance(found, AnswerPrediction)
        assert found.no_answer == none
        assert task.row(found, settings)["no_answer"] == none
        assert found.confidence is not None
        assert found.confidence >= 0.5
        (always,) = task.decode([[logits_L2]], Settings(), [parts])
        assert isinstance(always, AnswerPrediction)
        assert always.answer == "a"
        assert always.confidence == 1.0


def test_alternatives_stand_apart() -> None:
    parts = windows("who?", " ".join(WORDS), None, Settings(longest=3), 64)
    logits_L2 = np.random.default_rng(0).normal(size=(len(parts[0]), 2)) * 3
    (found,) = task.decode([[logits_L2]], Settings(longest=3), [parts])
    assert isinstance(found, AnswerPrediction)
    places = [(found.start, found.end), *((each.start, each.end) for each in found.alternatives)]
    assert len(places) > 1
    assert all(a[1] <= b[0] or b[1] <= a[0] for i, a in enumerate(places) for b in places[:i])  # type: ignore[operator]
    sure = [found.confidence, *(each.confidence for each in found.alternatives)]
    assert sure == sorted(sure, reverse=True)  # type: ignore[type-var]


def test_calibrated_confidence_is_the_share_of_exact_answers() -> None:
    random = np.random.default_rng(1)
    outputs, parts, examples = [], [], []
    for _ in range(200):
        at = int(random.integers(26))
        part = windows("who?", " ".join(WORDS), Answer(WORDS[at], 2 * at), Settings(), 64)
        logits_L2 = random.normal(size=(len(part[0]), 2)) * 2
        logits_L2[part[0].target[0]] += 4 * random.integers(2)
        outputs.append([logits_L2 * 5])
        parts.append(part)
        examples.append(Example(("who?", " ".join(WORDS)), (Answer(WORDS[at], 2 * at),)))
    found = task.calibrate(outputs, examples, Settings(), parts)
    assert found.fold.divisor == found.facts["temperature"] > 1.5
    folded = task.decode([[each[0] / found.fold.divisor] for each in outputs], found.settings, parts)
    confidence = np.mean([prediction.confidence for prediction in folded])
    assert confidence == pytest.approx(found.facts["exact"], abs=0.01)
    assert found.facts["confidence_before"] > confidence + 0.1


def test_few_questions_fit_no_temperature() -> None:
    part = windows("who?", "a b", Answer("a", 0), Settings(), 32)
    found = task.calibrate(
        [[np.zeros((len(part[0]), 2))]], [Example(("who?", "a b"), (Answer("a", 0),))], Settings(), [part]
    )
    assert found.fold.divisor == 1.0


def test_the_loss_and_its_readable_twin_agree() -> None:
    torch.manual_seed(0)
    starts = torch.tensor([0, 3, 10, 11])
    targets = torch.tensor([[0, 0], [2, 6], [0, 0]])
    logits = (torch.randn(16, 2) * 30).requires_grad_()  # five rows of no text
    twin = logits.detach().clone().requires_grad_()
    fast, readable = span_loss(logits, starts, targets), span_loss_readable(twin, starts, targets)
    torch.testing.assert_close(fast, readable)
    fast.backward()
    readable.backward()
    torch.testing.assert_close(logits.grad, twin.grad)
    assert logits.grad is not None
    assert not logits.grad[11:].any()


def test_answers_too_long_to_be_given_are_counted() -> None:
    long = " ".join(["a"] * 200)
    train = [Example(("q", long), (Answer("a", 0),))] * 300 + [Example(("q", long), (Answer(long, 0),))] * 2
    encodings = [TOKENIZER.encode(list(train[0].inputs), offsets=True)] * len(train)
    lines = task.settle_pieces(train, encodings, Settings())[1]
    assert lines == [
        "answers of up to 30 tokens are looked for; of 302 training answers 2 are longer and cannot be given"
    ]
    assert "longer" not in task.settle_pieces(train[:9], encodings[:9], Settings())[1][0]


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(DataError, match="has 3 questions with an answer"):
        task.settle([Example(("q", "a"), (Answer("a", 0),))] * 3 + [Example(("q", "a"), ())], {}, "a.json")


def test_the_longest_answer_is_read_off_the_training_texts() -> None:
    def settled(length: int) -> int:
        text = " ".join(["abb"] * length)  # three pieces a word
        train = [Example(("q", text), (Answer(text, 0),))] * 4
        encodings = [TOKENIZER.encode(list(each.inputs), offsets=True) for each in train]
        found, lines = task.settle_pieces(train, encodings, task.settle(train, {}, "a.json"))
        assert ("4 are longer" in lines[0]) == (length > 100)
        return int(found.longest)

    assert (settled(3), settled(20), settled(5000)) == (30, 60, 128)


def test_the_baseline_answers_beside_the_words_of_the_question() -> None:
    text = "战国无双由光荣开发。沈从文写了《边城》。"
    assert guessed("谁写了《边城》？", text, {}, 1.0, 3).answer == "沈从文"
    assert guessed("Who?", "", {}, 1.0, 3).no_answer


def test_answers_of_a_finished_run_come_back_from_its_settings(tmp_path: Path) -> None:
    folder = run("question-answering").folder
    told = json.loads((folder / "filbert.json").read_text("utf-8"))
    assert told["settings"]["unanswerable"] is True
    assert task.reopen(told, {"architectures": ["BertForQuestionAnswering"]}) == Settings(**told["settings"])
    with pytest.raises(ValueError, match="restore the file"):
        task.reopen({"settings": {"stride": "x"}}, {"architectures": ["BertForQuestionAnswering"]})
    with pytest.raises(ValueError, match="not BertForQuestionAnswering — give another model"):
        task.reopen({}, {"architectures": ["BertForTokenClassification"]})


def test_a_folder_of_others_is_opened_and_always_answers(tmp_path: Path) -> None:
    theirs = AutoModelForQuestionAnswering.from_pretrained(run("question-answering").folder)
    theirs.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((run("question-answering").folder / name).read_bytes())
    engine = load(tmp_path, device="cpu")
    assert engine.task is task
    assert engine.settings == Settings()
    (found,) = engine.predict([("is it kind?", "It is fine and kind.")])
    assert isinstance(found, AnswerPrediction)
    assert found.answer
    assert not found.no_answer


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_model_answers_as_transformers_does_on_the_same_windows(real_data: Callable[[str], Path], count: int) -> None:
    """Questions on privacy policies: start and end logits of each window, and so the answers, agree."""
    engine = load(run("question-answering").folder, device="cpu")
    theirs = AutoModelForQuestionAnswering.from_pretrained(run("question-answering").folder).eval()
    articles = json.loads((real_data("policyqa") / "test.json").read_text("utf-8"))["data"]
    asked = [(q["question"], p["context"]) for a in articles for p in a["paragraphs"] for q in p["qas"]][:count]
    parts = engine.features(asked)
    ours = engine.outputs(parts)
    outputs = []
    for each, rows in zip(parts, ours, strict=True):
        outputs.append([])
        for window, logits_L2 in zip(each, rows, strict=True):
            ids, segments = (torch.as_tensor(x)[None].long() for x in (window.ids, window.segments))
            with torch.inference_mode():
                out = theirs(input_ids=ids, token_type_ids=segments)
            outputs[-1].append(torch.stack((out.start_logits[0], out.end_logits[0]), dim=-1).double().numpy())
            assert np.abs(outputs[-1][-1] - logits_L2).max() <= 1e-4
    one, two = (task.decode(each, engine.settings, parts) for each in (ours, outputs))
    answers = [[found.answer for found in each if isinstance(found, AnswerPrediction)] for each in (one, two)]
    assert len(answers[0]) == count
    assert measured(answers[0], [[answer] for answer in answers[1]], [False] * count)[0].mean() == 1
