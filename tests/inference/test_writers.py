"""Rows come out as they went in, in every format; a file is whole or not there; nothing in a cell is executed."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
import zipfile

import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from filbert.errors import ConfigError, DataError
from filbert.inference import writers
from filbert.inference.writers import FORMATS, check_output, open_writer

COLUMNS = ["text", "label", "score", "n", "truncated", "error"]
TYPES = {"score": "float", "n": "int", "truncated": "bool"}
ROWS = [
    {"text": "good film", "label": "pos", "score": 0.875, "n": 3, "truncated": False, "error": None},
    {"text": "房间，\n很大", "label": "007", "score": None, "n": 0, "truncated": True, "error": "empty_text"},
]


def write(out, rows=ROWS, columns=COLUMNS, types=TYPES, **options):
    with open_writer(out, columns, types, overwrite=True, **options) as put:
        for row in rows:
            put(row)
    return out


def sheet(path):
    return CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()


def test_csv(tmp_path):
    with write(tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == COLUMNS
    assert rows[1:] == [
        ["good film", "pos", "0.875", "3", "false", ""],
        ["房间，\n很大", "007", "", "0", "true", "empty_text"],
    ]


def test_a_bare_carriage_return_is_quoted(tmp_path):
    out = write(tmp_path / "a.csv", [{"text": "a\rb"}], ["text"], {})
    assert out.read_bytes() == b'text\n"a\rb"\n'


def test_json_lines_and_parquet_hold_the_same(tmp_path):
    lines = write(tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    table = pq.read_table(write(tmp_path / "a.parquet"))
    assert table.to_pylist() == ROWS
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "double", "int64", "bool", "string"]


def test_xlsx_has_numbers_as_numbers_and_texts_as_texts(tmp_path):
    assert sheet(write(tmp_path / "a.xlsx")) == [
        COLUMNS,
        ["good film", "pos", 0.875, 3.0, False, ""],
        ["房间，\n很大", "007", "", 0.0, True, "empty_text"],
    ]


def test_xlsx_cells_are_never_formulas_or_links(tmp_path):
    texts = ["=cmd|' /C calc'!A0", "{=1+1}", "http://a.example", "@SUM(1)", "_x0041_", "a\x00b", " lead\r\n"]
    out = write(tmp_path / "a.xlsx", [{"text": text} for text in texts], ["text"], {})
    assert [row[0] for row in sheet(out)] == ["text", *texts]
    xml = zipfile.ZipFile(out).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in xml
    assert b"hyperlink" not in xml


def test_xlsx_header_is_frozen_and_columns_are_as_wide_as_their_texts(tmp_path):
    xml = zipfile.ZipFile(write(tmp_path / "a.xlsx")).read("xl/worksheets/sheet1.xml")
    assert b'state="frozen"' in xml
    assert b'<col min="1" max="1" width="11.7' in xml  # "good film" and two more


def test_xlsx_refuses_a_cell_that_is_too_long(tmp_path):
    out = tmp_path / "a.xlsx"
    with pytest.raises(DataError, match=r"a.xlsx:3 text — has 32,768 characters.* — write .csv, .jsonl or .parquet"):
        write(out, [{"text": "x" * 32_767}, {"text": "x" * 32_768}], ["text"], {})
    assert list(tmp_path.iterdir()) == []


def test_xlsx_counts_characters_as_excel_does(tmp_path):
    with pytest.raises(DataError, match="16,384 characters"):
        write(tmp_path / "a.xlsx", [{"text": "😀" * 16_384}], ["text"], {})


def test_xlsx_refuses_more_rows_than_a_sheet_has(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "XLSX_ROWS", 1)
    with pytest.raises(DataError, match=r"rows — are more than the 1 of a sheet — write .csv"):
        write(tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_bom_for_tables_only(tmp_path):
    assert write(tmp_path / "a.csv", bom=True).read_bytes().startswith(b"\xef\xbb\xbftext,")
    assert write(tmp_path / "b.csv").read_bytes().startswith(b"text,")
    assert write(tmp_path / "a.jsonl", bom=True).read_bytes().startswith(b"{")


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_leaves_what_was_there(tmp_path, suffix):
    out = tmp_path / f"a{suffix}"
    out.write_text("old")

    def rows():
        yield ROWS[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write(out, rows())
    assert (out.read_text(), list(tmp_path.iterdir())) == ("old", [out])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_named_part_is_somebody_elses(tmp_path, suffix):
    mine = tmp_path / f"a{suffix}.part"
    mine.write_text("mine")
    write(tmp_path / f"a{suffix}")
    assert mine.read_text() == "mine"


def test_a_link_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "precious.csv"
    target.write_text("precious")
    out = tmp_path / "a.csv"
    out.symlink_to(target)
    write(out)
    assert target.read_text() == "precious"
    assert not out.is_symlink()


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path):
    mask = os.umask(0o022)
    try:
        out = write(tmp_path / "a.csv")
        assert stat.S_IMODE(out.stat().st_mode) == 0o644
        out.chmod(0o600)
        assert stat.S_IMODE(write(out).stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_lists_stay_lists_in_json_lines_and_are_json_elsewhere(tmp_path):
    row = [{"labels": ["a", "b"]}]
    assert json.loads(write(tmp_path / "a.jsonl", row, ["labels"], {}).read_text()) == row[0]
    assert write(tmp_path / "a.csv", row, ["labels"], {}).read_text() == 'labels\n"[""a"", ""b""]"\n'
    assert sheet(write(tmp_path / "a.xlsx", row, ["labels"], {}))[1] == ['["a", "b"]']


def test_outputs_refused(tmp_path):
    for name, wrong in [("a.docx", "names no format"), ("no/a.csv", "there is no folder"), ("old.csv", "exists")]:
        (tmp_path / "old.csv").touch()
        with pytest.raises(ConfigError, match=wrong):
            check_output(tmp_path / name, (), overwrite=False)
    with pytest.raises(ConfigError, match="is the input itself"):
        check_output(tmp_path / "old.csv", [tmp_path / "old.csv"], overwrite=True)
    check_output(tmp_path / "old.csv", (), overwrite=True)


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_no_input_is_an_output_by_any_of_its_names(tmp_path, link):
    (data := tmp_path / "data.csv").write_text("mine")
    getattr(out := tmp_path / "out.csv", link)(data)
    with pytest.raises(ConfigError, match="is the input itself"):
        check_output(out, [data], overwrite=True)
    (model := tmp_path / "model").mkdir()
    (model / "train.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="is a file of the model"):
        check_output(model / "train.jsonl", [data], [model], overwrite=True)
    check_output(model / "new.csv", [data], [model], overwrite=True)


def test_nothing_is_written_among_texts_that_are_read_but_what_is_known_by_its_name(tmp_path):
    (texts := tmp_path / "texts" / "pos").mkdir(parents=True)
    for out in (tmp_path / "texts" / "out.csv", texts / "out.csv", texts / ".." / "out.csv"):
        with pytest.raises(ConfigError, match="whose files are read as texts"):
            check_output(out, [tmp_path / "texts"], overwrite=False)
    check_output(texts.parent / "reviews.predictions.csv", [texts.parent], overwrite=False)
    check_output(tmp_path / "out.csv", [texts.parent], overwrite=False)


def test_S04_one_process_at_a_time_writes_a_file(tmp_path):
    out = tmp_path / "a.csv"
    with open_writer(out, ["text"]) as put:
        put({"text": "first"})
        for overwrite in (False, True):
            with (
                pytest.raises(ConfigError, match="being written by another process"),
                open_writer(out, ["text"], overwrite=overwrite),
            ):
                pytest.fail("two writers of one file")
        with open_writer(tmp_path / "b.csv", ["text"]):
            pass
    with pytest.raises(ConfigError, match="exists"), open_writer(out, ["text"]):
        pytest.fail("replaced unasked")
    assert out.read_text() == "text\nfirst\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from filbert.inference.writers import open_writer
with open_writer(Path(sys.argv[1]), ["text"]) as put:
    put({"text": "half"})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.csv"], check=False)
    assert not (tmp_path / "a.csv").exists()
    assert len(list(tmp_path.iterdir())) == 2  # a draft and a lock that nobody holds
    write(tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
