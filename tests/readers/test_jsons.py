"""JSON in the shapes that tools write: lines, arrays, splits, rows under a key, lists a column, frames."""

from __future__ import annotations

import json

import pytest
from reading import ROWS, pairs, write

from filbert.errors import DataError
from filbert.inference.writers import open_writer
from filbert.readers.sources import open_source
from filbert.tasks.label_lists import Lists


def test_json_lines(tmp_path):
    lines = [json.dumps({"id": 1.5, "text": text, "label": label, "tags": ["a"]}) for text, label in ROWS]
    path = write(tmp_path, "a.jsonl", "\n".join(lines) + "\n")
    assert pairs(path) == ROWS
    assert next(open_source(path).examples()).columns["tags"] == '["a"]'
    assert pairs(write(tmp_path, "a.txt", "\n".join(lines))) == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "label": ', "is not JSON"),
        ('{"text": "a"}', "'label'|label — is empty"),
        ('{"label": "x"}', "has no 'text'"),
        ('{"text": "a", "text": "b", "label": "x"}', "twice"),
        ('{"text": "a\\ud800", "label": "x"}', "lone surrogate"),
        ('{"text": ["a"], "label": "x"}', "not a string"),
        ("[" * 100_000, "nested too deeply|is not"),
        ('"text"', "is not an object"),
    ],
)
def test_json_line_that_is_wrong(tmp_path, line, message):
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n' * 3 + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        pairs(path)
    assert caught.value.problems[0].place.line == 4


KEPT = (  # cells that are no strings
    *("1", "1.0", "-0", "1e5", "1E+400", "12345678901234567890123", "0.10", "null", "true", "false"),
    *("[]", "{}", "[1.0, null]", '{"a": {"b": [1, "1", 1.50]}}', '"1"', '""', '"null"', '"[1]"'),
)


def test_cells_that_are_no_strings_keep_their_json(tmp_path):
    lines = [f'{{"text": "a {n}", "x": {cell}}}\n' for n, cell in enumerate(KEPT)]
    for name, content in (("a.jsonl", "".join(lines)), ("a.json", f"[{','.join(lines)}]")):
        source = open_source(write(tmp_path, name, content), labelled=False)
        with open_writer(tmp_path / "out.jsonl", ["text", "x"], overwrite=True) as put:
            for example in source.examples():
                put(dict(example.columns))
        assert (tmp_path / "out.jsonl").read_text("utf-8") == "".join(lines)


def test_numbers_in_a_list_of_labels_are_labels_as_they_stand(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": [1.0, 1e5, "x"]}\n' * 4)
    (cell, *_) = open_source(path).sample_targets()
    assert Lists("json", True, "").split(cell) == ["1.0", "1e5", "x"]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_array(tmp_path, indent):
    rows = [{"text": text, "label": n} for n, (text, _) in enumerate(ROWS)]
    path = write(tmp_path, "a.json", json.dumps(rows, indent=indent))
    assert pairs(path) == [(text, str(n)) for n, (text, _) in enumerate(ROWS)]
    if indent:
        assert [row.place.line for row in open_source(path).examples()] == [2, 6, 10, 14]


@pytest.mark.parametrize("end", ["", "]", '{"text"', ', {"text": "c", "label": "x"}', " x]", ",]", "] x"])
def test_json_array_cut_or_broken(tmp_path, end):
    path = write(tmp_path, "a.json", '[{"text": "a", "label": "x"},\n {"text": "b", "label": "y"}' + end)
    if end == "]":
        assert len(pairs(path)) == 2
    else:
        with pytest.raises(DataError, match=r"a\.json:2"):
            pairs(path)


def test_json_object_of_splits(tmp_path):
    both = [["a", "x"], ["b", "x"], ["c", "y"], ["d", "y"]]
    path = write(tmp_path, "a.json", json.dumps({"oos_train": [["z", "oos"]], "val": both[:1], "train": both}))
    source = open_source(path)
    assert [len(list(source.examples(split))) for split in ("train", "validation", "test")] == [4, 1, 0]
    assert "not used: 'oos_train' (1 row)" in source.found


LABELS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": "c", "label": "x"}]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"version": 1, "data": LABELS}, "the rows under 'data'"),
        ({"text": ["a", "b", "c"], "label": ["x", "y", "x"]}, "a list a column"),
        ({"text": {"0": "a", "7": "b", "2": "c"}, "label": {"0": "x", "7": "y", "2": "x"}}, "a column an object"),
        ({"0": LABELS[0], "1": LABELS[1], "2": LABELS[2]}, "a row an object under its key"),
        (
            {"columns": ["text", "label"], "index": [0, 1, 2], "data": [["a", "x"], ["b", "y"], ["c", "x"]]},
            "a frame split into columns and data",
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_object_with_rows_inside(tmp_path, shape, said, indent):
    path = write(tmp_path, "a.json", json.dumps(shape, indent=indent))
    assert pairs(path) == [("a", "x"), ("b", "y"), ("c", "x")]
    assert said in open_source(path).found[1]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"pos": ["a", "b"], "neg": ["c", "d"]}, r"no rows can be told: 'pos' \(a list of 2\), 'neg'.*JSON lines"),
        ({"text": ["a", "b"], "label": ["x"]}, "not of one length: 'text' 2, 'label' 1"),
        ({"text": {"0": "a"}, "label": {"1": "x"}}, "different row numbers"),
        ({"columns": ["text", "label"], "data": [["a"]]}, "row 1 has 1 cells, not 2"),
        ({}, "it is empty"),
    ],
)
def test_json_object_of_another_shape_is_named(tmp_path, shape, message):
    with pytest.raises(DataError, match=message):
        open_source(write(tmp_path, "a.json", json.dumps(shape)))


@pytest.mark.parametrize("between", ["\n", ",\n", "\n\n", ""])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_objects_over_several_lines(tmp_path, between, suffix):
    text = between.join(json.dumps(row, indent=1) for row in LABELS)
    path = write(tmp_path, f"a.{suffix}", text + between)
    rows = list(open_source(path).examples())
    assert [(row.text, row.target) for row in rows] == [("a", "x"), ("b", "y"), ("c", "x")]
    assert [row.place.line for row in rows][:2] == [1, 4 + between.count("\n")]
    with pytest.raises(DataError, match=r"is not JSON"):
        pairs(write(tmp_path, f"b.{suffix}", text + between + '{\n"text": '))


def test_json_objects_beyond_one_block(tmp_path):
    rows = [{"text": f"text {n} " + "words " * 200, "label": "xy"[n % 2]} for n in range(2_000)]
    path = write(tmp_path, "a.json", "\n".join(json.dumps(row, indent=1) for row in rows))
    read = list(open_source(path).examples())
    assert [row.text for row in read] == [row["text"] for row in rows]
    assert read[-1].place.line == 1_999 * 4 + 1


def test_json_lines_with_commas(tmp_path):
    text = ",\n".join(json.dumps(row) for row in LABELS)
    assert pairs(write(tmp_path, "a.jsonl", text + ",\n")) == [("a", "x"), ("b", "y"), ("c", "x")]
    assert pairs(write(tmp_path, "b.jsonl", "[\n" + text + "\n]\n")) == [("a", "x"), ("b", "y"), ("c", "x")]
    with pytest.raises(DataError, match="Extra data"):
        pairs(write(tmp_path, "c.jsonl", text + ' {"text": 1}\n'))


def test_lists_objects_and_numbers_are_passed_on(tmp_path):
    targets = [["x", "y"], [], {"好评": 1, "差评": 0, "中评": 0.5}, {"a": True, "b": False}, 1.50, "01", {"a": "x"}]
    lines = "".join(json.dumps({"text": "a", "cats": target}) + "\n" for target in targets)
    path = write(tmp_path, "a.jsonl", lines.replace("1.5}", "1.50}"))
    wanted = ['["x", "y"]', "[]", '["好评", "中评"]', '["a"]', "1.50", "01", '{"a": "x"}']
    assert [target for _, target in pairs(path)] == wanted
    assert open_source(path).sample_targets() == wanted
    assert next(open_source(path).examples()).columns["cats"] == '["x", "y"]'


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_one_object_is_one_row(tmp_path, name):
    path = write(tmp_path, name, '{"remark": "a", "kind": "x", "at": null}\n')
    assert pairs(path, text="remark", label="kind") == [("a", "x")]
