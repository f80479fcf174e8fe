"""Whatever the bytes, reading ends with rows or with a DataError that names the file: never with a traceback."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filbert.errors import DataError
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

PIECES = [
    b'"',
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"\xe9",
    "好评".encode(),
    b"text,label\n",
    b"good,pos\n",
    b"\x00",
    b"{}",
    b"[",
]
PIECES += [
    b'{"text": "a", "label": "b"}\n',
    b"__label__a b\n",
    b"__label__a,",
    b"sep=;\n",
    b', "x"',
    b'{"data": [',
    b"1,0\n",
    b"\xff\xfe",
    b"1",
    "差评".encode("gb18030"),
    b" ",
]
NAMES = ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt"]


def check(path, **options):
    for labelled in (True, False):
        message = ""
        try:
            source = open_source(path, ReadOptions(**options), labelled=labelled)
            rows = list(source.examples())
        except DataError as error:
            message = str(error)
        if message:
            assert path.name in message
            continue
        assert source.counts == {"read": len(rows), "accepted": len(rows), "quarantined": 0}
        assert all(isinstance(value, str) for row in rows for value in row.columns.values())
        assert not labelled or all(row.text and row.target for row in rows)


@pytest.mark.parametrize("seed", range(150))
def test_any_bytes(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / rng.choice(NAMES)
    path.write_bytes(b"".join(rng.choices(PIECES, k=rng.randint(0, 40))))
    check(path, encoding=rng.choice([None, None, "auto", "latin-1", "utf-16"]), header=rng.choice([None, True, False]))


def sound_files() -> dict[str, bytes]:
    rows = [{"text": f"some text {n}", "label": "ab"[n % 2]} for n in range(50)]
    csv = b"text,label\n" + b"".join(f'"{row["text"]}",{row["label"]}\n'.encode() for row in rows)
    parquet, archive = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for n, row in enumerate(rows):
            file.writestr(f"{row['label']}/{n}.txt", row["text"])
    return {
        "a.csv": csv,
        "a.csv.gz": gzip.compress(csv),
        "a.json": json.dumps(rows).encode(),
        "a.parquet": parquet.getvalue(),
        "a.zip": archive.getvalue(),
    }


@pytest.mark.parametrize("name", sound_files())
@pytest.mark.parametrize("seed", range(15))
def test_flipped_and_cut(tmp_path, name, seed):
    rng = random.Random(seed)
    data = bytearray(sound_files()[name])
    if seed % 2:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        data = data[: rng.randrange(len(data))]
    path = tmp_path / name
    path.write_bytes(bytes(data))
    check(path)
