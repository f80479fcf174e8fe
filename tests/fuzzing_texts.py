"""Fuzz targets: files of texts, as fit and as predict read them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
from fuzzing import Draw, Files, Target, changed, dumped, json_changed, jsons, words
from hypothesis import strategies as st

from filbert import tasks
from filbert.errors import DataError
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

ROWS = [{"text": f"some text, {n}", "label": "ab"[n % 2]} for n in range(12)]
CSV = b"text,label\n" + b"".join(f'"{row["text"]}",{row["label"]}\n'.encode() for row in ROWS)
LINES = [
    b"text,label\n",
    b"good,pos\n",
    b'{"text": "a", "label": "b"}\n',
    b"__label__a b\n",
    b"sep=;\n",
    b"1,0\n",
    b"#\n",
]
PIECES = [
    b'"',
    b",",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b";",
    b"|",
    b" ",
    b"\x00",
    b"\xe9",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"0.5",
]
PARTS = [
    b"{}",
    b"[",
    b"__label__a,",
    b', "x"',
    b'{"data": [',
    b"id\ttext\tlabel\n",
    "好评".encode(),
    "差".encode("gb18030"),
]
pieces = st.sampled_from([*LINES, *PIECES, *PARTS])
options = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from(["auto", "latin-1", "utf-16", "gb18030", "utf-8"]),
        "header": st.booleans(),
        "delimiter": st.sampled_from(["tab", "comma", "space", "||", ";"]),
        "quotes": st.booleans(),
        "skip_lines": st.integers(0, 3),
    },
)


@st.composite
def table(draw: Draw, names: list[str], content: st.SearchStrategy[bytes]) -> Files:
    """Return a file of texts, and the options that it is read with."""
    return {draw(st.sampled_from(names)): draw(content), "options.json": json.dumps(draw(options)).encode()}


def read_texts(folder: Path) -> None:
    """Read the one file of texts as fit does, and as predict does."""
    told = folder / "options.json"
    asked = ReadOptions(**json.loads(told.read_text())) if told.exists() else ReadOptions()
    (path,) = [each for each in folder.iterdir() if each != told]
    wrong: list[DataError] = []
    for labelled in (True, False):
        try:
            source = open_source(path, asked, labelled=labelled)
            cells = source.sample_targets()
            parse = tasks.named("single-label").read(cells, {}).parse if labelled else None
            rows = list(source.examples(parse=parse))
        except DataError as error:
            wrong.append(error)
            continue
        assert source.counts == {"read": len(rows), "accepted": len(rows), "quarantined": 0}
        assert all(isinstance(cell, str) for row in rows for cell in row.columns.values())
        assert not labelled or all(row.text and row.target for row in rows)
    if wrong:
        raise wrong[0]


CHOICE = {"type": "choices", "value": {"choices": ["b"]}}
QUESTION = {"question": "c", "answers": [{"text": "a", "answer_start": 0}]}
SHAPES: list[Any] = [
    ROWS,
    {"data": ROWS},
    {row["text"]: row["label"] for row in ROWS},
    [list(row.values()) for row in ROWS],
    {key: [row[key] for row in ROWS] for key in ("text", "label")},
    {"train": ROWS, "test": ROWS[:2]},
    [{"data": {"text": "a"}, "annotations": [{"result": [CHOICE]}]}] * 3,
    [{"text": "a", "accept": ["b"], "answer": "accept", "_task_hash": 1}] * 3,
    {"data": [{"paragraphs": [{"context": "a b", "qas": [QUESTION]}]}]},
]


@st.composite
def some_json(draw: Draw) -> bytes:
    shape = draw(st.sampled_from(SHAPES))
    value = draw(json_changed(shape) | jsons)
    lines = draw(st.booleans()) and isinstance(value, list)
    data = (
        b"\n".join(map(dumped, value)) if lines else json.dumps(value, indent=draw(st.sampled_from([None, 1]))).encode()
    )
    return draw(changed(data, 2))


@st.composite
def parquet(draw: Draw) -> bytes:
    kinds: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
        (pa.string(), st.text(max_size=9).map(lambda text: text.encode("utf-8", "replace").decode())),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.float64(), st.floats()),
        (pa.binary(), st.binary(max_size=5)),
        (pa.list_(pa.string()), st.lists(st.sampled_from(["a", "b", "好"]), max_size=3)),
        (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
        (pa.struct([("pos", pa.float32())]), st.fixed_dictionaries({"pos": st.floats(0, 1, width=32)})),
        (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b"])),
        (pa.bool_(), st.booleans()),
    ]
    columns = {}
    for name in draw(
        st.lists(st.sampled_from(["text", "label", "x", "", "text "]), min_size=1, max_size=4, unique=True)
    ):
        kind, values = draw(st.sampled_from(kinds))
        columns[name] = pa.array(draw(st.lists(st.none() | values, min_size=5, max_size=5)), kind)
    held = io.BytesIO()
    pq.write_table(pa.table(columns), held, compression=draw(st.sampled_from(["none", "snappy", "gzip", "zstd"])))
    return draw(changed(held.getvalue(), 3))


@cache
def workbook() -> bytes:
    held = io.BytesIO()
    with xlsxwriter.Workbook(held) as book:
        sheet = book.add_worksheet("Data")
        for at, row in enumerate([["text", "label"], *(list(row.values()) for row in ROWS)]):
            sheet.write_row(at, 0, row)
    return held.getvalue()


@st.composite
def zipped(draw: Draw, data: bytes) -> bytes:
    """Return a zip archive with one member changed, left out or renamed; or the archive's own bytes changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    how = draw(st.sampled_from(["change", "change", "change", "drop", "rename", "raw"]))
    if how == "raw":
        return draw(changed(data))
    old = members.pop(name)
    if how != "drop":
        members[name if how == "change" else draw(words) or "x"] = draw(changed(old)) if how == "change" else old
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member.encode("utf-8", "replace").decode()), content)
    return held.getvalue()


@st.composite
def archive_of_texts(draw: Draw) -> Files:
    """Return a tar or zip archive of made-up members, whole or changed."""
    name = st.sampled_from(["pos/1.txt", "neg/1.txt", "train/pos/1.txt", "train.csv", "test.csv", "../x.csv", "/x.csv"])
    name |= st.sampled_from(["a.csv", "a.json", ".hidden", "pos", "neg/2.txt", "train/neg/2.txt", "__MACOSX/a.csv"])
    members = draw(
        st.dictionaries(name | words.filter(bool), st.just(CSV) | st.just(b"a text") | st.binary(max_size=30))
    )
    held, kind = io.BytesIO(), draw(st.sampled_from(["zip", "tar", "tar.gz"]))
    if kind == "zip":
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(zipfile.ZipInfo(member.encode("utf-8", "replace").decode()), content)
    else:
        with tarfile.open(fileobj=held, mode="w") as tar:
            for member, content in members.items():
                told = tarfile.TarInfo(member.encode("utf-8", "replace").decode().replace("\0", ""))
                told.size, told.type = len(content), draw(st.sampled_from([b"0", b"0", b"0", b"2", b"5", b"1"]))
                told.linkname = "../../etc/passwd"
                tar.addfile(told, io.BytesIO(content))
    data = draw(changed(held.getvalue(), 2))
    return {f"a.{kind}": draw(changed(gzip.compress(data), 2)) if kind == "tar.gz" else data}


TEXTS = {
    "csv": Target(
        table(["a.csv", "a.tsv", "a.txt", "a"], st.lists(pieces, max_size=40).map(b"".join) | changed(CSV)), read_texts
    ),
    "json": Target(table(["a.json", "a.jsonl", "a.txt"], some_json()), read_texts),
    "parquet": Target(table(["a.parquet"], parquet()), read_texts),
    "spreadsheet": Target(table(["a.xlsx"], st.deferred(lambda: zipped(workbook()))), read_texts),
    "archive": Target(archive_of_texts(), read_texts),
}
