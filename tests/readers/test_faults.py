"""One test for each fault of FAULTS.md that is the reader's to catch: D01-D11 and D14."""

from __future__ import annotations

import codecs
import json
import tracemalloc
from pathlib import Path

import pytest

from filbert.errors import DataError
from filbert.finetuning.dataset import read_dataset
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example

ROWS = "text,label\ngood film,pos\nbad film,neg\nfine film,pos\npoor film,neg\n"


def write(folder: Path, content: str | bytes, name: str = "reviews.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, *, labelled: bool = True, **options: object) -> list[Example]:
    return list(open_source(path, ReadOptions(**options), labelled=labelled).examples())  # type: ignore[arg-type]


def errors(path: Path, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        read_dataset(path, ReadOptions(**options))  # type: ignore[arg-type]
    return caught.value


def quarantine(path: Path, tmp_path: Path) -> tuple[list[Example], list[dict[str, object]], dict[str, int]]:
    """Read with bad rows kept apart; return the good rows, the kept ones, and the counts."""
    kept = tmp_path / "kept.jsonl"
    source = open_source(path, ReadOptions(on_bad_rows="quarantine"), rejects=kept)
    rows = list(source.examples())
    return rows, [json.loads(line) for line in kept.read_text().splitlines()], source.counts


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_D01_bom(tmp_path, codec):
    bom = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(codec, b"")
    path = write(tmp_path, bom + (ROWS + "好,pos\r\nmed\u0a0d,neg\n").encode(codec))
    source = open_source(path)
    rows = list(source.examples())
    assert source.columns == ("text", "label")
    assert [row.text for row in rows][-2:] == ["好", "med\u0a0d"]  # U+0A0D holds both bytes of a line end
    assert rows[-1].place.line == 7
    assert any("BOM" in line for line in source.found)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_D01_a_bom_that_stands_twice(tmp_path, mark, name):
    rows = [{"text": text, "label": "pn"[n % 2]} for n, text in enumerate(("good", "bad", "fine", "poor"))]
    lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
    content = {"csv": "\n".join(lines), "jsonl": "\n".join(map(json.dumps, rows)), "json": json.dumps(rows)}
    text = content[name.split(".")[1]] + "\n"
    data = mark * 3 + text.encode("utf-8" if mark == codecs.BOM_UTF8 else "utf-16-le")
    source = open_source(write(tmp_path, data, name))
    assert source.columns == ("text", "label")
    assert [row.text for row in source.examples()] == ["good", "bad", "fine", "poor"]
    assert any("stands 3 times" in line for line in source.found)


def test_D01_utf16_without_bom_is_proposed(tmp_path):
    assert "--encoding utf-16-le" in str(errors(write(tmp_path, ROWS.encode("utf-16-le"))))


def test_D01_cut_utf16_is_an_error(tmp_path):
    assert "not UTF-16" in str(errors(write(tmp_path, ROWS.encode("utf-16")[:-1])))


def test_D02_gb18030(tmp_path):
    chinese = "文本,标签\n" + "房间很大也干净,好\n服务太差了,差\n" * 3
    path = write(tmp_path, chinese.encode("gb18030"))
    message = str(errors(path))
    assert "--encoding gb18030" in message
    assert "房间很大" in message
    source = open_source(path, ReadOptions(encoding="auto"))
    assert [row.text for row in source.examples()][:2] == ["房间很大也干净", "服务太差了"]
    assert sum("房间很大" in line or "服务太差了" in line for line in source.found) == 2
    assert read(path, encoding="gb18030")[0].target == "好"


def test_D02_utf8_is_never_taken_for_gb18030(tmp_path):
    path = write(tmp_path, "文本,标签\n涓浗,好\n一二,差\n")  # these bytes decode as GB18030 too
    assert read(path, encoding="auto")[0].text == "涓浗"


def test_D02_late_in_a_large_file(tmp_path):
    plain = b"text,label\n" + b"a plain line,pos\n" * 100_000
    path = write(tmp_path, plain + "房间很大,neg\n服务很差,neg\n".encode("gb18030"))
    assert "not UTF-8" in str(errors(path))


def test_D03_invalid_byte(tmp_path):
    before = b"text,label\n" + b"a line of text,pos\nanother line,neg\n" * 50_000
    path = write(tmp_path, before + b"caf\xe9 au lait,pos\nlast one,neg\n")
    error = errors(path)
    assert error.total == 1
    assert str(error.problems[0].place).endswith(".csv:100002")
    assert f"0xe9 at offset {len(before) + 3:,}" in str(error)
    assert "latin-1" in str(error)
    rows, kept, counts = quarantine(path, tmp_path)
    assert rows[-1].text == "last one"
    assert rows[-1].place.line == 100_003
    assert kept[0]["row"] == "caf\\xe9 au lait,pos\n"
    assert counts == {"read": 100_002, "accepted": 100_001, "quarantined": 1}


@pytest.mark.parametrize(
    "text", ["a\x00b", "a\x1bb\x7f", "zero\u200bwidth\ufeff", "\u202eright to left", "a\u2028b\x0b"]
)
def test_D04_control_characters_unchanged(tmp_path, text):
    path = write(tmp_path, f"text,label\n{text},x\nb,y\n")
    row = read(path)[0]
    assert row.text == row.columns["text"] == text
    path = write(tmp_path, json.dumps({"text": text, "label": "x"}) + "\n", "r.jsonl")
    assert read(path)[0].text == text


def test_D05_unclosed_quote(tmp_path):
    lines = ["text,label"] + [f"row {n},pos" for n in range(2, 30_001)]
    lines[4] = '"row 5,pos'
    path = write(tmp_path, "\n".join(lines) + "\n")
    error = errors(path)
    assert error.total == 1
    assert error.problems[0].place.line == 5
    rows, kept, counts = quarantine(path, tmp_path)
    assert kept[0]["row"] == '"row 5,pos\n'
    assert counts == {"read": 29_999, "accepted": 29_998, "quarantined": 1}
    assert rows[-1].text == "row 30000"


def test_D05_quote_opening_inside_a_record(tmp_path):
    path = write(tmp_path, 'label,text\npos,"two\nlines"\nneg,"opens here\npos,fine\nneg,dull\n')
    error = errors(path)
    assert [problem.place.line for problem in error.problems] == [4]
    assert "never closed" in str(error)


@pytest.mark.parametrize("tail", ['x,pos\nbad "film",neg', 'x,pos\n"bad film",neg', 'x,pos\nbad film",neg'])
def test_D06_stray_quote_merging_rows(tmp_path, tail):
    path = write(tmp_path, f'text,label\nfine,pos\n"good film,pos\n{tail}\nlast,neg\n')
    error = errors(path)
    assert error.problems[0].place.line == 3
    rows, kept, counts = quarantine(path, tmp_path)
    assert [row.text for row in rows if "film" not in row.text] == ["fine", "x", "last"]
    assert "".join(str(row["row"]) for row in kept) + "".join(row.text for row in rows)
    assert counts["read"] == counts["accepted"] + counts["quarantined"] == 5


def test_D06_long_record_is_warned_of(tmp_path):
    letter = "Dear sirs,\n" * 25
    path = write(tmp_path, f'text,label\n"{letter}",pos\nshort,neg\n"{letter}!",pos\nb,neg\n')
    data = read_dataset(path)
    assert any(line == "records over 20 lines: 2" for line in data.found)
    assert letter in {example.text for part in data.splits.parts.values() for example in part}


def test_D07_fields_too_many_or_few(tmp_path):
    path = write(tmp_path, "text,label\ngood, very good,pos\nbad,neg\nnothing\nfine,pos,\npoor,neg\n")
    error = errors(path)
    assert [problem.place.line for problem in error.problems] == [2, 4, 5]
    assert "3 fields, more than the 2" in str(error)
    rows, _, counts = quarantine(path, tmp_path)
    assert [(row.text, row.target) for row in rows] == [("bad", "neg"), ("poor", "neg")]
    assert counts == {"read": 5, "accepted": 2, "quarantined": 3}


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "N/A", "-", "1e5", "001", "True"])
def test_D08_words_stay_text(tmp_path, word):
    row = read(write(tmp_path, f"text,label\n{word},{word}\nb,y\n"))[0]
    assert (row.text, row.target) == (word, word)


def test_D08_json_values_keep_their_source(tmp_path):
    path = write(
        tmp_path, '{"text": "a", "label": 100000000000000000000001}\n{"text": "b", "label": true}\n', "r.jsonl"
    )
    assert [row.target for row in read(path)] == ["100000000000000000000001", "true"]
    for value in ("1.0", "1.50", "NaN"):
        path = write(tmp_path, f'{{"text": "a", "label": {value}}}\n', "r.jsonl")
        assert [row.target for row in read(path)] == [value]


@pytest.mark.parametrize(
    ("usual", "other"), [("1", "01"), ("pos", "Pos"), ("pos", "pos "), ("1", "１"), ("caf\u00e9", "cafe\u0301")]
)
def test_D09_label_variants(tmp_path, usual, other):
    rows = [("a", usual), ("b", usual), ("c", usual), ("d", other), ("e", other), ("f", "zzz"), ("g", "zzz")]
    path = write(tmp_path, "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    data = read_dataset(path)
    warning = next(line for line in data.found if "look alike" in line)
    assert set(data.settings.labels) == {usual, other, "zzz"}
    assert "(3)" in warning
    assert f'--merge-labels "{other}={usual}"' in warning
    merged = read_dataset(path, ReadOptions(merge_labels={other: usual}))
    assert set(merged.settings.labels) == {usual, "zzz"}


def test_D10_missing_label_and_invisible_text(tmp_path):
    path = write(tmp_path, "text,label\ngood,pos\n,neg\n\u200b \u3000,neg\nbad,\nfine,pos\ndull, \n")
    error = errors(path)
    assert [(problem.place.line, problem.field) for problem in error.problems] == [
        (3, "text"),
        (4, "text"),
        (5, "label"),
        (7, "label"),
    ]
    rows = read(path, labelled=False)
    assert [row.text for row in rows] == ["good", "", "", "bad", "fine", "dull"]
    assert rows[2].columns == {"text": "\u200b \u3000", "label": "neg"}


def test_D11_too_few_classes(tmp_path):
    assert "only the class 'pos'" in str(errors(write(tmp_path, "text,label\na,pos\nb,pos\n")))
    assert "'neg' has one text" in str(errors(write(tmp_path, "text,label\na,pos\nb,pos\nc,neg\n")))


def test_D11_test_label_unknown_in_train(tmp_path):
    write(tmp_path, ROWS, "train.csv")
    write(tmp_path, "text,label\nodd,mixed\n", "test.csv")
    error = errors(tmp_path)
    assert "no label 'mixed'" in str(error)
    assert str(error).startswith(str(tmp_path / "test.csv:2"))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_D14_line_ends(tmp_path, end):
    rows = read(write(tmp_path, ROWS.replace("\n", end)))
    assert [row.place.line for row in rows] == [2, 3, 4, 5]
    assert rows[3].target == "neg"


def test_D14_mixed_line_ends(tmp_path):
    rows = read(write(tmp_path, 'text,label\rgood,pos\r\nbad,neg\n"two\r\nlines\r!",pos\rlast,neg'))
    assert [(row.text, row.place.line) for row in rows] == [
        ("good", 2),
        ("bad", 3),
        ("two\r\nlines\r!", 4),
        ("last", 7),
    ]


def test_D14_tsv_named_csv(tmp_path):
    rows = read(write(tmp_path, "text\tlabel\ngood, very good\tpos\nbad, so bad, awful\tneg\n"))
    assert rows[0].text == "good, very good"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("\ufeff", "is empty"),
        ("text,label\n", "no rows"),
        ("text,label,text\na,b,c\n", "'text' stands 2 times"),
    ],
)
def test_D14_nothing_to_read(tmp_path, content, message):
    assert message in str(errors(write(tmp_path, content)))


def test_D14_100_mb_line(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("wb") as file:
        file.write(
            b"text,label\n" + (b"words " * 200 + b",pos\n") * 1_000
        )  # so that the long line is not in the sample
        for _ in range(100):
            file.write(b"x" * 2**20)
        file.write(b",pos\nlast,neg\n")
    tracemalloc.start()
    source = open_source(path, ReadOptions(on_bad_rows="quarantine", label="label"), rejects=tmp_path / "kept.jsonl")
    last = None
    try:
        for example in source.examples():
            last = example
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert last is not None
    assert last.text == "last"
    assert last.place.line == 1_003
    assert peak < 60e6
    assert any("longer than 16 MB" in problem.wrong for problem in source.problems)


def test_D14_100_mb_first_line(tmp_path):
    path = tmp_path / "long.csv"
    path.write_bytes(b"x" * 20_000_000)
    assert "longer than 16 MB" in str(errors(path))
