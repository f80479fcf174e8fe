"""`filbert ask`, and `fit`, `evaluate` and `predict` for questions on texts, from a file of SQuAD's layout on."""

from __future__ import annotations

import json
from pathlib import Path

import finished
import pytest
from command import TRAIN, Run, rows_of

from filbert import QuestionAnswerer
from filbert.cli import parts
from filbert.errors import ConfigError, DataError

EVIL = finished.EVIL


def write_squad(path: Path, count: int = 40) -> Path:
    """Questions on texts that are asked two things each; a quarter has no answer."""
    paragraphs = []
    for n in range(count // 2):
        context = f"Case {n}. The red box went to Rome. The blue box went to Oslo."
        qas = []
        for color, town in (("red", "Rome"), ("blue", "Oslo")):
            answers = [{"text": town, "answer_start": context.index(town)}] * (n % 4 > 0)
            qas.append({"id": f"{n}{color}", "question": f"Where did the {color} box go?", "answers": answers})
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}), "utf-8")
    return path


def test_from_squad_to_predictions(run: Run, tmp_path: Path) -> None:
    squad = write_squad(tmp_path / "squad.json")
    ran = run("fit", squad, "-o", "model", *TRAIN)
    assert ran.code == 0, ran.err
    assert "an answer out of a text" in ran.err
    assert "without an answer" in ran.err
    told = json.loads((tmp_path / "model" / "filbert.json").read_text("utf-8"))
    assert told["columns"] == {"inputs": [["question"], ["context"]], "target": [["answers"]]}
    scores = run("evaluate", "model", squad, "--json").json
    assert (scores["n"], scores["answerable"], scores["unanswerable"]) == (40, 30, 10)
    (tmp_path / "new.csv").write_text("问题,上下文\n在哪？,在罗马。\n", "utf-8")
    assert run("predict", "model", "new.csv", "-o", "out.csv").code == 0
    (row,) = rows_of(tmp_path / "out.csv")
    assert {"问题", "上下文", "answer", "answer_start", "answer_end", "no_answer", "confidence"} <= set(row)
    again = run("predict", "model", "Where?", "--pair", "In Rome.", "--json").json
    assert again["no_answer"] or "In Rome."[again["answer_start"] : again["answer_end"]] == again["answer"]


def test_ask_a_text_a_file_and_a_folder(run: Run, tmp_path: Path) -> None:
    folder = finished.run("question-answering").folder
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Nothing here.\n\nThe box is\nin Rome.\n", "utf-8")
    (tmp_path / "texts" / "b.txt").write_text("北京市的办公室。\n", "utf-8")
    for context in ("The box is in Rome.", "texts/a.txt", "texts"):
        told = run("ask", folder, "Where is the box?", "--context", context, "--json", "--top", "3").json
        assert told["question"] == "Where is the box?"
        assert told["no_answer"] == (not told["answers"])
        assert 0 <= told["confidence"] <= 1
        for each in told["answers"]:
            assert each["answer"] in each["sentence"]
            if context != "The box is in Rome.":
                lines = Path(each["file"]).read_text("utf-8").splitlines()
                assert each["answer"].split("\n")[0] in lines[each["line"] - 1]
        assert run("ask", folder, "Where is the box?", "--context", context).code == 0
    assert run("ask", folder, "Where?", "--context", "-", stdin=b"In Rome.").code == 0
    asked = run("ask", folder, "where " * 70, "--context", "In Rome.")
    assert "the question is too long: at most its first 64 tokens were read" in asked.err
    assert "question is too long" in run("predict", folder, "where " * 70, "--pair", "In Rome.").err
    assert run("ask", folder, "Where?", "--context", "In Rome.", "--json").json["truncated"] is False


def test_stdin_that_does_not_end_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished.run("question-answering").folder
    monkeypatch.setattr(parts, "MOST", 4)
    ran = run("ask", folder, "Where?", "--context", "-", stdin=b"In Rome.")
    assert (ran.code, ran.out) == (2, "")
    assert "stdin text — is longer than" in ran.err


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["Where?", "--context", "missing.txt"], "does not exist"),
        (["Where?", "--context", " "], "nothing to read"),
        (["\u200b", "--context", "In Rome."], "nothing to read"),
    ],
)
def test_what_cannot_be_asked(run: Run, words: list[str], wrong: str) -> None:
    ran = run("ask", finished.run("question-answering").folder, *words)
    assert (ran.code, ran.out) == (2, "")
    assert wrong in ran.err


def test_a_classifier_is_not_asked(run: Run) -> None:
    ran = run("ask", finished.run("single-label").folder, "Where?", "--context", "In Rome.")
    assert (ran.code, ran.out) == (2, "")
    assert "no answers out of texts" in ran.err


def test_the_estimator_answers_as_the_engine(tmp_path: Path) -> None:
    texts = finished.inputs(40, "question-answering")
    answers = [finished.TARGETS["question-answering"][n % 4] for n in range(40)]
    model = QuestionAnswerer(base="tiny", epochs=1, precision="fp32", out=tmp_path / "run")
    model.fit([text[0] for text in texts], [text[1] for text in texts], answers)
    question, context = texts[0]
    found = model.answer(question, context)
    assert found == model.engine_.predict([(question, context)])[0] == model.predict([(question, context)])[0]
    (tmp_path / "a.txt").write_text(context, "utf-8")
    asked = model.ask(question, tmp_path / "a.txt")
    assert asked.no_answer == found.no_answer
    assert asked.confidence == found.confidence
    with pytest.raises(ConfigError, match="40 questions, 40 contexts, 1 answer "):
        model.fit([text[0] for text in texts], [text[1] for text in texts], ["fine"])
    with pytest.raises(ConfigError, match="go together"):
        model.fit("a.json", ["a"])
    with pytest.raises(DataError, match="y:3 answers — the answer 'nowhere' does not stand in its text"):
        model.fit([text[0] for text in texts], [text[1] for text in texts], ["fine"] * 3 + ["nowhere"] + ["fine"] * 36)
