"""Question answering files: SQuAD 1.1 and 2.0, CMRC's two layouts, JSON lines, tables; what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filbert import tasks
from filbert.errors import DataError
from filbert.finetuning.dataset import read_dataset, reading_of
from filbert.inference.writers import open_writer
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example
from filbert.tasks.question_answering.settings import Answer

TEXT = "The Navy won in 1921. The Army lost in 1921."


def asked(question: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    told = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": question[:3], "question": question, "answers": told, **more}


def squad(*qas: dict[str, Any], context: str = TEXT) -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def read(
    path: Path, options: ReadOptions | None = None, rejects: Path | None = None
) -> tuple[list[Example], list[str], str]:
    source = open_source(path, options, rejects=rejects or path.parent / "rejects.jsonl")
    task, reading = reading_of(source, options or ReadOptions(), None)
    examples = list(source.examples(parse=reading.parse, locate=reading.locate))
    return examples, [*source.found, *reading.notes()], task.NAME


def spans(example: Example) -> list[tuple[str, int]]:
    return [(answer.text, answer.start) for answer in example.target]


@pytest.mark.parametrize("indent", [None, 1])
def test_squad_is_found_by_itself(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "a.json"
    qas = [
        asked("Who won?", ("Navy", 4), ("The Navy", 0)),
        asked("Who drew?", is_impossible=True, plausible_answers=[]),
    ]
    path.write_text(json.dumps(squad(*qas), indent=indent), "utf-8")
    (won, drew), found, task = read(path)
    assert task == "question-answering"
    assert won.inputs == ("Who won?", TEXT)
    assert spans(won) == [("Navy", 4), ("The Navy", 0)]
    assert drew.target == ()
    assert "questions without an answer: 1" in found
    assert won.inputs[1] is drew.inputs[1]  # a context is in memory once
    assert str(drew.place) == f"{path}[qas]:2"


def test_a_file_of_one_long_line_is_squad_too(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps(squad(asked("Who won?", ("Navy", 4)), context=TEXT + " x" * 2_000_000)), "utf-8")
    assert spans(read(path)[0][0]) == [("Navy", 4)]


def test_cmrcs_older_layout(tmp_path: Path) -> None:
    path = tmp_path / "cmrc.json"
    qas = [{"query_text": "谁写的？", "query_id": "Q1", "answers": ["沈从文", "作家沈从文"]}]
    path.write_text(
        json.dumps([{"context_id": "1", "context_text": "《边城》是作家沈从文写的。", "qas": qas}]), "utf-8"
    )
    (example,), _, _ = read(path)
    assert spans(example) == [("沈从文", 7), ("作家沈从文", 5)]
    assert example.columns["id"] == "Q1"


def test_an_offset_that_is_off_is_mended_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(asked("When did the Army lose?", ("1921", 37)))), "utf-8")
    (example,), found, _ = read(path)
    assert spans(example) == [("1921", 39)]  # not the first one, at 16
    assert "answers found near where answer_start says they are: 1" in found


def test_an_answer_that_is_not_in_its_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(asked("Who?", ("Navy", 4)), asked("Who?", ("Air Force", 4)))), "utf-8")
    with pytest.raises(
        DataError, match=r"a\.json\[qas\]:2 answers — the answer 'Air Force' does not stand in its text"
    ):
        read(path)


def test_a_further_answer_that_is_not_in_the_text_counts_in_scoring_only(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(asked("Who?", ("the sailors", 0), ("Navy", 4)))), "utf-8")
    (example,), found, _ = read(path)
    assert spans(example) == [("Navy", 4), ("the sailors", -1)]  # training takes the first
    assert any("count in scoring only: 1" in line for line in found)


@pytest.mark.parametrize(
    "told",
    [
        lambda text, at: {"answers": {"text": [text], "answer_start": [at]}},
        lambda text, at: {"answers": [{"text": text, "answer_start": at}]},
        lambda text, at: {"answers": [text]},
        lambda text, at: {"answer": text},
        lambda text, at: {"answer": text, "answer_start": at},
        lambda text, at: {"answer": {"text": text, "answer_start": str(at)}},
    ],
)
def test_json_lines(tmp_path: Path, told: Callable[[str, int], dict[str, Any]]) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"question": f"Who won {n}?", "context": f"{n}{TEXT}", **told(f"{n}The Navy", 0)} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    examples, _, task = read(path)
    assert task == "question-answering"
    assert [spans(example) for example in examples] == [[(f"{n}The Navy", 0)] for n in range(3)]


def test_a_table_with_and_without_starts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        f'question,context,answer,answer_start\nA?,"{TEXT}",1921,39\nB?,"{TEXT}",1921,\nC?,"{TEXT}",,\n', "utf-8"
    )
    examples, found, task = read(path)
    assert task == "question-answering"
    assert [spans(example) for example in examples] == [[("1921", 39)], [("1921", 16)], []]
    assert any("of which the first is taken" in line and line.endswith(": 1") for line in found)


@pytest.mark.parametrize("name", ["上下文", "原文", "文章"])
def test_chinese_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"问题,{name},答案\n谁写的？,沈从文写的。,沈从文\n写什么？,他写《边城》。,《边城》\n", "utf-8")
    examples, _, task = read(path)
    assert task == "question-answering"
    assert [spans(example) for example in examples] == [[("沈从文", 0)], [("《边城》", 2)]]


def test_yes_and_no_are_no_answers_out_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "boolq.csv"
    path.write_text(
        "question,passage,answer\n" + "".join(f"is it {n}?,{TEXT} {n},{'yes' if n % 2 else 'no'}\n" for n in range(30))
    )
    assert read(path)[2] == "single-label"


def test_without_labels_the_pairs_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(asked("Who won?"), asked("Who lost?"))), "utf-8")
    source = open_source(path, labelled=False)
    assert [example.inputs for example in source.examples()] == [("Who won?", TEXT), ("Who lost?", TEXT)]


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        ({"question": None}, "question — is missing in .* — write"),
        ({"question": "\ud800?", "answers": []}, "row — .*half a character"),
        ("x", "question — is missing in 'x'"),
        ({"question": "Who?", "answer": []}, "answers — are missing among .* — write"),
    ],
)
def test_a_bad_question_is_named_and_can_be_set_aside(tmp_path: Path, broken: Any, wrong: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad(asked("Who won?", ("Navy", 4)), broken)), "utf-8")
    with pytest.raises(DataError, match=rf"a\.json\[qas\]:2 {wrong}"):
        read(path)
    assert len(read(path, ReadOptions(on_bad_rows="quarantine"))[0]) == 1


@pytest.mark.parametrize("layout", ["squad", "list"])
@pytest.mark.parametrize("broken", [None, 7, "x", {"title": "t"}, {"paragraphs": None}])
def test_what_holds_no_questions_is_named_and_the_rest_is_read(tmp_path: Path, layout: str, broken: Any) -> None:
    path = tmp_path / "a.json"
    first, last = (squad(asked(question, ("Navy", 4)))["data"][0] for question in ("Who won?", "Who lost?"))
    path.write_text(
        json.dumps({"data": [first, broken, last]} if layout == "squad" else [first, broken, last]), "utf-8"
    )
    where = "article 2" if layout == "squad" else "element 2"
    with pytest.raises(DataError, match=rf"a\.json\[qas\] {where} — is .*, no object with paragraphs or qas — correct"):
        read(path)
    examples = read(path, ReadOptions(on_bad_rows="quarantine"))[0]
    assert [example.inputs[0] for example in examples] == ["Who won?", "Who lost?"]


def test_a_paragraph_that_is_null_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = squad(asked("Who won?", ("Navy", 4)))
    whole["data"][0]["paragraphs"].append(None)
    path.write_text(json.dumps(whole), "utf-8")
    with pytest.raises(DataError, match="article 1, paragraph 2 — is null, no object"):
        read(path)


def test_questions_that_say_nothing_of_answers_have_no_label(tmp_path: Path) -> None:
    """A wrong key, or a file for testing without its answers, is no file of unanswerable questions."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad({"question": "Who won?"}, {"question": "Who lost?"})), "utf-8")
    with pytest.raises(DataError, match=r"a\.json\[qas\]:1 answers — are missing"):
        open_source(path)
    assert len(list(open_source(path, labelled=False).examples())) == 2
    path.write_text(json.dumps(squad({"question": "Who won?", "is_impossible": True})), "utf-8")
    assert read(path)[0][0].target == ()


def test_numbers_are_written_as_they_stood(tmp_path: Path) -> None:
    """A start of 8 is no "8", in JSON lines nor in a CSV; an answer that is a number is read as text."""
    qas = [
        asked("1 place", ("17", 8)),
        {"id": 17, "question": "2 How much?", "answers": [{"text": 17, "answer_start": 8}]},
        {"id": 18, "question": "3 How much?", "answers": [17]},
        {"id": 19, "question": "4 How much?", "answers": "17"},
    ]
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps(squad(*qas, context="It cost 17 in 2001.")), "utf-8")
    source = open_source(path, labelled=False)
    rows = [example.columns for example in source.examples()]
    for name in ("out.jsonl", "out.csv"):
        with open_writer(tmp_path / name, source.columns) as write:
            for row in rows:
                write(dict(row))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [(line["id"], line["answers"]) for line in lines] == [(each["id"], each["answers"]) for each in qas]
    assert '""answer_start"": 8}' in (tmp_path / "out.csv").read_text("utf-8")
    reading = tasks.named("question-answering").read([], {})
    labelled = open_source(path).examples(parse=reading.parse, locate=reading.locate)
    assert [example.target[0] for example in labelled] == [Answer("17", 8)] * 4


def test_no_question_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad()), "utf-8")
    with pytest.raises(DataError, match="no question in it"):
        open_source(path)


def test_texts_asked_several_times_stay_on_one_side(tmp_path: Path) -> None:
    rows = [
        squad(*[asked(f"{n} {m}?", ("Navy", 4)) for m in range(3)], context=f"{TEXT} {n}")["data"][0] for n in range(30)
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": rows}), "utf-8")
    splits = read_dataset(path).splits
    train, held = ({example.inputs[1] for example in part} for part in (splits.train, splits.validation))
    assert held
    assert not train & held


@pytest.mark.parametrize(
    ("name", "questions"),
    [
        ("policyqa/dev.json", 3809),
        ("cmrc2018/cmrc2018_dev.json", 3219),
        ("cmrc2018/cmrc2018_trial.json", 1000),  # of 1,002 two have no question
        ("xquad/xquad.en.json", 1190),
        ("xquad/xquad.zh.json", 1190),
    ],
)
def test_every_answer_of_the_public_sets_stands_where_it_is_said_to(
    real_data: Callable[[str], Path], tmp_path: Path, name: str, questions: int
) -> None:
    examples, _, task = read(real_data(name), ReadOptions(on_bad_rows="quarantine"), tmp_path / "rejects.jsonl")
    assert (len(examples), task) == (questions, "question-answering")
    for example in examples:
        assert example.target[0].start >= 0
        for answer in example.target:
            assert answer.start < 0 or example.inputs[1][answer.start : answer.end] == answer.text
