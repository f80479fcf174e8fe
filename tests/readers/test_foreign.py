"""What is no table under a table's name is named by its first bytes, when training and when scoring."""

from __future__ import annotations

import io
import sqlite3
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from reading import pairs, write

from filbert.errors import DataError
from filbert.readers.documents import open_corpus
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source


def made(kind: str, folder) -> bytes:
    out = io.BytesIO()
    if kind == "numpy":
        np.save(out, np.zeros(3))
    elif kind == "arrow":
        table = pa.table({"text": ["a"]})
        with pa.ipc.new_file(out, table.schema) as file:
            file.write(table)
    elif kind == "sqlite":
        with sqlite3.connect(folder / "db") as base:
            base.execute("create table a (b)")
        base.close()
        return (folder / "db").read_bytes()
    return out.getvalue()


SIGNS = {
    b"%PDF-1.7\nabc": "PDF",
    b"\x89PNG\r\n\x1a\n": "image",
    b"\xff\xd8\xff\xe0\0\x10JFIF": "image",
    b"GIF89a": "image",
    b"RIFF\x10\0\0\0WEBPVP8": "image",
    b"RIFF\x10\0\0\0WAVEfmt": "recording",
    b"7z\xbc\xaf\x27\x1c": "archive",
    b"Rar!\x1a\x07\0": "archive",
    b"{\\rtf1 text": "RTF",
    b"Obj\x01\x04": "Avro",
    b"\x80\x02}q\x00X\x04": "pickle",
    b"\x80\x04\x95\x10\0": "pickle",
    b"\x7fELF\x02": "program",
    b"<!DOCTYPE html>\n<table><tr><td>a,b": "web page",
    b"\xef\xbb\xbf \n<HTML lang=en>": "web page",
    b"<?xml version='1.0'?><rows/>": "web page, or XML",
}


@pytest.mark.parametrize("data", [*SIGNS, "numpy", "arrow", "sqlite"], ids=str)
@pytest.mark.parametrize("labelled", [True, False])
def test_it_is_named(tmp_path, data, labelled):
    path = write(tmp_path, "reviews.csv", made(data, tmp_path) if isinstance(data, str) else data)
    with pytest.raises(DataError, match="by its first bytes") as caught:
        open_source(path, labelled=labelled)
    assert SIGNS.get(data, data[:5]).lower() in str(caught.value).replace("arrays", "numpy").lower()


def test_in_a_corpus_and_in_an_archive_too(tmp_path):
    with pytest.raises(DataError, match="is a PDF document"):
        list(open_corpus(write(tmp_path, "a.txt", b"%PDF-1.7\n\xe2\xe3")).documents())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        head = tarfile.TarInfo("train.csv")
        head.size = 8
        archive.addfile(head, io.BytesIO(b"%PDF-1.7"))
    with pytest.raises(DataError, match=r"a\.tar!train\.csv file — is a PDF document"):
        open_source(tmp_path / "a.tar")


def test_texts_that_begin_alike_stay_texts(tmp_path):
    path = write(tmp_path, "a.txt", "<html> is what I see\nGIF or not\nMZ and PK\nII*\n")
    assert [text for text, _ in pairs(path, labelled=False)] == path.read_text().splitlines()


def test_a_sheet_of_what_is_no_spreadsheet_is_refused(tmp_path):
    for name, content in (("a.csv", "text,label\na,x\nb,y\n"), ("b.jsonl", '{"text": "a", "label": "x"}\n')):
        with pytest.raises(DataError, match="sheet — 'May' is asked for, but this is no spreadsheet"):
            pairs(write(tmp_path, name, content), sheet="May")


@pytest.mark.parametrize("told", [{"text_pair": "text"}, {"label": "text"}, {"text": "text,b", "text_pair": "b"}])
def test_one_column_is_not_read_as_two_things(tmp_path, told):
    path = write(tmp_path, "a.csv", "text,b,label\none,two,x\nthree,four,y\n")
    with pytest.raises(DataError, match=r"is named for (both texts|text and label)"):
        pairs(path, **{"text": "text", **told})


def test_a_stray_carriage_return_in_the_first_row_keeps_no_half(tmp_path):
    path = write(tmp_path, "a.csv", "good \rreally good,pos\nbad,neg\nfine,pos\npoor,neg\n")
    with pytest.raises(DataError, match=r"a\.csv:1 row — a carriage return .CR. stands inside of the row"):
        pairs(path)
    kept = open_source(path, ReadOptions(on_bad_rows="quarantine"), rejects=tmp_path / "kept.jsonl")
    assert [row.text for row in kept.examples()] == ["bad", "fine", "poor"]
    assert kept.counts == {"read": 4, "accepted": 3, "quarantined": 1}
