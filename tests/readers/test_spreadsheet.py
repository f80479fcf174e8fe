"""A sheet reads as it is shown; the table in it and the sheet are found, or asked about."""

from __future__ import annotations

import datetime
import json

import pytest
import xlsxwriter
from sheets import ROLES, ROWS, made, opened, read, xlsx

from filbert.errors import DataError
from filbert.inference.writers import open_writer
from filbert.readers.columns import Roles
from filbert.readers.ledger import Ledger

# --- what stands in it ----------------------------------------------------------------------------------------------


def test_rows_have_the_numbers_that_the_spreadsheet_shows(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", ROWS)
    rows, _ = read(path)
    assert rows == [(at, row) for at, row in enumerate(ROWS[1:], 2)]
    table = opened(path)
    assert (table.columns, table.sample[0]) == (("text", "label"), {"text": "good film", "label": "pos"})
    assert table.found == ["format: xlsx spreadsheet, header in row 1, 2 columns"]


def test_raw_is_the_row_as_json(tmp_path):
    table = opened(xlsx(tmp_path / "a.xlsx", ROWS))
    next(table.rows(ROLES, Ledger()))
    assert json.loads(table.raw()) == {"text": "good film", "label": "pos"}


def test_cells_come_as_they_are_shown(tmp_path):
    when = datetime.datetime
    cells = [3, 0.1, 1e-7, True, when(2026, 11, 30), when(2026, 11, 30, 12, 5), "007", "a\r\nb", 12345678901]
    rows, _ = read(xlsx(tmp_path / "a.xlsx", [["text", "label"], *([cell, "x"] for cell in cells)]))
    assert [row[0] for _, row in rows] == [
        *("3", "0.1", "1e-07", "true", "2026-11-30", "2026-11-30 12:05:00", "007", "a\r\nb", "12345678901")
    ]


def test_durations_count_hours(tmp_path):
    def build(book, sheet):
        sheet.write_row(0, 0, ["text", "label"])
        sheet.write_number(1, 0, 1.5, book.add_format({"num_format": "[h]:mm"}))
        sheet.write_row(1, 1, ["x"])

    assert read(made(tmp_path / "a.xlsx", build))[0] == [(2, ["36:00:00", "x"])]


def test_empty_columns_and_trailing_rows_are_dropped_and_rows_within_counted(tmp_path):
    grid = [["", "text", "", "label"], ["", "a", "", "x"], [], [], ["", "b", "", "y"], ["", "", "", ""], []]
    path = xlsx(tmp_path / "a.xlsx", grid)
    rows, ledger = read(path)
    assert rows == [(2, ["a", "x"]), (5, ["b", "y"])]
    assert ledger.notes == {"blank rows skipped": 2}


def test_a_column_filled_only_far_below_is_kept(tmp_path):
    rows = [["text", "label"], *(["a", "x"] for _ in range(700)), ["b", "y", "note"]]
    assert opened(xlsx(tmp_path / "a.xlsx", rows)).columns == ("text", "label", "column 3")


def test_lines_above_the_header_are_left_out_and_said(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [[], ["Ticket export"], ["2026"], [], *ROWS])
    assert read(path)[0] == [(at, row) for at, row in enumerate(ROWS[1:], 6)]
    assert opened(path).found == [
        "format: xlsx spreadsheet, header in row 5, 2 columns",
        "not used: 2 lines above the header ('Ticket export', '2026')",
    ]


def test_a_sparse_second_column_makes_no_title_of_the_rows_above(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [["text"], ["a"], ["b"], ["c", "note"], ["d"]])
    roles = Roles((("text",),))
    assert [row[0] for _, row in read(path, roles, labelled=False)[0]] == ["a", "b", "c", "d"]


def test_lines_are_skipped_as_told(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [["from", "to"], *ROWS])
    assert read(path, skip_lines=1)[0][0] == (3, ["good film", "pos"])


def test_without_a_header_columns_are_numbered(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [["so good a film!", 1], ["so bad a film!", 0], ["fine, fine", 1]])
    rows, _ = read(path, Roles((("column 1",),), "column 2"))
    assert rows[0] == (1, ["so good a film!", "1"])


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a.xlsx:1 header — the column 'text' stands 2 times — rename one"):
        opened(xlsx(tmp_path / "a.xlsx", [["text", "label", "text"], ["a", "x", "b"]]))


# --- merged cells, errors, formulas ---------------------------------------------------------------------------------


def test_a_label_merged_over_rows_is_that_of_each(tmp_path):
    def build(_, sheet):
        sheet.write_column(0, 0, ["text", "a", "b", "c", "d"])
        sheet.write_string(0, 1, "label")
        sheet.merge_range(1, 1, 3, 1, "x")
        sheet.write_string(4, 1, "y")

    rows, ledger = read(made(tmp_path / "a.xlsx", build))
    assert [row for _, row in rows] == [["a", "x"], ["b", "x"], ["c", "x"], ["d", "y"]]
    assert ledger.notes == {"cells filled in from a merged cell above": 2}


def test_a_row_with_nothing_but_its_part_of_a_merged_cell_is_blank(tmp_path):
    def build(_, sheet):
        sheet.write_column(0, 0, ["text", "a", "", "c"])
        sheet.write_string(0, 1, "label")
        sheet.merge_range(1, 1, 3, 1, "x")

    rows, ledger = read(made(tmp_path / "a.xlsx", build))
    assert rows == [(2, ["a", "x"]), (4, ["c", "x"])]
    assert ledger.notes["blank rows skipped"] == 1


def test_an_error_in_a_text_or_label_is_named_by_its_cell_and_elsewhere_kept(tmp_path):
    def build(_, sheet):
        for at, row in enumerate([["", "text", "label", "n"], ["", "a", "x", "1"], ["", "", "x", "2"], ["", "c", "y"]]):
            sheet.write_row(at, 0, row)
        sheet.write_formula(2, 1, "=NA()", None, "#N/A")
        sheet.write_formula(3, 3, "=1/0", None, "#DIV/0!")

    path = made(tmp_path / "a.xlsx", build)
    rows, ledger = read(path)
    assert rows == [(2, ["a", "x", "1"]), (4, ["c", "y", "#DIV/0!"])]
    assert str(ledger.problems[0]) == (
        f"{path}:3 text — cell B3 holds the error #N/A — correct its formula in the spreadsheet, or drop the row"
    )
    rows, ledger = read(path, Roles((("text",),), "n"), labelled=False)
    assert [number for number, _ in rows] == [2, 4]  # no target is read, so an error there is none


def test_formulas_give_their_last_value_and_without_one_nothing(tmp_path):
    def build(_, sheet):
        sheet.write_row(0, 0, ["text", "label"])
        sheet.write_formula(1, 0, '="a"&"b"', None, "ab")
        sheet.write_formula(2, 0, '="a"&"b"', None, "")
        sheet.write_column(1, 1, ["x", "y"])

    assert [row for _, row in read(made(tmp_path / "a.xlsx", build))[0]] == [["ab", "x"], ["", "y"]]


# --- which sheet ----------------------------------------------------------------------------------------------------


def test_the_one_sheet_with_a_table_is_chosen(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", [["read me"], ["please"]], ROWS, [])
    assert opened(path).found[0] == "format: xlsx spreadsheet, sheet 'Other', header in row 1, 2 columns"


def test_of_two_tables_one_must_be_named(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", ROWS, [["text", "label", "n"], ["only", "x", "1"]])
    wrong = r"2 sheets hold a table: Data \('text', 'label', 4 rows\); Other \(.*'n', 2 rows\) — say which with --sheet"
    with pytest.raises(DataError, match=wrong):
        opened(path)
    assert [opened(path, sheet=told).sheet_name for told in ("Other", "2", "other", "1")] == [
        *("Other", "Other", "Other", "Data")
    ]
    with pytest.raises(DataError, match="there is no sheet 'Sheet9' — choose one of 'Data', 'Other'"):
        opened(path, sheet="Sheet9")


def test_a_hidden_sheet_counts_only_where_no_other_does(tmp_path):
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
        for name in ("Data", "Lists"):
            sheet = book.add_worksheet(name)
            for at, row in enumerate(ROWS):
                sheet.write_row(at, 0, row)
        sheet.hide()
    assert opened(tmp_path / "a.xlsx").sheet_name == "Data"


def test_no_table_at_all(tmp_path):
    with pytest.raises(DataError, match="no sheet has two columns with a row below the header"):
        opened(xlsx(tmp_path / "a.xlsx", [["text", "label"]], [["alone"]]))


def test_what_was_written_reads_again(tmp_path):
    columns, types = ["text", "label", "score"], {"score": "float"}
    with open_writer(tmp_path / "out.xlsx", columns, types) as write:
        for text in ("=cmd|' /C calc'!A0", "two\nlines", "007"):
            write({"text": text, "label": "x", "score": 0.25})
    assert read(tmp_path / "out.xlsx")[0] == [
        (2, ["=cmd|' /C calc'!A0", "x", "0.25"]),
        (3, ["two\nlines", "x", "0.25"]),
        (4, ["007", "x", "0.25"]),
    ]
