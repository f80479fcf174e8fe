"""`filbert predict`: one text, a file or stdin, the same answer each way; nothing overwritten, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import Run, rows_of, write_texts

from filbert.inference import engine as engine_module
from filbert.inference.writers import open_writer


def test_predict_one_text(run: Run, model: Path) -> None:
    ran = run("predict", model, "What a good film!")
    assert ran.code == 0
    label, first, second = ran.out.splitlines()
    assert label in ("neg", "pos")
    assert first.split()[0] == label
    assert "█" in first
    assert "%" in second


def test_predict_one_text_as_json(run: Run, model: Path) -> None:
    told = run("predict", model, "What a good film!", "--json").json
    probabilities = {label: told.pop(f"probability_{label}") for label in ("neg", "pos")}
    assert set(told) == {"text", "label", "truncated", "unk_ratio", "error"}
    assert sum(probabilities.values()) == pytest.approx(1, abs=2e-6)
    assert told["label"] == max(probabilities, key=probabilities.__getitem__)


def test_D13_a_text_beyond_the_vocabulary_is_answered_and_said(run: Run, model: Path, tmp_path: Path) -> None:
    ran = run("predict", model, "这部电影真好看")
    assert ran.code == 0
    assert "no pieces for 100% of the text" in ran.err
    (tmp_path / "new.csv").write_text("text\na good film\n这部电影真好看\nfilm 👍🏽 film a\n", encoding="utf-8")
    ran = run("predict", model, "new.csv")
    assert "no pieces for much of 1 of 3 texts" in ran.err
    assert [row["unk_ratio"] for row in rows_of(tmp_path / "new.predictions.csv")] == ["0.0", "1.0", "0.25"]
    assert "warning" not in run("predict", model, "a good film").err


def test_predict_a_file(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "new.csv", 5, header="text,label")
    source.write_text(source.read_text() + '" ",pos\n"=cmd|\'/c calc\'!A1",neg\n' + "word " * 600 + ",neg\n")
    ran = run("predict", model, "new.csv")
    assert ran.code == 0, ran.err
    rows = rows_of(tmp_path / "new.predictions.csv")
    added = ["predicted_label", "probability_neg", "probability_pos", "truncated", "unk_ratio", "error"]
    assert list(rows[0]) == ["text", "label", *added]
    assert [row["text"] for row in rows] == [row["text"] for row in rows_of(source)]  # in order, unchanged
    assert rows[6]["text"] == "=cmd|'/c calc'!A1"
    assert rows[5]["error"] == "empty_text"  # D10
    assert rows[5]["predicted_label"] == rows[5]["probability_neg"] == ""
    assert rows[7]["truncated"] == "true"
    assert "8 rows read = 7 scored + 1 empty_text · 1 truncated" in ran.out
    assert "predictions  new.predictions.csv" in ran.out
    assert not list(tmp_path.glob("*.part"))


def test_file_sentence_and_stdin_agree(run: Run, model: Path, tmp_path: Path) -> None:
    text = "a dull film, number 7"
    (tmp_path / "one.csv").write_text(f'id,text\n7,"{text}"\n')
    alone = run("predict", model, text, "--json").json
    run("predict", model, "one.csv", "-o", "one.jsonl")
    row = json.loads((tmp_path / "one.jsonl").read_text())
    piped = run("predict", model, "-", stdin=f"{text}\n\n".encode())
    first, empty = csv.DictReader(io.StringIO(piped.out))
    for name in ("probability_neg", "probability_pos"):
        assert row[name] == pytest.approx(alone[name], abs=2e-6)
        assert float(first[name]) == pytest.approx(alone[name], abs=2e-6)
    assert first["text"] == text
    assert empty["error"] == "empty_text"
    assert row["id"] == "7"
    assert "2 rows read = 1 scored + 1 empty_text" in piped.err


def test_predict_writes_tsv_and_parquet(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": 'tab\t, line\r\nand "quote" 正面'}) + '\n{"text": "b"}\n')
    for name in ("out.tsv", "out.parquet"):
        ran = run("predict", model, "in.jsonl", "-o", name, "--json")
        assert ran.json["out"] == name
        assert (ran.json["read"], ran.json["scored"], ran.json["errors"]) == (2, 2, {})
    assert rows_of(tmp_path / "out.tsv", "\t")[0]["text"] == 'tab\t, line\r\nand "quote" 正面'
    table_ = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert table_[0]["text"] == 'tab\t, line\r\nand "quote" 正面'
    assert table_[0]["probability_neg"] + table_[0]["probability_pos"] == pytest.approx(1, abs=1e-5)
    assert table_[0]["truncated"] is False
    assert table_[0]["error"] is None


def test_json_lines_come_out_as_they_went_in(run: Run, model: Path, tmp_path: Path) -> None:
    lines = [
        '{"id": 12345678901234567890, "text": "a film", "x": 1.0, "y": null, "z": {"a": [1, 1.50]}}',
        '{"text": "a good film", "late": true, "id": 7}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    assert run("predict", model, "in.jsonl", "-o", "out.jsonl").code == 0
    for before, after in zip(lines, (tmp_path / "out.jsonl").read_text().splitlines(), strict=True):
        assert after.startswith(before[:-1] + ', "label": ')


def test_S11_what_was_written_among_the_texts_is_not_read_as_texts(run: Run, model: Path, tmp_path: Path) -> None:
    for name in ("pos", "neg"):
        (tmp_path / name).mkdir()
        for n in range(3):
            (tmp_path / name / f"{n}.txt").write_text(f"{name} film {n}")
    for more in ((), ("--overwrite",), ("-o", "again.predictions.csv")):
        ran = run("predict", model, ".", *more)
        assert ran.code == 0, ran.err
        assert "6 rows read = 6 scored" in ran.out
    assert "read as texts" in run("predict", model, ".", "-o", "out.csv").err


def test_S04_two_predictions_into_one_file(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "new.csv", 3)
    with open_writer(tmp_path / "out.csv", ["text"]):
        ran = run("predict", model, "new.csv", "-o", "out.csv")
    assert ran.code == 2
    assert "being written by another process" in ran.err


def test_predict_never_overwrites(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "new.csv", 3)
    (tmp_path / "out.csv").write_text("mine")
    ran = run("predict", model, "new.csv", "-o", "out.csv")
    assert (ran.code, (tmp_path / "out.csv").read_text()) == (2, "mine")
    assert run("predict", model, "new.csv", "-o", "out.csv", "--overwrite").code == 0
    itself = run("predict", model, "new.csv", "-o", "new.csv", "--overwrite")
    assert itself.code == 2
    assert "input itself" in itself.err
    assert run("predict", model, "new.csv", "-o", model / "train.jsonl", "--overwrite").code == 2
    assert run("predict", model, "new.csv", "-o", "out.docx").code == 2
    assert run("predict", model, "new.csv", "-o", "nowhere/out.csv").code == 2


def test_predict_bad_rows_leave_no_half_file(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "bad.csv", 4)
    source.write_text(source.read_text() + "too,many,fields\n")
    ran = run("predict", model, "bad.csv")
    assert ran.code == 2
    assert "bad.csv:6" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "bad.predictions.csv.rejects.jsonl"]
    kept = run("predict", model, "bad.csv", "--on-bad-rows", "quarantine", "--json").json
    assert (kept["read"], kept["scored"], kept["quarantined"]) == (5, 4, 1)


@pytest.mark.parametrize("name", ["new.csv", "my texts.jsonl", "data/new", "./x", "new.csv.gz"])
def test_a_missing_file_is_not_a_text(run: Run, model: Path, name: str) -> None:
    ran = run("predict", model, name)
    assert (ran.code, ran.out) == (2, "")
    assert "does not exist" in ran.err


@pytest.mark.parametrize("text", ["and/or is a fine film", "好看/不好看", "Nice.", "x" * 5000])
def test_a_text_is_not_a_missing_file(run: Run, model: Path, text: str) -> None:
    assert run("predict", model, text).code == 0


def test_predict_nothing_to_read(run: Run, model: Path) -> None:
    ran = run("predict", model, " \u200b")
    assert ran.code == 2
    assert "\u200b" not in ran.err


def test_predict_undecodable_stdin_names_the_line(run: Run, model: Path) -> None:
    ran = run("predict", model, "-", stdin=b"fine\n\xff\xfe bad\n")
    assert ran.code == 2
    assert "stdin:2" in ran.err
    chinese = run("predict", model, "-", "--encoding", "gb18030", stdin="很好\n".encode("gb18030"))
    assert "很好,pos" in chinese.out or "很好,neg" in chinese.out


def test_predict_wrong_model(run: Run, tmp_path: Path) -> None:
    ran = run("predict", "nowhere", "A text.", "--json")
    assert (ran.code, ran.json["error"]["type"]) == (2, "ModelError")


def test_a_text_that_begins_with_a_hyphen_gets_a_hint(run: Run, model: Path) -> None:
    ran = run("predict", model, "-1 star, never again")
    assert ran.code == 2
    assert "a text that begins with a hyphen stands after --: -- '-1 star, never again'" in ran.err
    assert run("predict", model, "--", "-1 star, never again").code == 0
    assert "hyphen" not in run("predict", model, "-x").err


def test_a_sheet_is_of_spreadsheets_only(run: Run, model: Path) -> None:
    for ran in (
        run("predict", model, "-", "--sheet", "1", stdin=b"fine"),
        run("predict", model, "fine", "--sheet", "1"),
    ):
        assert ran.code == 2
        assert "--sheet" in ran.err


def test_a_bad_row_at_the_end_is_said_before_anything_is_scored(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []
    monkeypatch.setattr(engine_module.Engine, "encode", lambda *given: scored.append(given))
    path = tmp_path / "late.csv"
    path.write_bytes(b"id,text\n" + b"1,a good film\n" * 3_000 + b"2,caf\xe9\n")
    ran = run("predict", model, path, "-o", "out.csv")
    assert (ran.code, scored) == (2, [])
    assert "late.csv:3002 row — byte 0xe9" in ran.err
    assert "scored and kept" not in ran.err
    assert sorted(os.listdir()) == ["late.csv", "out.csv.rejects.jsonl"]


def test_D06_records_of_many_lines_are_said_when_scoring_too(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text('text\n"' + "a line\n" * 25 + '"\n' + "a good film\n" * 5)
    ran = run("predict", model, "long.csv", "-o", "out.csv")
    assert ran.code == 0, ran.err
    assert "records over 20 lines: 1" in ran.err
    assert len(rows_of(tmp_path / "out.csv")) == 6
