"""Which column is what: as told, as the model was trained, by name, by shape, or asked."""

from __future__ import annotations

import json

import pytest
from reading import pairs, write

from filbert.errors import ConfigError, DataError
from filbert.readers.columns import choose
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source


def test_columns_by_shape_without_header(tmp_path):
    lines = [f"{n}\tthis is sentence number {n} , a long one\t{n % 3}\n" for n in range(30)]
    source = open_source(write(tmp_path, "a.tsv", "".join(lines)))
    assert source.columns == ("column 1", "column 2", "column 3")
    assert (source.input_names, source.target_names) == (("column 2",), ("column 3",))
    assert len(list(source.examples())) == 30


def test_header_of_unusual_names(tmp_path):
    lines = "".join(f"some longer words {n};{'ab'[n % 2]}\n" for n in range(10))
    source = open_source(write(tmp_path, "a.csv", "remark;kind\n" + lines))
    assert (source.input_names, source.target_names) == (("remark",), ("kind",))


def test_a_label_that_is_a_usual_name_is_no_header(tmp_path):
    rows = pairs(write(tmp_path, "a.tsv", "do you like it\ty\nso so\tn\nvery much\ty\nnot at all\tn\n"))
    assert rows[0] == ("do you like it", "y")


def test_ambiguous_columns_are_asked(tmp_path):
    rows = "".join(f"one sentence of words {n},another sentence here {n},{n % 2}\n" for n in range(30))
    path = write(tmp_path, "a.csv", "first,second,label\n" + rows)
    with pytest.raises(DataError, match=r"first .*second .*label.*--text NAME --label NAME"):
        open_source(path)
    assert open_source(path, ReadOptions(text="second")).target_names == ("label",)
    with pytest.raises(DataError, match="choose one of 'first', 'second', 'label'"):
        open_source(path, ReadOptions(text="third"))


def test_columns_by_number(tmp_path):
    path = write(tmp_path, "a.csv", "x,first one,good\ny,second one,bad\n")
    assert pairs(path, text="2", label="3", header=False)[1] == ("second one", "bad")


def test_pandas_index_column(tmp_path):
    assert open_source(write(tmp_path, "a.csv", ",text,label\n0,a,x\n1,b,y\n")).columns == ("column 1", "text", "label")
    assert pairs(tmp_path / "a.csv") == [("a", "x"), ("b", "y")]


TICKETS = "title,body,queue\n" + "".join(f"Late {n},Where is parcel {n}?,{'ab'[n % 2]}\n" for n in range(6))


def inputs(path, labelled=True, **options):
    return [row.inputs for row in open_source(path, ReadOptions(**options), labelled=labelled).examples()]


def test_two_columns_are_joined(tmp_path):
    path = write(tmp_path, "a.csv", TICKETS + "Lone,,a\n,,b\n")
    source = open_source(path, ReadOptions(text="title, body", on_bad_rows="quarantine"), rejects=tmp_path / "kept")
    assert [row.text for row in source.examples()][-2:] == ["Late 5\nWhere is parcel 5?", "Lone"]
    assert (source.input_names, source.roles.inputs) == (("title,body",), (("title", "body"),))
    assert str(source.problems[0]).startswith(f"{path}:9 title + body — is empty")
    assert "columns — text: 'title' + 'body', label: 'queue'" in source.found


def test_a_name_with_a_comma_wins_over_two_names(tmp_path):
    path = write(tmp_path, "a.csv", '"a,b",a,b,label\nwhole,x,y,1\nwhole,x,y,0\n')
    assert inputs(path, text="a,b") == [("whole",), ("whole",)]


# --- as the model was trained ---------------------------------------------------------------------------------------

TRAINED = {"inputs": [["title"]], "target": ["queue"]}


@pytest.mark.parametrize("labelled", [True, False])
def test_trained_column_is_read_again(tmp_path, labelled):
    path = write(tmp_path, "a.csv", TICKETS)
    source = open_source(path, ReadOptions(columns=TRAINED), labelled=labelled)
    assert next(source.examples()).inputs == ("Late 0",)
    assert "columns — text: 'title', label: 'queue' (as the model was trained)" in source.found
    assert inputs(path, labelled, text="body", columns=TRAINED)[0] == ("Where is parcel 0?",)
    assert inputs(path, labelled, columns={"inputs": [["title", "body"]]})[0] == ("Late 0\nWhere is parcel 0?",)


def test_trained_column_that_is_lacking_is_said(tmp_path):
    path = write(tmp_path, "a.csv", "text,label\nLate,a\nGone,b\n")
    source = open_source(path, ReadOptions(columns=TRAINED))
    said = [line.removeprefix("warning: the model ") for line in source.found]
    assert "was trained on column 'title', which this file lacks: 'text' is read; --text takes another" in said
    assert "had its labels in column 'queue', which this file lacks: 'label' is read; --label takes another" in said
    unlabelled = open_source(path, ReadOptions(columns=TRAINED), labelled=False)
    assert sum("the model" in line for line in unlabelled.found) == 1
    twins = write(tmp_path, "b.csv", "first,second\nsome words here,other words here\nand more,and others\n")
    with pytest.raises(DataError, match="cannot tell which column is the text among 2: "):
        open_source(twins, ReadOptions(columns=TRAINED), labelled=False)


def test_trained_columns_by_number_only_without_names(tmp_path):
    options = ReadOptions(columns={"inputs": [["column 2"]], "target": [["column 1"]]})
    bare = write(
        tmp_path, "a.tsv", "a\tone of them, long\tthe other, longer text\nb\ttwo, long\tthe last one of them\n"
    )
    assert [row.inputs for row in open_source(bare, options).examples()] == [("one of them, long",), ("two, long",)]
    named = open_source(write(tmp_path, "b.csv", ",text\n0,one\n1,two\n"), options, labelled=False)
    assert [row.text for row in named.examples()] == ["one", "two"]


def test_trained_columns_in_a_plain_file(tmp_path):
    options = ReadOptions(columns={"inputs": [["column 2"]], "target": [["column 1"]]})
    table = write(tmp_path, "a.txt", "x\tone, two\ny\tthree\n")
    assert [row.text for row in open_source(table, options, labelled=False).examples()] == ["one, two", "three"]
    lines = write(tmp_path, "b.txt", "one, two\nthree, four\n")
    assert [row.text for row in open_source(lines, options, labelled=False).examples()] == ["one, two", "three, four"]


def test_a_model_of_pairs_asks_for_the_second_text(tmp_path):
    path = write(tmp_path, "a.csv", "text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"reads two texts, of 'premise', 'hypothesis'.*--text-pair NAME"):
        open_source(path, ReadOptions(columns={"inputs": [["premise"], ["hypothesis"]]}))


def test_a_model_of_one_text_takes_no_half_of_a_pair(tmp_path):
    path = write(tmp_path, "a.csv", "sentence1,sentence2\nsome words,other words\nand more,and others\n")
    with pytest.raises(DataError, match="cannot tell which column is the text"):
        open_source(path, ReadOptions(columns={"inputs": [["review"]]}), labelled=False)


@pytest.mark.parametrize("told", [{"inputs": "text"}, {"inputs": [["a"], ["b"], ["c"]]}, {"target": [1]}])
def test_trained_columns_of_another_shape(told):
    with pytest.raises(ConfigError, match="columns is"):
        ReadOptions(columns=told)


# --- pairs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("premise", "hypothesis"),
        ("Sentence_1", "sentence 2"),
        ("#1 String", "#2 String"),
        ("query", "document"),
        ("句子1", "句子2"),
        ("text_a", "text_b"),
        ("question", "sentence"),
    ],
)
def test_pairs_are_found_by_name(tmp_path, names):
    rows = "".join(f"{n}\ta man sleeps {n}\ta man is awake {n}\t{n % 2}\n" for n in range(6))
    path = write(tmp_path, "a.tsv", f"id\t{names[0]}\t{names[1]}\tlabel\n{rows}")
    source = open_source(path)
    assert next(source.examples()).inputs == ("a man sleeps 0", "a man is awake 0")
    assert source.found[-1] == f"columns — text: {names[0]!r}, second text: {names[1]!r}, label: 'label'"
    assert inputs(path, text=names[1])[0] == ("a man is awake 0",)


def test_each_side_of_a_pair_must_be_seen(tmp_path):
    path = write(tmp_path, "a.csv", "premise,hypothesis,label\na,b,x\n,b,y\na, ,x\n")
    with pytest.raises(DataError, match=r"(?s):3 premise — is empty.*:4 hypothesis — is empty"):
        list(open_source(path).examples())
    assert inputs(path, labelled=False) == [("a", "b"), ("", "b"), ("a", "")]


def test_pairs_told(tmp_path):
    rows = "".join(f"one sentence of words {n},another sentence here {n},{n % 2}\n" for n in range(30))
    path = write(tmp_path, "a.csv", "first,second,label\n" + rows)
    wanted = ("another sentence here 0", "one sentence of words 0")
    assert inputs(path, text="second", text_pair="first")[0] == wanted
    assert inputs(path, text="2", text_pair="1")[0] == wanted


def test_pairs_by_shape_without_header(tmp_path):
    rows = [f"蚂蚁借呗等额还款{n}可以吗\t借呗有先息到期{n}还本吗\t{n % 2}\n" for n in range(30)]
    source = open_source(write(tmp_path, "a.txt", "".join(rows)))
    assert source.input_names == ("column 1", "column 2")
    assert source.found[-1] == "columns — text: 1, second text: 2, label: 3"


def test_keys_are_no_half_of_a_pair(tmp_path):
    rows = [f"5f4dcc3b5aa765d61d83{n:04}\tthe words of text {n}\t{n % 2}\n" for n in range(30)]
    with pytest.raises(DataError, match="cannot tell which column is the text"):
        open_source(write(tmp_path, "a.txt", "".join(rows)))


# --- a label a column -----------------------------------------------------------------------------------------------


def test_indicators_are_found(tmp_path):
    path = write(tmp_path, "a.csv", "id,comment_text,toxic,insult\n0,one,1,0\n1,two,0,0\n2,three,1.0,TRUE\n")
    source = open_source(path)
    assert [row.target for row in source.examples()] == ['["toxic"]', "[]", '["toxic", "insult"]']
    assert source.found[-1] == "columns — text: 'comment_text', labels: 2 columns of 0 and 1: toxic, insult"
    assert (source.target_names, source.sample_targets()[1]) == (("toxic", "insult"), "[]")


def test_what_is_no_indicators(tmp_path):
    named = write(tmp_path, "a.csv", "text,label,flag\none,1,0\ntwo,0,0\nthree,1,1\n")
    assert open_source(named).target_names == ("label",)
    other = write(tmp_path, "b.csv", "text,queue,flag,spam\none,a,0,1\ntwo,b,1,1\nthree,a,1,0\n")
    with pytest.raises(DataError, match="which column is the label among 4"):
        open_source(other)


def test_indicators_told_and_wrong_cells(tmp_path):
    path = write(tmp_path, "a.csv", "text,a,b\none,1,\ntwo,maybe,0\nthree,,\nfour,no,yes\n")
    kept = tmp_path / "kept.jsonl"
    source = open_source(path, ReadOptions(label="a,b", on_bad_rows="quarantine"), rejects=kept)
    assert [row.target for row in source.examples()] == ['["a"]', '["b"]']
    assert [str(problem) for problem in source.problems] == [
        f"{path}:3 labels — 'a' is 'maybe', neither 0 nor 1 — write 0 or 1",
        f"{path}:4 labels — is empty or cannot be seen — fill it in, or drop the row",
    ]
    assert [json.loads(line)["line"] for line in kept.read_text().splitlines()] == [3, 4]


def test_label_wins_over_tags_and_score():
    rows = [{"text": "a", "tags": "x", "label": "y", "score": "1"}]
    for columns, target in ((["text", "tags", "label", "score"], "label"), (["text", "tags", "score"], "tags")):
        assert choose(columns, rows, ReadOptions(), file="a", labelled=True).target == target
    with pytest.raises(DataError, match="which column is the label"):
        choose(["text", "tags", "sentiment"], rows, ReadOptions(), file="a", labelled=True)
