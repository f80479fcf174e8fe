"""Nothing a file says makes the reader hold more than a multiple of its own size: archives, JSON, Parquet, stdin."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import write

from filbert.errors import DataError
from filbert.readers import blobs
from filbert.readers.formats import json_objects, jsons
from filbert.readers.formats.parquet import Parquet
from filbert.readers.formats.parquet_pages import unpacked_sizes
from filbert.readers.sources import open_source
from filbert.readers.stdin import stream_examples


def refused(path, *, labelled=False):
    with pytest.raises(DataError) as caught:
        list(open_source(path, labelled=labelled).examples())
    return str(caught.value)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_tar_header_of_gigabytes_is_refused_before_it_is_read(tmp_path, kind):
    head = tarfile.TarInfo("x")
    head.type, head.size = kind, 6_000_000_000
    path = write(tmp_path, "a.tar.gz", gzip.compress(head.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20)))
    assert "a header states 6,000,000,000 bytes" in refused(path)


def test_long_names_in_a_tar_are_read(tmp_path):
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            head = tarfile.TarInfo(f"train/{'pos' * 60}/{'a' * 200}.txt")
            head.size = 4
            archive.addfile(head, io.BytesIO(b"good"))
        assert [row.text for row in open_source(tmp_path / "a.tar").examples()] == ["good"]


@pytest.mark.parametrize(
    "told",
    [
        {b"GNU.sparse.map": b"0,4", b"GNU.sparse.size": b"9999999999"},
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9999999999"},
    ],
    ids=["0.1", "1.0"],
)
def test_a_sparse_member_of_a_tar_is_refused(tmp_path, told):
    lines = b""
    for key, value in told.items():
        size = len(key) + len(value) + 3
        size += len(str(size + len(str(size))))
        lines += b"%d %s=%s\n" % (size, key, value)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        head = tarfile.TarInfo("train/pos/a.txt")
        head.type, head.size = b"x", len(lines)
        archive.addfile(head, io.BytesIO(lines))
        head = tarfile.TarInfo("train/pos/a.txt")
        head.size = 516
        archive.addfile(head, io.BytesIO(b"1\n0\n4\n".ljust(512, b"\0") + b"good"))
    assert "sparse file" in refused(tmp_path / "a.tar")


def test_one_json_object_is_measured_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(json_objects, "HELD_MOST", 1 << 20)
    many = b'{"train":[\n' + b"[],\n" * 100_000 + b"[]]}"
    assert "MB in memory" in refused(write(tmp_path, "a.json.gz", gzip.compress(many)), labelled=True)
    fine = b'{"train":[\n' + b'["a film", "pos"],\n' * 3 + b'["dull", "neg"]]}'
    assert len(list(open_source(write(tmp_path, "b.json.gz", gzip.compress(fine))).examples())) == 4


def test_one_json_object_packed_a_thousand_times_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "ROOM", 1 << 20)
    path = write(tmp_path, "a.json.gz", gzip.compress(b'{"train": [\n"' + b"word " * 1_000_000 + b'"]}'))
    assert "is larger than 1 MB, unpacked from 0.0 MB" in refused(path)


def test_few_long_rows_of_a_json_array_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(jsons, "SAMPLED", 1_000)
    rows = ",".join('{"text": "%s", "label": "a"}' % ("word " * 100) for _ in range(50))
    source = open_source(write(tmp_path, "a.json", f"[{rows}]"))
    assert 2 <= len(source.sample_targets()) < 5
    assert len(list(source.examples())) == 50


def test_parquet_in_an_archive_is_not_unpacked_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "ROOM", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.parquet", b"PAR1" + bytes(20 << 20))
    assert "a.zip!x.parquet file — unpacks to more than" in refused(tmp_path / "a.zip")


def test_parquet_that_says_it_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "ROOM", 1 << 20)
    table = pa.table({"text": ["word " * 1_000_000 + str(n) for n in range(20)]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    assert "unpacks to more than" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"compression": "gzip"}])
def test_pages_of_parquet_tell_what_the_metadata_does(tmp_path, how):
    rows = {"text": [f"text {n % 700} " * (n % 9) for n in range(3_000)], "n": [*range(3_000)]}
    table = pa.table({**rows, "tags": [["a", "b"][: n % 3] or None for n in range(3_000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1_100, data_page_size=4_000, **how)
    told = pq.read_metadata(tmp_path / "a.parquet")
    groups = [told.row_group(at) for at in range(told.num_row_groups)]
    wanted = [sum(g.column(at).total_uncompressed_size for at in range(g.num_columns)) for g in groups]
    with (tmp_path / "a.parquet").open("rb") as file:
        assert unpacked_sizes(file, told) == wanted


def test_a_page_of_parquet_larger_than_the_metadata_says_is_refused(tmp_path, monkeypatch):
    """60 MB stated in the header of a page that the metadata gives 1.2 MB: pyarrow would allocate and fill them."""
    monkeypatch.setattr(blobs, "ROOM", 4 << 20)
    text, path = "word " * 240_000, tmp_path / "a.parquet"
    how = {"compression": "gzip", "use_dictionary": False, "write_statistics": False}
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("text", "label")])
    pq.write_table(pa.table({"text": [text], "label": ["a"]}, schema=schema), path, **how)
    assert next(open_source(path, labelled=False).examples()).text == text
    data = path.read_bytes()
    real, stated = (_varint(2 * size) for size in (len(text) + 4, 60_000_000))
    assert len(real) == len(stated)
    at = data.index(real, 4)
    assert at < 10  # in the first header
    path.write_bytes(data[:at] + stated + data[at + len(real) :])
    assert "unpacks to more than" in refused(path)
    path.write_bytes(data[:4] + b"\x4f\xff\xff" + data[7:])
    assert "a.parquet file — " in refused(path)


def _varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def test_an_xz_file_with_a_dictionary_of_gigabytes_is_refused(tmp_path):
    """Its header states 1.5 GB for some bytes; the limit holds in each stream of the file."""
    rows = b"text,label\na good film,yes\n"
    usual = lzma.compress(rows)
    header = bytearray(usual)
    (tmp_path / "a.csv.xz").write_bytes(usual + bytes(8) + lzma.compress(b"a bad film,no\n", preset=9))
    assert [each.target for each in open_source(tmp_path / "a.csv.xz").examples()] == ["yes", "no"]
    at = 12 + 4  # stream header, then the block header: size, flags, filter id 0x21, one byte of properties: dictionary
    assert header[at - 2 : at] == b"\x21\x01"
    header[at] = 37  # 1.5 GB
    size = (header[12] + 1) * 4
    header[12 + size - 4 : 12 + size] = zlib.crc32(header[12 : 12 + size - 4]).to_bytes(4, "little")
    for data in (bytes(header), usual + bytes(header)):
        (tmp_path / "b.csv.xz").write_bytes(data)
        assert "needs more than 256 MB of memory to be unpacked — unpack it first" in refused(tmp_path / "b.csv.xz")
    (tmp_path / "c.csv.xz").write_bytes(usual[:-9])
    assert "cannot be read to its end" in refused(tmp_path / "c.csv.xz")


def test_a_text_that_parquet_holds_once_is_one_string_here(tmp_path):
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0] * 50, pa.int32()), pa.array(["long " * 1000, "b"]))
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    rows = list(open_source(tmp_path / "a.parquet", labelled=False).examples())
    assert [row.text for row in rows[:4]] == ["long " * 1000, "b", "", "long " * 1000]
    assert len({id(row.text) for row in rows if len(row.text) > 1}) == 1


def test_long_rows_of_parquet_are_read_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("filbert.readers.formats.parquet.BATCH_BYTES", 100_000)
    texts = [f"{n} " + "word " * 2_000 for n in range(100)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=False)
    sizes = []
    real = Parquet._rows
    monkeypatch.setattr(Parquet, "_rows", lambda self, batch: sizes.append(len(batch)) or real(self, batch))
    assert [row.text for row in open_source(tmp_path / "a.parquet", labelled=False).examples()] == texts
    assert max(sizes) < 12


def lines_of(data, wanted=None):
    return [row.text for row in stream_examples(io.BytesIO(data), "stdin", wanted)]


def test_stdin_is_read_as_a_file_is():
    assert lines_of(b"one\r\ntwo \rhalf\r\n\r\nthree") == ["one", "two \rhalf", "", "three"]
    assert lines_of("好\na".encode("utf-16")) == lines_of("好\na".encode("utf-16"), "utf-16") == ["好", "a"]
    assert lines_of("\ufeffone\n".encode()) == ["one"]
    assert lines_of("好\n".encode("gb18030"), "gb18030") == ["好"]
    assert lines_of(b"") == []


def test_a_line_on_stdin_that_cannot_be_read_is_named():
    with pytest.raises(DataError, match=r"stdin:2 text — byte 0xff at offset 3 is not UTF-8.*--encoding latin-1"):
        lines_of(b"ok\n\xff\n")
    with pytest.raises(DataError, match="stdin:1 text — the line is longer than 16 MB: 'xxx"):
        lines_of(b"x" * (17 << 20))
