"""`filbert predict` and `evaluate` for every task: the same cells everywhere, pairs, remembered columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import finished
import pytest
from command import TRAIN, Run, rows_of
from python_calamine import CalamineWorkbook

from filbert import Engine, load, tasks

each_task = pytest.mark.parametrize("name", list(tasks.TASKS))
each_of_one_text = pytest.mark.parametrize("name", [name for name in tasks.TASKS if name not in finished.ASKED])
each_of_pairs = pytest.mark.parametrize("name", [name for name in tasks.TASKS if name not in finished.ALONE])
SUBJECTS = {"post": ("Parcel never came", "Parcel is late"), "money": ("Invoice is wrong", "Invoice not paid")}


def write_tickets(path: Path, columns: tuple[str, ...] = ("title", "body", "queue"), count: int = 60) -> Path:
    """Tickets of which the title tells the queue, and the body nothing."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, columns, extrasaction="ignore")
        rows.writeheader()
        for n in range(count):
            queue = ("post", "money")[n % 2]
            title, body = f"{SUBJECTS[queue][n // 2 % 2]} {n}", f"Please see above and help me soon. Ticket {n}."
            rows.writerow({"title": title, "body": body, "queue": queue})
    return path


@each_of_one_text
def test_one_text_is_answered_by_the_cells_of_a_row(run: Run, tmp_path: Path, name: str) -> None:
    folder, text = finished.run(name).folder, "good long text 3"
    (tmp_path / "new.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    told = run("predict", folder, "new.jsonl", "-o", "out.jsonl", "--json").json
    assert (told["read"], told["scored"], told["by_linear"]) == (1, 1, 0)
    engine = load(folder, device="cpu")
    assert list(told["answers"]) == list(engine.task.tally(engine.predict(text)[0]))  # numbers are not counted
    row = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert run("predict", folder, text, "--json").json == row
    shown = run("predict", folder, text)
    assert (shown.code, bool(shown.out.strip())) == (0, True)


def test_thresholds_are_said_once(run: Run, tmp_path: Path) -> None:
    """Of labels that are given from a tuned probability on, and of "no answer"."""
    (tmp_path / "new.csv").write_text("text\ngood text 1\nbad text 2\n")
    folder = finished.run("multi-label").folder
    engine = load(folder, device="cpu")
    ran = run("predict", folder, "new.csv")
    assert ran.err.count("given from these probabilities on:") == 1
    assert all(f"'{label}' {number:.3f}" in ran.err for label, number in _thresholds(engine).items())
    assert run("predict", folder, "new.csv", "--overwrite", "--json").json["thresholds"] == _thresholds(engine)
    assert "given from these probabilities on: " in run("predict", folder, "good text 1").err
    asked = finished.run("question-answering").folder
    (tmp_path / "asked.csv").write_text("question,context\nis it fine?,It is fine.\n")
    told = run("predict", asked, "asked.csv", "--json").json
    assert told["no_answer_threshold"] == load(asked, device="cpu").settings.threshold
    assert "given from" not in run("predict", finished.run("regression").folder, "good text 1").err


def _thresholds(engine: Engine) -> dict[str, float]:
    return dict(zip(engine.settings.labels, engine.settings.thresholds, strict=True))


@each_of_pairs
def test_a_pair_is_answered_as_its_row_is(run: Run, tmp_path: Path, name: str) -> None:
    folder = finished.run(name, pairs=True).folder
    pair = {"text": "good text 1", "text_pair": "bad text 2"}
    (tmp_path / "new.jsonl").write_text(json.dumps(pair) + "\n", encoding="utf-8")
    assert run("predict", folder, "new.jsonl", "-o", "out.jsonl").code == 0
    told = run("predict", folder, pair["text"], "--pair", pair["text_pair"], "--json").json
    assert told == json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    alone = run("predict", folder, pair["text"])
    assert (alone.code, alone.out) == (2, "")
    assert "takes a pair of texts" in alone.err


def test_a_model_of_one_text_refuses_a_pair(run: Run, model: Path) -> None:
    ran = run("predict", model, "a text", "--pair", "another")
    assert (ran.code, ran.out) == (2, "")
    assert "takes one text" in ran.err


@each_of_one_text
def test_a_spreadsheet_comes_out_as_one(run: Run, tmp_path: Path, name: str) -> None:
    folder = finished.run(name).folder
    (tmp_path / "new.csv").write_text("text\n=1+1 is a text\ngood film\n", encoding="utf-8")
    assert run("predict", folder, "new.csv", "-o", "out.xlsx").code == 0
    header, first, _ = CalamineWorkbook.from_path(str(tmp_path / "out.xlsx")).get_sheet_by_index(0).to_python()
    assert first[0] == "=1+1 is a text"
    engine = load(folder, device="cpu")
    kinds = engine.task.columns(engine.settings)
    numbers = [cell for key, cell in zip(header, first, strict=True) if kinds.get(key) in ("float", "int")]
    assert numbers
    assert all(isinstance(cell, float | int) for cell in numbers)


@pytest.mark.parametrize(("bom", "words"), [(b"", ["--bom"]), (b"\xef\xbb\xbf", [])], ids=["asked for", "kept"])
def test_excel_gets_its_byte_order_mark(run: Run, model: Path, tmp_path: Path, bom: bytes, words: list[str]) -> None:
    (tmp_path / "new.csv").write_bytes(bom + "text\n好看 film\n".encode())
    assert run("predict", model, "new.csv", "-o", "out.csv", *words).code == 0
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbftext,")
    (tmp_path / "plain.csv").write_text("text\ngood film\n", encoding="utf-8")
    assert run("predict", model, "plain.csv", "-o", "plain.out.csv").code == 0
    assert (tmp_path / "plain.out.csv").read_bytes().startswith(b"text,")


def test_the_columns_of_the_training_are_remembered(run: Run, tmp_path: Path) -> None:
    write_tickets(tmp_path / "tickets.csv")
    told = run("fit", "tickets.csv", "--text", "title", "--label", "queue", *TRAIN, "--no-baseline", "-o", "m")
    assert told.code == 0, told.err
    ran = run("predict", "m", "tickets.csv", "-o", "found.csv")
    assert "text: 'title'" in ran.err
    assert "as the model was trained" in ran.err
    run("predict", "m", "tickets.csv", "-o", "told.csv", "--text", "title")
    run("predict", "m", "tickets.csv", "-o", "body.csv", "--text", "body")
    assert rows_of(tmp_path / "found.csv") == rows_of(tmp_path / "told.csv") != rows_of(tmp_path / "body.csv")
    assert "text: 'title', label: 'queue' (as the model was trained)" in run("evaluate", "m", "tickets.csv").err
    write_tickets(tmp_path / "bodies.csv", ("body", "queue"))
    without = run("predict", "m", "bodies.csv")
    assert "was trained on column 'title', which this file lacks: 'body' is read" in without.err


def test_columns_that_are_joined_are_joined_again(run: Run, tmp_path: Path) -> None:
    write_tickets(tmp_path / "tickets.csv")
    assert (
        run("fit", "tickets.csv", "--text", "title,body", "--label", "queue", *TRAIN, "--no-baseline", "-o", "m").code
        == 0
    )
    ran = run("predict", "m", "tickets.csv", "-o", "out.csv")
    assert "text: 'title' + 'body'" in ran.err
    row = rows_of(tmp_path / "out.csv")[0]
    alone = run("predict", "m", f"{row['title']}\n{row['body']}", "--json").json
    assert float(row["probability_post"]) == pytest.approx(alone["probability_post"], abs=2e-6)


@each_task
def test_evaluate_prints_every_figure_of_the_task(run: Run, tmp_path: Path, name: str) -> None:
    task = tasks.TASKS[name]
    names = ("question", "context") if name in finished.ASKED else ("text",)
    rows = [
        {**dict(zip(names, texts, strict=True)), task.TARGET: target}
        for texts, target in zip(finished.inputs(20, name), [*finished.TARGETS[name]] * 5, strict=True)
    ]
    lines = (json.dumps(row if name != "regression" else {**row, task.TARGET: str(row[task.TARGET])}) for row in rows)
    (tmp_path / "labelled.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = finished.run(name).folder
    ran = run("evaluate", folder, "labelled.jsonl")
    assert ran.code == 0, ran.err
    told = run("evaluate", folder, "labelled.jsonl", "--json").json
    assert told["n"] == 20
    figures = [metric for metric in task.page().metrics if metric.key in told]
    assert len(figures) >= 2
    for metric in figures:
        assert metric.name in ran.out
