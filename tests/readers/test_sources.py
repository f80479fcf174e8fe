"""Delimited, compressed and Parquet files open without options, say what they are, and yield their rows in order."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import CSV, ROWS, pairs, write

from filbert.errors import ConfigError, DataError, Refusal
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source


def test_csv_with_everything_found(tmp_path):
    source = open_source(write(tmp_path, "a.csv", CSV))
    first = next(source.examples())
    assert (first.text, first.target, first.place.line) == ("good film", "pos", 2)
    assert first.columns == {"text": "good film", "label": "pos"}
    assert (source.name, source.columns, source.splits) == ("a.csv", ("text", "label"), ("all",))
    assert source.found == [
        "encoding: UTF-8",
        "format: comma-separated, header, 2 columns",
        "columns — text: 'text', label: 'label'",
    ]


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_other_delimiters(tmp_path, delimiter):
    text = delimiter.join(["评论", "类别"]) + "\n" + "".join(f"{text}{delimiter}{label}\n" for text, label in ROWS)
    assert pairs(write(tmp_path, "a.txt", text)) == ROWS


def test_delimiter_told(tmp_path):
    assert pairs(write(tmp_path, "a.csv", "text^label\na^x\nb^y\n"), delimiter="^") == [("a", "x"), ("b", "y")]
    assert pairs(write(tmp_path, "a.txt", "0 How are you ?\n1 Who ?\n"), delimiter="space") == [
        ("How are you ?", "0"),
        ("Who ?", "1"),
    ]


def test_tsv_quotes_are_plain_or_not(tmp_path):
    plain = 'text\tlabel\n"so" he said\tx\nhe "said"\ty\n"all of it"\tx\n'
    assert [text for text, _ in pairs(write(tmp_path, "a.tsv", plain))] == ['"so" he said', 'he "said"', '"all of it"']
    quoted = 'text\tlabel\n"""so"" he said"\tx\n"two\nlines"\ty\n'
    assert [text for text, _ in pairs(write(tmp_path, "b.tsv", quoted))] == ['"so" he said', "two\nlines"]
    assert pairs(tmp_path / "a.tsv", quotes=False)[0][0] == '"so" he said'


def test_compressed_files(tmp_path):
    for suffix, pack in ((".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)):
        assert pairs(write(tmp_path, "a.csv" + suffix, pack(CSV.encode()))) == ROWS
    assert pairs(write(tmp_path, "b.csv.zst", pa.compress(CSV.encode(), "zstd", asbytes=True))) == ROWS


def test_damaged_file_is_named(tmp_path):
    for name, pack in (("a.csv.gz", gzip.compress), ("a.csv.xz", lzma.compress)):
        path = write(tmp_path, name, pack(CSV.encode() * 1000)[:-20])
        with pytest.raises(DataError, match=f"{name}.*damaged or cut short"):
            pairs(path)
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is damaged or cut short"):
        open_source(write(tmp_path, "a.xlsx", b"PK\x03\x04" + b"\0" * 600))


def test_options_are_checked():
    for options in (
        {"on_bad_rows": "skip"},
        {"delimiter": "ab"},
        {"delimiter": ""},
        {"skip_lines": -1},
        {"encoding": "klingon"},
        {"encoding": "base64"},
    ):
        with pytest.raises(ConfigError):
            ReadOptions(**options)


def test_parquet(tmp_path):
    text, label = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"text": text, "label": label, "n": [1, None, 3, 4]}), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == ROWS
    assert [row.columns["n"] for row in open_source(tmp_path / "a.parquet").examples()] == ["1", "", "3", "4"]


def test_parquet_class_names(tmp_path):
    names = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet", labelled=False) == [("a", "pos"), ("b", "neg"), ("c", None)]


def test_parquet_lists_structs_and_numbers(tmp_path):
    labels = [["x", "y"], [], None]
    cats = [{"x": 1.0, "y": 0.2}, {"x": 0.0, "y": None}, {"x": 0.5, "y": 1.0}]
    table = pa.table({"text": ["a", "b", "c"], "labels": labels, "cats": cats, "score": [1.5, 0.0, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    targets = [target for _, target in pairs(tmp_path / "a.parquet", label="labels", labelled=False)]
    assert targets == ['["x", "y"]', "[]", None]
    assert [target for _, target in pairs(tmp_path / "a.parquet", label="cats")] == ['["x"]', "[]", '["x", "y"]']
    assert [target for _, target in pairs(tmp_path / "a.parquet", label="score", labelled=False)] == [
        "1.5",
        "0.0",
        None,
    ]


@pytest.mark.parametrize(
    "feature", [{"feature": {"names": ["no", "yes"]}, "_type": "List"}, [{"names": ["no", "yes"]}]]
)
def test_parquet_class_names_in_lists(tmp_path, feature):
    table = pa.table({"text": ["a", "b"], "labels": [[1, 0], []]})
    metadata = {"huggingface": json.dumps({"info": {"features": {"labels": feature}}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == [("a", '["yes", "no"]'), ("b", "[]")]


def test_scoring_needs_no_label(tmp_path):
    path = write(tmp_path, "a.csv", "id,when,review\n1,today,good\n2,,\n")
    rows = list(open_source(path, labelled=False).examples())
    assert [(row.text, row.target) for row in rows] == [("good", None), ("", None)]
    assert list(rows[1].columns.items()) == [("id", "2"), ("when", ""), ("review", "")]
    with pytest.raises(DataError, match="which column is the label"):
        open_source(path)


def test_scoring_plain_text(tmp_path):
    path = write(tmp_path, "a.txt", "one, two\n\nthree\tfour\n")
    assert [row.text for row in open_source(path, labelled=False).examples()] == ["one, two", "", "three\tfour"]


def test_scoring_one_column(tmp_path):
    path = write(tmp_path, "a.csv", 'text\n"one, two"\n\nthree\n')
    assert [row.text for row in open_source(path, labelled=False).examples()] == ["one, two", "", "three"]


# --- the target -----------------------------------------------------------------------------------------------------


def number(cell: str) -> float:
    """Read a target as a task of numbers would."""
    try:
        return float(cell or 0)
    except ValueError:
        raise Refusal(f"is {cell!r}, no number", "write a number") from None


def test_parse_makes_the_target_and_refuses_rows(tmp_path):
    path = write(tmp_path, "a.csv", "text,score\na,1.5\nb,many\nc,\n")
    kept = tmp_path / "kept.jsonl"
    source = open_source(path, ReadOptions(on_bad_rows="quarantine"), rejects=kept)
    assert [(row.text, row.target) for row in source.examples(parse=number)] == [("a", 1.5), ("c", 0.0)]
    assert str(source.problems[0]) == f"{path}:3 score — is 'many', no number — write a number"
    assert json.loads(kept.read_text())["row"] == "b,many\n"
    with pytest.raises(DataError, match="no number"):
        list(open_source(path).examples(parse=number))
    unlabelled = open_source(path, labelled=False)
    assert [row.target for row in unlabelled.examples(parse=number)] == ["1.5", "many", None]


def test_parse_and_sample_of_class_folders(tmp_path):
    for name in ("1/a.txt", "2/b.txt", "two/c.txt"):
        write(tmp_path, f"texts/{name}", name)
    source = open_source(tmp_path / "texts", ReadOptions(on_bad_rows="quarantine"), rejects=tmp_path / "kept.jsonl")
    assert (source.roles, source.input_names, source.target_names) == (None, ("text",), ("label",))
    assert source.sample_targets() == ["1", "2", "two"]
    assert [row.target for row in source.examples(parse=number)] == [1.0, 2.0]
    assert [problem.field for problem in source.problems] == ["label"]


def test_sample_targets_leave_the_test_part_out(tmp_path):
    write(tmp_path, "d/train.csv", "text,label\na,x\nb,y\n")
    write(tmp_path, "d/test.csv", "text,label\nc,\n")
    assert open_source(tmp_path / "d").sample_targets() == ["x", "y"]
    path = write(tmp_path, "a.csv", "text,label,split\na,x,train\nb,y,dev\nc,z,test\n")
    assert open_source(path).sample_targets() == ["x", "y"]


# --- what stands above or beside the rows -----------------------------------------------------------------------------


def test_sep_line_is_obeyed(tmp_path):
    path = write(tmp_path, "a.csv", "sep=;\ntext;label\na, b;x\nc;y\nd;\n")
    source = open_source(path, ReadOptions(on_bad_rows="quarantine"), rejects=tmp_path / "kept.jsonl")
    assert [(row.text, row.target, row.place.line) for row in source.examples()] == [("a, b", "x", 3), ("c", "y", 4)]
    assert source.found[1] == "format: semicolon-separated, header, 2 columns, 1 line above not read"
    assert source.problems[0].place.line == 5


@pytest.mark.parametrize("title", ["Export of May,,\n,,\n", "Export of May\n\n", "Export of May\n"])
def test_titles_above_a_header_are_left_out(tmp_path, title):
    path = write(tmp_path, "a.csv", title + "id,text,queue\n1,see you,ham\n2,win a prize,spam\n3,call me,ham\n")
    assert pairs(path) == [("see you", "ham"), ("win a prize", "spam"), ("call me", "ham")]
    assert next(open_source(path).examples()).place.line == 2 + title.count("\n")


@pytest.mark.parametrize("title", ["Export of May\nmade,today\n\n", "# comments\n# more, of them\n", "a,b\n"])
def test_the_names_of_text_and_label_are_a_header_whatever_stands_above(tmp_path, title):
    path = write(tmp_path, "a.csv", title + "text,label\nsee you,ham\nwin a prize,spam\ncall me,ham\n")
    assert pairs(path) == [("see you", "ham"), ("win a prize", "spam"), ("call me", "ham")]


def test_lines_above_a_table_that_are_not_seen_are_offered_to_be_skipped(tmp_path):
    path = write(tmp_path, "a.csv", "Export\n" + "".join(f"this is text {n},{'ab'[n % 2]}\n" for n in range(8)))
    with pytest.raises(DataError, match=r"a.csv:1 row — has 1 field.*--skip-lines"):
        pairs(path)
    assert len(pairs(path, skip_lines=1)) == 8


@pytest.mark.parametrize("name", ["a.csv", "quoted.csv", "bare.csv", "a.jsonl"])
def test_a_first_row_of_more_than_a_megabyte(tmp_path, name):
    rows = [("word, " * 250_000 + "end", "pos"), ("good", "pos"), ("bad", "neg"), ("fine", "pos"), ("poor", "neg")]
    lines = {
        "a.csv": ["text\tlabel", *("\t".join(row) for row in rows)],
        "quoted.csv": ["text,label", *(f'"{text}",{label}' for text, label in rows)],
        "bare.csv": [f'"{text}",{label}' for text, label in rows],
        "a.jsonl": [json.dumps({"text": text, "label": label}) for text, label in rows],
    }
    assert pairs(write(tmp_path, name, "\n".join(lines[name]) + "\n")) == rows


def test_a_title_above_rows_without_a_header_is_asked_about(tmp_path):
    rows = "".join(f"this is the text of row {n},the other text of row {n},{n % 2},{n % 3}\n" for n in range(8))
    path = write(tmp_path, "a.csv", "Export of May,,,\n" + rows)
    with pytest.raises(DataError, match="where 1 line at the top should be no row, add --skip-lines 1"):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "x\ny,z\ntext,label\ngood,pos\nbad,neg\n"),
        ("a.jsonl", 'x\ny\n{"text": "good", "label": "pos"}\n{"text": "bad", "label": "neg"}\n'),
        ("a.txt", "x\ny\n__label__pos good\n__label__neg bad\n"),
    ],
)
def test_skip_lines(tmp_path, name, content):
    path = write(tmp_path, name, content)
    rows = list(open_source(path, ReadOptions(skip_lines=2)).examples())
    assert [(row.text, row.target) for row in rows] == [("good", "pos"), ("bad", "neg")]
    assert rows[0].place.line == 3 + (name == "a.csv")
    with pytest.raises(DataError, match=r"are to be skipped|is empty|cannot tell"):
        open_source(path, ReadOptions(skip_lines=50))


def test_blanks_after_commas(tmp_path):
    path = write(tmp_path, "a.csv", '"text", "label"\n"good, really", "pos"\n"bad", "neg"\n')
    assert pairs(path) == [("good, really", "pos"), ("bad", "neg")]
    path = write(tmp_path, "b.csv", 'label, text\npos, "good, really"\nneg, "bad, really"\n')
    assert pairs(path) == [("good, really", "pos"), ("bad, really", "neg")]
    quoted = write(tmp_path, "c.csv", 'text,label\n" ""hi"", ""you""",pos\n"he, ""she""", neg\n')
    assert pairs(quoted) == [(' "hi", "you"', "pos"), ('he, "she"', " neg")]


def test_empty_cells_at_the_end_of_a_header(tmp_path):
    rows = "ham,see you at noon,,\nspam,win a prize,now,\nham,call me,,\nspam,free entry,,\n"
    source = open_source(write(tmp_path, "a.csv", "v1,v2,,\n" + rows))
    assert source.columns == ("v1", "v2", "column 3", "column 4")
    assert (source.input_names, source.target_names) == (("v2",), ("v1",))


def test_delimiter_of_several_characters(tmp_path):
    path = write(tmp_path, "a.txt", "1_!_100_!_culture_!_电影\n2_!_101_!_sports_!_服务\n")
    assert pairs(path, delimiter="_!_", text="4", label="3") == [("电影", "culture"), ("服务", "sports")]
    with pytest.raises(DataError, match=r"column 1 .*column 4"):
        open_source(path, ReadOptions(delimiter="_!_"))


def test_a_lone_carriage_return_sets_its_whole_row_aside(tmp_path):
    lines = ["text,label", "good \rreally good,pos", "pos,good \rreally", '"in \rquotes",pos', "fine,neg", "a,x\rb,y"]
    path = write(tmp_path, "a.csv", "\n".join(lines) + "\n")
    kept = tmp_path / "kept.jsonl"
    source = open_source(path, ReadOptions(on_bad_rows="quarantine"), rejects=kept)
    rows = [(row.text, row.target, row.place.line) for row in source.examples()]
    assert rows == [("in \rquotes", "pos", 4), ("fine", "neg", 5), ("a", "x", 6), ("b", "y", 6)]
    assert [json.loads(line)["row"] for line in kept.read_text().splitlines()] == [line + "\n" for line in lines[1:3]]
    assert "a carriage return (CR) stands inside of the row" in str(source.problems[0])


def test_a_lone_carriage_return_is_part_of_a_plain_text(tmp_path):
    path = write(tmp_path, "a.txt", "two\none \rand more\n")
    assert [row.text for row in open_source(path, labelled=False).examples()] == ["two", "one \rand more"]
