"""Documents come out whole and in order, whatever they are packed in; what cannot be read is named by file and line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filbert.errors import ConfigError, DataError
from filbert.readers import documents as corpus
from filbert.readers.documents import open_corpus, tidied

PLAIN = "One line.\nAnother.\n\n\nSecond document.\n"
PARTS = [("One line.", "Another."), ("Second document.",)]
WIKI = """<doc id="1" url="http://x?curid=1" title="Cat &quot;Tom&quot;">
Cat "Tom"

A cat &amp; a dog.<br>Both bark.
&lt;br&gt;
History.
</doc>
<doc id="2" url="http://x?curid=2" title="Empty">
Empty

</doc>
<doc id="3" url="http://x?curid=3" title="狗">
狗

狗是动物。
</doc>
"""
ARTICLES = [("A cat & a dog. Both bark.", "History."), ("狗是动物。",)]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parts(path, encoding=None):
    return [document.paragraphs for document in open_corpus(path, encoding).documents()]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def tarred(files: dict[str, bytes], mode: str = "w:xz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


# --- kinds ----------------------------------------------------------------------------------------------------------


def test_blank_lines_between_documents(tmp_path):
    opened = open_corpus(write(tmp_path / "a.txt", PLAIN))
    found = list(opened.documents())
    assert [document.paragraphs for document in found] == PARTS
    assert [document.place.line for document in found] == [1, 5]
    assert (opened.name, opened.read) == ("a.txt", 2)
    assert opened.found == ["encoding: UTF-8", "format: plain text, a blank line between documents"]
    assert [document.paragraphs for document in opened.documents()] == PARTS  # and again


def test_texts_to_leave_out(tmp_path):
    path = write(tmp_path / "texts.txt", "Kept.\nTested on.\n\nTested  on,\nas a whole.\n\nKept, too.\n")
    found = open_corpus(path, leave_out=["Tested on.", "Tested on, as a whole."])
    assert [document.paragraphs for document in found.documents()] == [("Kept.",), ("Kept, too.",)]
    assert found.read == 2
    assert found.notes[corpus.UNWANTED] == 2
    assert found.fingerprint() != open_corpus(path).fingerprint()


def test_no_blank_line_several_sentences_a_line(tmp_path):
    path = write(tmp_path / "a.txt", "Dull. Long.\n好看。很好看。\nA title\n")
    assert parts(path) == [("Dull. Long.",), ("好看。很好看。",), ("A title",)]


def test_no_blank_line_running_text(tmp_path):
    path = write(tmp_path / "a.txt", "".join(f"Sentence {n} runs on.\n" for n in range(250)))
    assert [len(document) for document in parts(path)] == [100, 100, 50]


def test_document_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "LONGEST", 50)
    path = write(tmp_path / "a.txt", PLAIN + "\n" + "twenty characters xy\n" * 7)
    assert [len(document) for document in parts(path)] == [2, 1, 3, 3, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "".join(json.dumps({"text": "\n".join(rows), "label": [1]}) + "\n" for rows in PARTS)),
        ("a.txt", "".join(json.dumps({"id": 1, "title": "t", "text": "\n".join(rows)}) + "\n" for rows in PARTS)),
        ("a.json", json.dumps([{"text": "\n\n".join(rows)} for rows in PARTS])),
        ("a.csv", 'text,label\n"One line.\nAnother.",\nSecond document.,x\n'),
    ],
)
def test_each_row_a_document(tmp_path, name, content):
    assert parts(write(tmp_path / name, content)) == PARTS


def test_parquet(tmp_path):
    pq.write_table(pa.table({"id": [1, 2], "text": ["\n".join(rows) for rows in PARTS]}), tmp_path / "a.parquet")
    assert parts(tmp_path / "a.parquet") == PARTS
    assert parts(write(tmp_path / "a.zip", zipped({"x/a.parquet": (tmp_path / "a.parquet").read_bytes()}))) == PARTS


def test_wikiextractor(tmp_path):
    opened = open_corpus(write(tmp_path / "wiki_00", WIKI))
    assert [(document.paragraphs, document.place.line) for document in opened.documents()] == [
        (ARTICLES[0], 1),
        (ARTICLES[1], 12),
    ]
    assert opened.notes == {"documents without text": 1}
    assert "WikiExtractor" in opened.found[1]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("R&amp;B &lt;br /&gt; 20&lt;30", "R&B 20<30"),
        ('a <dfn id="">ball</dfn>, <ref name="x/y">p. 9</ref>done<ref name=z/> .', "a ball, done ."),
        ("vector<T> and <stdio.h>", "vector<T> and <stdio.h>"),
        ("一；&lt;BR&gt;二<b/>", "一； 二"),
    ],
)
def test_tidied(line, wanted):
    assert tidied(line) == wanted


# --- packing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, zstd])
def test_compressed(tmp_path, pack):
    packed = pack(WIKI.encode())
    assert parts(write(tmp_path / "a", packed)) == ARTICLES
    assert parts(write(tmp_path / "a.tar", tarred({"AA/wiki_00": packed, "AA/wiki_01": packed}, "w"))) == ARTICLES * 2


def test_archives_and_folders(tmp_path):
    files = {
        "README.md": b"read me",
        "AA/wiki_00": WIKI.encode(),
        "AA/wiki_01": b"\n",
        "AB/b.jsonl": b'{"text": "b"}\n',
    }
    for name, data in files.items():
        write(tmp_path / "folder" / name, data)
    write(tmp_path / "folder" / "more.tar.gz", tarred({"c.txt": PLAIN.encode()}, "w:gz"))
    wanted = [*ARTICLES, ("b",)]
    assert parts(write(tmp_path / "a.tar.xz", tarred(files))) == wanted
    assert parts(write(tmp_path / "a.zip", zipped(files))) == wanted
    opened = open_corpus(tmp_path / "folder")
    whole = ("One line.", "Another.", "Second document.")
    assert [document.paragraphs for document in opened.documents()] == [*wanted, whole]
    assert opened.notes == {"files not used": 1, "empty files": 1, "documents without text": 1}


def test_long_texts_of_a_folder_have_blank_lines_between(tmp_path, monkeypatch):
    for name in ("1.txt", "2.txt"):
        write(tmp_path / "a" / name, PLAIN)
    assert parts(tmp_path / "a") == [("One line.", "Another.", "Second document.")] * 2
    monkeypatch.setattr(corpus, "SMALL", 10)
    assert parts(tmp_path / "a") == [*PARTS, *PARTS]


def test_large_member_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "HELD", 100)
    files = {"x/a": b"<doc id=1>\nshort\n</doc>", "x/b": WIKI.encode()}
    files |= {"x/c.gz": gzip.compress(WIKI.encode()), "x/d": b"<doc id=1>\nlast\n</doc>"}
    assert len(files["x/c.gz"]) > 100
    assert parts(write(tmp_path / "a.tar.gz", tarred(files, "w:gz"))) == [("short",), *ARTICLES, *ARTICLES, ("last",)]


def test_aclimdb_layout(tmp_path):
    files = {
        "aclImdb/README": b"about",
        "aclImdb/imdb.vocab": b"the\nand\n",
        "aclImdb/train/urls_unsup.txt": b"http://a\nhttp://b\n",
        "aclImdb/train/unsup/1_0.txt": b"Good. Really.<br />Good.",
        "aclImdb/train/unsup/2_0.txt": b"Bad film",
        "aclImdb/train/labeledBow.feat": b"9 0:9\n",
    }
    opened = open_corpus(write(tmp_path / "aclImdb.tar.gz", tarred(files, "w:gz")))
    assert [document.paragraphs for document in opened.documents()] == [("Good. Really.<br />Good.",), ("Bad film",)]
    assert opened.notes["files not used"] == 4


# --- faults ---------------------------------------------------------------------------------------------------------


def test_every_bad_line_is_named_and_nothing_follows_it(tmp_path):
    write(tmp_path / "a" / "1.txt", b"fine\nb\xff\n")
    write(tmp_path / "a" / "2.jsonl", '{"text": "fine"}\n{"text": \n{"text": "lost"}\n')
    write(tmp_path / "a" / "0.txt", "first")
    documents = open_corpus(tmp_path / "a").documents()
    assert next(documents).paragraphs == ("first",)
    with pytest.raises(DataError) as caught:
        next(documents)
    assert [(Path(p.place.file).name, p.place.line) for p in caught.value.problems] == [("1.txt", 2), ("2.jsonl", 2)]


def test_bad_byte_in_lines(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt:4 row — byte 0xff at offset 12"):
        parts(write(tmp_path / "a.txt", b"fine\n\nfine\nb\xff\n"))


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_damaged_archive(tmp_path, keep):
    data = tarred({f"AA/wiki_{n:02}": WIKI.replace("bark", str(7**n)).encode() * 50 for n in range(9)})
    path = write(tmp_path / "a.tar.xz", data[: int(len(data) * keep)])
    with pytest.raises(DataError, match="damaged or cut short"):
        parts(path)


@pytest.mark.parametrize(
    ("content", "line", "wrong"),
    [
        (WIKI + "stray\n", 17, "stands outside"),
        (WIKI + '<doc id="4">\ncut', 17, "not closed"),
        (WIKI.replace('</doc>\n<doc id="2"', '<doc id="2"'), 1, "not closed"),
        (WIKI + "</doc>\n", 17, "stands outside"),
    ],
)
def test_broken_wikiextractor(tmp_path, content, line, wrong):
    with pytest.raises(DataError, match=wrong) as caught:
        parts(write(tmp_path / "wiki_00", content))
    assert [problem.place.line for problem in caught.value.problems] == [line]


def test_refused(tmp_path):
    for path in (write(tmp_path / "empty", " \n"), write(tmp_path / "folder" / "README.md", "x").parent):
        with pytest.raises(DataError, match="holds no text"):
            open_corpus(path)
    with pytest.raises(DataError, match="does not exist"):
        open_corpus(tmp_path / "none.txt")
    with pytest.raises(DataError, match="office document"):
        open_corpus(write(tmp_path / "a.docx", zipped({"x": b"x"})))
    with pytest.raises(DataError, match="archive inside an archive"):
        open_corpus(write(tmp_path / "a.tar", tarred({"b.zip": zipped({"x": b"x"})}, "w")))
    with pytest.raises(ConfigError, match="unknown"):
        open_corpus(tmp_path / "empty", "klingon")


def test_encoding(tmp_path):
    path = write(tmp_path / "a" / "1.txt", "房间很大，很干净。".encode("gb18030"))
    assert parts(path.parent, "gb18030") == parts(path, "gb18030") == [("房间很大，很干净。",)]


def test_fingerprint_is_of_the_content(tmp_path):
    one, two = write(tmp_path / "a" / "1.txt", PLAIN), write(tmp_path / "b" / "1.txt", PLAIN)
    first = open_corpus(one).fingerprint()
    assert first == open_corpus(two).fingerprint()
    assert open_corpus(one.parent).fingerprint() == open_corpus(two.parent).fingerprint() != first
    write(two, PLAIN.replace("O", "o"))
    assert open_corpus(two).fingerprint() != first != open_corpus(one, "latin-1").fingerprint()


# --- real data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"),
    [("enwiki_text_AA", "Gunpowder, also known as"), ("zhwiki_text_AA", "《你的名字。》（，），是日本")],
)
def test_wikipedia(real_data, name, start):
    path = real_data("wiki") / f"{name}.tar.xz"
    found = list(islice(open_corpus(path).documents(), 400))
    assert found[0].paragraphs[0].startswith(start)
    assert not any("<br" in text or "&lt;" in text for document in found for text in document.paragraphs)


def test_imdb_unsupervised(real_data):
    opened = open_corpus(real_data("imdb") / "aclImdb_unsup.tar.xz")
    found = list(islice(opened.documents(), 200))
    assert len({document.place.file for document in found}) == 200
    assert all(document.place.file.endswith(".txt") for document in found)


def test_a_folder_of_one_file_is_read_as_the_file_is(tmp_path):
    (tmp_path / "texts").mkdir()
    path = tmp_path / "texts" / "c.txt"
    path.write_text("One. Two.\n\nThree. Four.\n", encoding="utf-8")
    alone = [document.paragraphs for document in open_corpus(path).documents()]
    assert [document.paragraphs for document in open_corpus(tmp_path / "texts").documents()] == alone
    assert len(alone) == 2
