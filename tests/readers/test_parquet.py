"""Cells of Parquet that Python has no type for, and metadata that is none of ours."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filbert.errors import DataError
from filbert.readers.sources import open_source

MOMENT = 1_732_934_567_123_456_789


def cell(tmp_path, values):
    pq.write_table(pa.table({"text": ["a film"] * len(values), "x": values}), tmp_path / "a.parquet")
    return [row.columns["x"] for row in open_source(tmp_path / "a.parquet", labelled=False).examples()]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (pa.timestamp("ns"), MOMENT, "2024-11-30 02:42:47.123456789"),
        (pa.timestamp("ns"), MOMENT // 10**9 * 10**9, "2024-11-30 02:42:47"),
        (pa.timestamp("us"), 1_732_934_567_500_000, "2024-11-30 02:42:47.500000"),
        (pa.timestamp("ns", "UTC"), MOMENT, "2024-11-30 02:42:47.123456789+00:00"),
        (pa.timestamp("ms", "Asia/Shanghai"), 1_732_934_567_000, "2024-11-30 10:42:47+08:00"),
        (pa.date32(), -(10**6), "-0768-02-04"),
        (pa.date32(), 20_000, "2024-10-04"),
        (pa.time64("ns"), 10**9 + 1, "00:00:01.000000001"),
        (pa.duration("ns"), 5, "5"),
        (pa.list_(pa.timestamp("ns")), [MOMENT], '["2024-11-30 02:42:47.123456789"]'),
        (pa.struct([("a", pa.timestamp("ns"))]), {"a": MOMENT}, '{"a": "2024-11-30 02:42:47.123456789"}'),
    ],
    ids=str,
)
def test_dates_and_times_need_no_pandas_and_have_no_bounds(tmp_path, kind, value, said):
    assert cell(tmp_path, pa.array([value, None], kind)) == [said, ""]


@pytest.mark.parametrize(
    ("told", "label"),
    [
        (b'{"info":{"features":[1]}}', "0"),
        (b"[" * 100_000, "0"),
        (b'{"info":{"features":{"label":{"names":["\\ud800", "b"]}}}}', "?"),
        (b'{"info":{"features":{"label":{"names":["neg", "pos"]}}}}', "neg"),
    ],
    ids=lambda told: str(told)[:30],
)
def test_metadata_of_any_kind(tmp_path, told, label):
    fields = [pa.field("text", pa.string()), pa.field("label", pa.int64())]
    schema = pa.schema(fields, metadata={b"huggingface": told})
    pq.write_table(pa.table({"text": ["a"], "label": [0]}, schema=schema), tmp_path / "a.parquet")
    (row,) = open_source(tmp_path / "a.parquet").examples()
    assert row.target == label


@pytest.mark.parametrize("held_once", [False, True], ids=["plain", "dictionary"])
@pytest.mark.parametrize("column", ["text", "label", "note"])
def test_bytes_that_are_no_utf8_are_named_by_row_and_column(tmp_path, column, held_once):
    cells = {name: [f"{name} {n % 2}".encode() for n in range(5_000)] for name in ("text", "label", "note")}
    cells[column][3_210] = b"caf\xe9"
    arrays = {name: pa.array(values, pa.binary()) for name, values in cells.items()}
    strings = {name: pa.Array.from_buffers(pa.string(), 5_000, each.buffers()) for name, each in arrays.items()}
    pq.write_table(pa.table(strings), tmp_path / "a.parquet", use_dictionary=held_once)
    source = open_source(tmp_path / "a.parquet")
    with pytest.raises(DataError) as caught:
        list(source.examples())
    place = f"a.parquet:3211 {column} — holds bytes that are not UTF-8: 'caf\\\\xe9'"
    assert [place in str(problem) for problem in caught.value.problems] == [True], str(caught.value)
    assert source.counts == {"read": 5_000, "accepted": 4_999, "quarantined": 1}
