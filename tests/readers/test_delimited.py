"""The strict record reader: equal to `csv` on sound files, and on broken ones no row lost, merged or shifted."""

from __future__ import annotations

import csv
import io
import random

import pytest

from filbert.readers.blobs import Blob
from filbert.readers.encodings import Encoding
from filbert.readers.formats.delimited import Records, Shape
from filbert.readers.formats.delimited import records as strict_records
from filbert.readers.formats.sniff import find_delimiter, find_quotes
from filbert.readers.ledger import Ledger
from filbert.readers.lines import BadLine, read_lines


def records(text, width=2, delimiter=",", **shape):
    ledger = Ledger()
    lines = list(io.StringIO(text, newline=""))
    rows = list(Records(lines, Shape(delimiter, True, width, **shape), "a.csv", ledger))
    return rows, ledger


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_csv_on_sound_files(seed):
    rng = random.Random(seed)
    alphabet = ["a", "好", '"', ",", "\n", "\r\n", " ", "\x00", "\u2028", "''"]
    rows = [["".join(rng.choices(alphabet, k=rng.randint(0, 8))) for _ in range(3)] for _ in range(200)]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=rng.choice(["\n", "\r\n"])).writerows(rows)
    got, ledger = records(out.getvalue(), 3)
    assert [fields for _, fields in got] == rows
    assert ledger.quarantined == 0


@pytest.mark.parametrize("seed", range(50))
def test_each_sound_row_survives_broken_neighbours(seed):
    rng = random.Random(seed)
    bad = ['"open,pos', 'he "said,pos,', '"closed" badly,neg', "one", "a,b,c", '"a"b"c,pos']
    lines = [rng.choice(bad) if rng.random() < 0.2 else f'"row {n}, with ""quotes""",label{n}' for n in range(100)]
    got, ledger = records("\n".join(lines) + "\n")
    sound = [n for n, line in enumerate(lines) if line.startswith('"row')]
    assert [line - 1 for line, _ in got] == sound
    assert [fields for _, fields in got] == [[f'row {n}, with "quotes"', f"label{n}"] for n in sound]
    assert sorted(problem.place.line - 1 for problem in ledger.problems) == sorted(set(range(100)) - set(sound))


def test_multi_line_texts_that_only_resemble_rows():
    for text in ('pos,"two\nlines"\nneg,"Dear Sir,\nhello, you,\nbye"\n', '"Hi,\nthere",pos\n"two\nlines",neg\n'):
        first = text.startswith("pos")
        rows, ledger = records(text, label_at=0 if first else 1, labels=frozenset({"pos", "neg"}))
        assert (len(rows), ledger.quarantined) == (2, 0)


@pytest.mark.parametrize(
    ("text", "label_at"),
    [
        ('"good film,pos\nbad film",neg\n', 1),
        ('pos,"good film\nneg,bad film"\n', 0),
        ('"good film,pos\nso so,neg\nbad film",neg\n', 1),
    ],
)
def test_merged_rows_are_an_error(text, label_at):
    rows, ledger = records(text, label_at=label_at, labels=frozenset({"pos", "neg"}))
    assert ledger.problems[0].place.line == 1
    assert "merges" in ledger.problems[0].wrong
    assert all("\n" not in cell for _, row in rows for cell in row)


def test_unreadable_line_inside_a_quoted_text():
    data = b'"two\nli\xe9nes\nthree",pos\nfine,neg\n'
    lines = list(read_lines(Blob("a", lambda: io.BytesIO(data)), Encoding("utf-8")))
    assert [isinstance(line, BadLine) for line in lines] == [False, True, False, False]
    ledger = Ledger()
    rows = list(Records(lines, Shape(",", True, 2), "a", ledger))
    assert rows == [(4, ["fine", "neg"])]
    assert [problem.place.line for problem in ledger.problems] == [1, 2, 3]


def test_a_field_of_a_megabyte():
    text = "x" * 2**20
    rows, _ = records(f'"{text}",pos\n')
    assert rows[0][1][0] == text


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_lines_do_not_depend_on_blocks(monkeypatch, size):
    monkeypatch.setattr("filbert.readers.lines.BLOCK", size)
    data = "none\rone\rtwo\r\nthree\n\n好\r\r\nlast\r".encode()
    lines = list(read_lines(Blob("a", lambda: io.BytesIO(data)), Encoding("utf-8")))
    assert lines == ["none\r", "one\r", "two\r\n", "three\n", "\n", "好\r", "\r\n", "last\r"]


@pytest.mark.parametrize("size", [7, 1 << 20])
@pytest.mark.parametrize("codec", ["utf-8", "ascii"])
def test_a_lone_cr_ends_no_line_where_lf_does(monkeypatch, size, codec):
    monkeypatch.setattr("filbert.readers.lines.BLOCK", size)
    data = "one\r\ntwo\rthree and more\nhär\r\r\na\nlast\r".encode("utf-8" if codec == "utf-8" else "latin-1")
    lines = list(read_lines(Blob("a", lambda: io.BytesIO(data)), Encoding(codec)))
    assert [len(line.split("\r")) for line in lines] == [2, 2, 3, 1, 2]
    assert lines[:2] == ["one\r\n", "two\rthree and more\n"]


@pytest.mark.parametrize("delimiter", ["_!_", "||", "::"])
def test_several_characters_separate_fields(delimiter):
    d, ledger = delimiter, Ledger()
    lines = [f'7{d}"a" b{d}x\n', "\n", f"8{d}b\n", f"9{d}c{d}y{d}z\n", f"10{d}d{d}\n"]
    rows = strict_records(lines, Shape(d, False, 3), "a.txt", ledger)
    assert list(rows) == [(1, ["7", '"a" b', "x"]), (5, ["10", "d", ""])]
    assert [problem.place.line for problem in ledger.problems] == [3, 4]
    assert ledger.problems[0].wrong.startswith("has 2 fields, fewer than the 3 columns")


def test_a_blank_before_a_quote_is_no_part_of_the_field():
    shape = Shape(",", True, 2, blanks=True)
    ledger = Ledger()
    lines = ['"a, b", "x"\n', 'c, "say ""hi"" twice"\n', '"two\n', 'lines",  "y"\n', '"d, "open\n', "e, f\n"]
    rows = list(strict_records(lines, shape, "a.csv", ledger))
    assert rows == [(1, ["a, b", "x"]), (2, ["c", 'say "hi" twice']), (3, ["two\nlines", "y"]), (6, ["e", "f"])]
    assert [problem.place.line for problem in ledger.problems] == [5]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_long_line_is_skipped_exactly(monkeypatch, size, end):
    monkeypatch.setattr("filbert.readers.lines.BLOCK", size)
    monkeypatch.setattr("filbert.readers.lines.LIMIT", 8)
    data = f"ab{end}{'x' * 40}{end}cd{end}".encode()
    lines = list(read_lines(Blob("a", lambda: io.BytesIO(data)), Encoding("utf-8")))
    assert [isinstance(line, BadLine) for line in lines] == [False, True, False]
    assert lines[2] == f"cd{end}"


def test_delimiter_and_quotes_are_seen():
    assert find_delimiter(["a , b\t1\n", "c\t0\n"], ".csv") == "\t"
    assert find_delimiter(["text;label\n", "a, b, c;x\n", "d;y\n"], ".csv") == ";"
    assert find_delimiter(["text\n", "a\n"], ".csv") == ","
    assert find_quotes(['"a ""b"" c"\tx\n', "d\ty\n"], "\t")
    assert not find_quotes(['"a" b\tx\n', "d\ty\n"], "\t")
    assert not find_quotes(['"a\tx\n', "d\ty\n"], "\t")
