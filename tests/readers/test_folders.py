"""A folder or an archive: tables named train, dev and test, or a folder per class; a column of splits."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from reading import CSV, pairs, write

from filbert.errors import DataError
from filbert.finetuning.dataset import read_dataset
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

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
    data = read_dataset(path)
    splits = data.splits
    assert sorted(row.text for row in splits.train + splits.validation) == ["bad", "fine", "good", "poor"]
    assert {row.text: row.target for row in splits.test} == {"warm": "pos", "cold": "neg"}
    assert data.settings.labels == ("neg", "pos")
    assert "texts without a label in unsup, not used: 1" in data.found
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
    data = read_dataset(laid_out(tmp_path, kind, files))
    splits = data.splits
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 4, 1)
    assert splits.test[0].text == "new one"
    assert "not used: notes.md" in data.found


def test_latin1_member(tmp_path):
    files = {f"{split}/{label}/{n}.txt": f"text {n}" for split in ("train", "test") for label in "ab" for n in "12"}
    path = laid_out(tmp_path, "zip", files | {"train/a/3": b"caf\xe9\n"})
    with pytest.raises(DataError, match=r"data.zip!train/a/3:1 encoding — byte 0xe9 at offset 3.*--encoding latin-1"):
        read_dataset(path)
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
        read_dataset(laid_out(tmp_path, "folder", files))


def test_shards_of_one_split(tmp_path):
    files = {f"data/train-0000{n}-of-00002.csv": CSV for n in range(2)}
    assert len(pairs(laid_out(tmp_path, "folder", files))) == 8


def test_split_column(tmp_path):
    parts = ["train", "train", "train", "train", "dev", "test"]
    lines = [f"text {n},{'ab'[n % 2]},{part}\n" for n, part in enumerate(parts)]
    path = write(tmp_path, "a.csv", "text,label,split\n" + "".join(lines))
    splits = read_dataset(path).splits
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 1, 1)
    assert [row.text for row in open_source(path).examples("test")] == ["text 5"]
    write(tmp_path, "a.csv", "text,label,split\n" + "".join(lines) + "odd,a,extra\n")
    with pytest.raises(DataError, match=r"a.csv:8 part|a.csv:8 split"):
        read_dataset(path, ReadOptions(split_column="split"))
