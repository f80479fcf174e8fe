"""Every format opens without options, says what it found, and yields the rows in order with their places."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filbert.data.splits import load_splits
from filbert.errors import ConfigError, DataError
from filbert.readers.sources import ReadOptions, open_source

ROWS = [("good film", "pos"), ("bad film", "neg"), ("fine, fine", "pos"), ("poor", "neg")]
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)


def pairs(path, labelled=True, **options):
    return [(row.text, row.label) for row in open_source(path, ReadOptions(**options), labelled=labelled).examples()]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- one file -------------------------------------------------------------------------------------------------------


def test_csv_with_everything_found(tmp_path):
    source = open_source(write(tmp_path, "a.csv", CSV))
    first = next(source.examples())
    assert (first.text, first.label, first.place.line) == ("good film", "pos", 2)
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


def test_columns_by_shape_without_header(tmp_path):
    lines = [f"{n}\tthis is sentence number {n} , a long one\t{n % 3}\n" for n in range(30)]
    source = open_source(write(tmp_path, "a.tsv", "".join(lines)))
    assert source.columns == ("column 1", "column 2", "column 3")
    assert (source.text_column, source.label_column) == ("column 2", "column 3")
    assert len(list(source.examples())) == 30


def test_header_of_unusual_names(tmp_path):
    lines = "".join(f"some longer words {n};{'ab'[n % 2]}\n" for n in range(10))
    source = open_source(write(tmp_path, "a.csv", "remark;kind\n" + lines))
    assert (source.text_column, source.label_column) == ("remark", "kind")


def test_a_label_that_is_a_usual_name_is_no_header(tmp_path):
    rows = pairs(write(tmp_path, "a.tsv", "do you like it\ty\nso so\tn\nvery much\ty\nnot at all\tn\n"))
    assert rows[0] == ("do you like it", "y")


def test_ambiguous_columns_are_asked(tmp_path):
    rows = "".join(f"one sentence of words {n},another sentence here {n},{n % 2}\n" for n in range(30))
    path = write(tmp_path, "a.csv", "first,second,label\n" + rows)
    with pytest.raises(DataError, match=r"first .*second .*label.*--text NAME --label NAME"):
        open_source(path)
    assert open_source(path, ReadOptions(text="second")).label_column == "label"
    with pytest.raises(DataError, match="choose one of 'first', 'second', 'label'"):
        open_source(path, ReadOptions(text="third"))


def test_columns_by_number(tmp_path):
    path = write(tmp_path, "a.csv", "x,first one,good\ny,second one,bad\n")
    assert pairs(path, text="2", label="3", header=False)[1] == ("second one", "bad")


def test_pandas_index_column(tmp_path):
    assert open_source(write(tmp_path, "a.csv", ",text,label\n0,a,x\n1,b,y\n")).columns == ("column 1", "text", "label")
    assert pairs(tmp_path / "a.csv") == [("a", "x"), ("b", "y")]


def test_tsv_quotes_are_plain_or_not(tmp_path):
    plain = 'text\tlabel\n"so" he said\tx\nhe "said"\ty\n"all of it"\tx\n'
    assert [text for text, _ in pairs(write(tmp_path, "a.tsv", plain))] == ['"so" he said', 'he "said"', '"all of it"']
    quoted = 'text\tlabel\n"""so"" he said"\tx\n"two\nlines"\ty\n'
    assert [text for text, _ in pairs(write(tmp_path, "b.tsv", quoted))] == ['"so" he said', "two\nlines"]
    assert pairs(tmp_path / "a.tsv", quotes=False)[0][0] == '"so" he said'


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
        ('{"text": "a", "label": ["x"]}', "multi-label"),
        ("[" * 100_000, "nested too deeply|is not"),
        ('"text"', "is not an object"),
    ],
)
def test_json_line_that_is_wrong(tmp_path, line, message):
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n' * 3 + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        pairs(path)
    assert caught.value.problems[0].place.line == 4


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
    splits = load_splits(path)
    assert (len(splits.train), len(splits.validation), splits.test) == (4, 1, [])
    assert "not used: 'oos_train' (1 rows)" in splits.found


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


def test_parquet_float_label(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, 0.0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is of type double"):
        pairs(tmp_path / "a.parquet")


def test_fasttext(tmp_path):
    path = write(tmp_path, "a.txt", "__label__pos good film\n__label__neg bad\n")
    assert pairs(path) == [("good film", "pos"), ("bad", "neg")]
    path = write(tmp_path, "b.txt", "__label__pos __label__warm good film\n__label__neg bad\n")
    with pytest.raises(DataError, match=r"b.txt:1 label — has 2 labels.*multi-label is not supported"):
        pairs(path)


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
    for options in ({"on_bad_rows": "skip"}, {"delimiter": "ab"}, {"encoding": "klingon"}, {"encoding": "base64"}):
        with pytest.raises(ConfigError):
            ReadOptions(**options)


# --- to be scored ---------------------------------------------------------------------------------------------------


def test_scoring_needs_no_label(tmp_path):
    path = write(tmp_path, "a.csv", "id,when,review\n1,today,good\n2,,\n")
    rows = list(open_source(path, labelled=False).examples())
    assert [(row.text, row.label) for row in rows] == [("good", None), ("", None)]
    assert list(rows[1].columns.items()) == [("id", "2"), ("when", ""), ("review", "")]
    with pytest.raises(DataError, match="which column is the label"):
        open_source(path)


def test_scoring_plain_text(tmp_path):
    path = write(tmp_path, "a.txt", "one, two\n\nthree\tfour\n")
    assert [row.text for row in open_source(path, labelled=False).examples()] == ["one, two", "", "three\tfour"]


def test_scoring_one_column(tmp_path):
    path = write(tmp_path, "a.csv", 'text\n"one, two"\n\nthree\n')
    assert [row.text for row in open_source(path, labelled=False).examples()] == ["one, two", "", "three"]


# --- folders and archives -------------------------------------------------------------------------------------------

MEMBERS = {  # test before train, as an archive may have them
    "aclImdb/README": "read me",
    "aclImdb/test/pos/0_9.txt": "warm",
    "aclImdb/test/neg/0_1.txt": "cold",
    "aclImdb/test/urls_pos.txt": "http://",
    "aclImdb/train/pos/0_9.txt": "good",
    "aclImdb/train/pos/1_9.txt": "fine",
    "aclImdb/train/neg/0_1.txt": "bad",
    "aclImdb/train/neg/1_1.txt": "poor",
    "aclImdb/train/unsup/0_0.txt": "who knows",
    "aclImdb/train/labeledBow.feat": "9 0:9",
}


def tar_of(files: dict[str, str | bytes], mode: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, text in files.items():
            content = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("aclImdb/train/pos/passwd.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return data.getvalue()


def zip_of(files: dict[str, str | bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def laid_out(tmp_path: Path, kind: str, files: dict[str, str]) -> Path:
    if kind == "folder":
        for name, text in files.items():
            write(tmp_path, f"folder/{name}", text)
        return tmp_path / "folder"
    return write(tmp_path, f"data.{kind}", zip_of(files) if kind == "zip" else tar_of(files, kind))


@pytest.mark.parametrize("kind", ["folder", "zip", "w:", "w:gz", "w:xz", "w:bz2"])
def test_imdb_layout(tmp_path, kind):
    path = laid_out(tmp_path, kind, MEMBERS)
    splits = load_splits(path)
    assert sorted(row.text for row in splits.train + splits.validation) == ["bad", "fine", "good", "poor"]
    assert {row.text: row.label for row in splits.test} == {"warm": "pos", "cold": "neg"}
    assert splits.labels == ("neg", "pos")
    assert "texts without a label in unsup, not used: 1" in splits.found
    source = open_source(path)
    assert source.splits == ("train", "test")
    assert {row.text for row in source.examples("train")} == {"good", "fine", "bad", "poor"}
    assert "train/pos/0_9.txt" in str(next(source.examples("train")).place) or kind == "folder"
    assert {row.text for row in open_source(path, labelled=False).examples("unlabelled")} == {"who knows"}


@pytest.mark.parametrize("kind", ["folder", "zip", "w:gz"])
def test_folder_per_class(tmp_path, kind):
    files = {"spam/1.txt": "buy", "spam/2.txt": "sell", "ham/1.txt": "hello", "ham/2.txt": "bye"}
    assert sorted(pairs(laid_out(tmp_path, kind, files))) == [
        ("buy", "spam"),
        ("bye", "ham"),
        ("hello", "ham"),
        ("sell", "spam"),
    ]
    wrapped = {f"mails/{name}": text for name, text in files.items()} | {"mails/README": "x"}
    (tmp_path / "w").mkdir()
    assert len(pairs(laid_out(tmp_path / "w", kind, wrapped))) == 4


@pytest.mark.parametrize("kind", ["folder", "zip", "w:xz"])
def test_named_tables(tmp_path, kind):
    files = {"train.csv": CSV, "dev.csv": CSV, "test.csv": "label,text\npos,new one\n", "notes.md": "x"}
    splits = load_splits(laid_out(tmp_path, kind, files))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 4, 1)
    assert splits.test[0].text == "new one"
    assert "not used: notes.md" in splits.found


def test_latin1_member(tmp_path):
    files = {f"{split}/{label}/{n}.txt": f"text {n}" for split in ("train", "test") for label in "ab" for n in "12"}
    path = laid_out(tmp_path, "zip", files | {"train/a/3": b"caf\xe9\n"})
    with pytest.raises(DataError, match=r"data.zip!train/a/3:1 encoding — byte 0xe9 at offset 3.*--encoding latin-1"):
        load_splits(path)
    assert len(pairs(path, encoding="latin-1")) == 9


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": CSV, "b.csv": CSV}, "several tables, none named train"),
        ({"train.csv": CSV, "train.tsv": CSV}, "two files for train"),
        ({"en/train.csv": CSV, "de/train.csv": CSV}, "several data sets: de, en"),
        ({"x/pos/1.txt": "a", "y/pos/1.txt": "b", "x/neg/1.txt": "c"}, "stand in several folders"),
        ({"README": "x"}, "no labelled texts"),
    ],
)
def test_folder_that_cannot_be_told(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        load_splits(laid_out(tmp_path, "folder", files))


def test_shards_of_one_split(tmp_path):
    files = {f"data/train-0000{n}-of-00002.csv": CSV for n in range(2)}
    assert len(pairs(laid_out(tmp_path, "folder", files))) == 8


def test_split_column(tmp_path):
    parts = ["train", "train", "train", "train", "dev", "test"]
    lines = [f"text {n},{'ab'[n % 2]},{part}\n" for n, part in enumerate(parts)]
    path = write(tmp_path, "a.csv", "text,label,split\n" + "".join(lines))
    splits = load_splits(path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 1, 1)
    assert [row.text for row in open_source(path).examples("test")] == ["text 5"]
    write(tmp_path, "a.csv", "text,label,split\n" + "".join(lines) + "odd,a,extra\n")
    with pytest.raises(DataError, match=r"a.csv:8 part|a.csv:8 split"):
        load_splits(path, ReadOptions(split_column="split"))


# --- real data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "sizes", "classes"),
    [
        ("sst2", {}, (6920, 872, 1821), 2),
        ("chnsenticorp", {}, (9600, 1200, 1200), 2),
        ("tnews", {}, (53360, 10000, 0), 15),
        ("csl/cls_ctg", {}, (8000, 1000, 1000), 13),
        ("clinc150/data_full.json", {}, (15000, 3000, 4500), 150),
        ("trec6", {"delimiter": "space", "encoding": "latin-1"}, (4907, 545, 500), 6),
        ("ohsumed.tar.xz", {}, (3021, 336, 4043), 23),
    ],
)
def test_real_data(real_data, name, options, sizes, classes):
    splits = load_splits(real_data(name), ReadOptions(**options))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert len(splits.labels) == classes
    assert splits.counts["read"] == splits.counts["accepted"]


def test_real_chnsenticorp_overlap_is_said(real_data):
    splits = load_splits(real_data("chnsenticorp"))
    assert any("texts of test stand in train too" in line for line in splits.found)


@pytest.mark.parametrize("name", ["mrpc", "afqmc", "stsb"])
def test_real_pairs_are_asked(real_data, name):
    with pytest.raises(DataError, match="--text NAME --label NAME"):
        load_splits(real_data(name))


def test_real_multi_label_is_refused(real_data):
    for name in ("goemotions", "unfair_tos"):
        with pytest.raises(DataError, match="multi-label"):
            load_splits(real_data(name))


def test_real_imdb_archive_streams(real_data):
    source = open_source(real_data("imdb/aclImdb_labeled.tar.xz"))
    rows = list(itertools.islice(source.examples(), 50))
    assert {row.label for row in rows} <= {"pos", "neg"}
    assert "!aclImdb/" in rows[0].place.file


@pytest.mark.slow
def test_real_imdb_archive_whole(real_data):
    splits = load_splits(real_data("imdb/aclImdb_labeled.tar.xz"))
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (25_000, 25_000)
    assert "warning: 123 texts of test stand in train too" in splits.found


@pytest.mark.slow
def test_real_20newsgroups(real_data):
    with pytest.raises(DataError, match="--encoding latin-1"):
        load_splits(real_data("20newsgroups.tar.xz"))
    splits = load_splits(real_data("20newsgroups.tar.xz"), ReadOptions(encoding="latin-1"))
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (11_314, 7_532)
