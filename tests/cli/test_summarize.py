"""`filbert summarize`: a text, a file, stdin or a table, by a model or by a base as it is; lengths; both languages."""

from __future__ import annotations

import json
from pathlib import Path

import finished
import pytest
from command import Run, rows_of

from filbert import Summarizer
from filbert.errors import ConfigError
from filbert.text.sentences import split

ENGLISH = (
    "Sales of the firm rose by 5%. It rained on Friday. Profits of the firm rose as sales rose. "
    "The boss has a dog. Shares of the firm rose with its profits."
)
CHINESE = "公司的销售额增长了。星期五下雨了。公司的利润随销售额增长。老板有一只狗。公司的股票也增长了。"


@pytest.fixture
def model() -> Path:
    return finished.run("summarization").folder


def test_a_text_is_summarized_by_a_model(run: Run, model: Path) -> None:
    (text,) = finished.inputs(1, "summarization")[0]
    ran = run("summarize", model, text, "--sentences", "2")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 2
    assert set(ran.out.splitlines()) <= set(split(text))
    told = run("summarize", model, text, "--sentences", "2", "--json").json
    assert [text[each["begin"] : each["end"]] for each in told["sentences"]] == ran.out.splitlines()
    assert 0 < told["confidence"] < 1


@pytest.mark.parametrize(("base", "text"), [("filbert-mini", ENGLISH), ("filbert-mini", CHINESE)])
def test_without_training_central_sentences_are_taken(run: Run, base: str, text: str) -> None:
    ran = run("summarize", text, "--base", base, "--sentences", "3")
    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 3
    told = run("summarize", text, "--base", base, "--sentences", "3", "--json").json
    places = [(each["begin"], each["end"]) for each in told["sentences"]]
    assert places == sorted(places)
    assert [text[begin:end] for begin, end in places] == ran.out.splitlines()
    assert "base filbert-mini" in ran.err
    assert "confidence" not in told


def test_a_file_and_stdin_are_one_text_and_lengths_hold(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "news.txt").write_bytes(b"\xef\xbb\xbf" + ENGLISH.replace(". ", ".\r\n").encode())
    by_file = run("summarize", "news.txt", "--base", "filbert-mini", "--words", "9")
    assert by_file.code == 0, by_file.err
    assert len(by_file.out.split()) <= 9
    piped = run("summarize", "-", "--base", "filbert-mini", "--words", "9", stdin=ENGLISH.replace(". ", ".\n").encode())
    assert piped.out == by_file.out
    shares = [len(run("summarize", model, "news.txt", "--share", share).out.splitlines()) for share in ("0.2", "0.6")]
    assert shares == [1, 3]
    assert len(run("summarize", model, "news.txt", "--characters", "40").out.strip()) <= 40


def test_a_table_gets_a_column(run: Run, model: Path, tmp_path: Path) -> None:
    rows = [{"id": n, "document": text} for n, (text,) in enumerate(finished.inputs(4, "summarization"))]
    lines = "\n".join(json.dumps(row) for row in [*rows, {"id": 9, "document": " "}])
    (tmp_path / "many.jsonl").write_text(lines + "\n", encoding="utf-8")
    ran = run("summarize", model, "many.jsonl", "--sentences", "1", "-o", "out.csv")
    assert ran.code == 0, ran.err
    assert "5 rows read = 4 summarized + 1 empty_text" in ran.out
    found = rows_of(tmp_path / "out.csv")
    for row, given in zip(found, rows, strict=False):
        begin, end = map(int, row["places"].split("-"))
        assert given["document"][begin:end] == row["summary"]
    assert found[4]["error"] == "empty_text"
    assert run("summarize", model, "many.jsonl", "-o", "out.csv").code == 2  # nothing is overwritten


def test_outputs_spare_the_model_and_are_no_input(run: Run, model: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    rows = [json.dumps({"document": text}) for (text,) in finished.inputs(3, "summarization")]
    (texts / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    log = model / "train.jsonl"
    before = log.read_bytes()
    ran = run("summarize", model, "texts", "-o", log, "--overwrite")
    assert (ran.code, log.read_bytes()) == (2, before)
    assert "is a file of the model" in ran.err
    for _ in range(2):
        ran = run("summarize", model, "texts", "-o", "texts/train.summaries.csv", "--overwrite")
        assert ran.code == 0, ran.err
        assert "3 rows read" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("MODEL",), "give a model and a text"),
        (("MODEL", "A b.", "--base", "minilm"), "choose one of them"),
        (("MODEL", "A b.", "--sentences", "1", "--words", "2"), "--sentences and --words"),
        (("MODEL", "A b.", "--share", "2"), "--share is 2"),
        (("MODEL", "missing.txt"), "does not exist"),
        (("A b.", "--base", "tiny"), "random weights"),
        (("MODEL", " "), "nothing to read"),
        (("MODEL", "A b.", "-o", "out.csv"), "the summary of one text is printed"),
        (("MODEL", "A b.", "--overwrite"), "the summary of one text is printed"),
    ],
)
def test_what_makes_no_sense_is_said(run: Run, model: Path, words: tuple[str, ...], said: str) -> None:
    ran = run("summarize", *(str(model) if word == "MODEL" else word for word in words))
    assert ran.code == 2
    assert said in ran.err


def test_another_tasks_model_is_refused(run: Run) -> None:
    ran = run("summarize", finished.run("single-label").folder, "A b. C d.")
    assert ran.code == 2
    assert "is a model for single-label" in ran.err


def test_files_of_documents_and_summaries_are_fitted(run: Run, tmp_path: Path) -> None:
    data = finished.data("summarization", count=60)
    rows = [
        {"article": each.text, "highlights": f"{each.target} {n}"}
        for n, each in enumerate([*data.splits.train, *data.splits.validation])
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    ran = run("fit", "pairs.jsonl", "--base", "tiny", "--epochs", "1", "-o", "m")
    assert ran.code == 0, ran.err
    assert "a summary for each text" in ran.err
    assert "text: 'article', label: 'highlights'" in ran.err
    assert "ROUGE-1" in ran.out
    titles = [{"content": row["article"], "title": row["highlights"]} for row in rows]
    (tmp_path / "titles.jsonl").write_text("\n".join(map(json.dumps, titles)) + "\n", encoding="utf-8")
    asked = run("fit", "titles.jsonl", "--base", "tiny", "--epochs", "1", "-o", "t")
    assert asked.code == 2
    assert "--task summarization or --task single-label" in asked.err
    measured = run("evaluate", "m", "pairs.jsonl")
    assert measured.code == 0, measured.err
    assert "ROUGE-L" in measured.out


def test_from_python() -> None:
    plain = Summarizer(base="filbert-mini")
    assert len(split(plain.summarize(ENGLISH, sentences=2))) == 2
    assert plain.summarize(CHINESE, sentences=1) in split(CHINESE)
    (found,) = plain.predict([ENGLISH])
    assert len(found.chosen) == 3  # the length of one call is not kept
    texts = [text for (text,) in finished.inputs(40, "summarization")]
    summaries = [finished.TARGETS["summarization"][n % 4] for n in range(40)]
    model = Summarizer(base="tiny", epochs=1, precision="fp32").fit(texts, summaries)
    assert set(split(model.summarize(texts[0]))) <= set(split(texts[0]))
    for told in ([("a b", "c d")], [("a b", "c d")] * 2):
        with pytest.raises(ConfigError, match="X holds pairs"):
            plain.predict(told)  # type: ignore[arg-type]
    for wrong in ((texts, None), (texts, summaries[:3]), ("one text", summaries)):
        with pytest.raises(ConfigError, match="give "):
            Summarizer(base="tiny").fit(*wrong)
