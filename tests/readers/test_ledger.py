"""The file for bad rows: one for all sources of a pass, never an input nor another file."""

from __future__ import annotations

import json

import pytest
from reading import write

from filbert.errors import ConfigError
from filbert.finetuning.dataset import read_dataset
from filbert.readers.ledger import Ledger
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

ROWS = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(8))
QUARANTINE = ReadOptions(on_bad_rows="quarantine")


def test_S02_an_input_is_never_overwritten(tmp_path):
    content = '{"text": "one"}\n{"nottext": "two"}\n'
    path = write(tmp_path, "p.csv.rejects.jsonl", content)
    (tmp_path / "link").symlink_to(path)
    for rejects in (path, tmp_path / "link"):
        with pytest.raises(ConfigError, match=r"bad rows would be kept in .*, which is read here"):
            open_source(path, QUARANTINE, labelled=False, rejects=rejects)
    with pytest.raises(ConfigError, match="which is read here"):
        read_dataset(write(tmp_path, "a.csv", ROWS), QUARANTINE, test=path, rejects=path)
    assert path.read_text() == content


def test_S03_bad_rows_of_all_sources_are_kept(tmp_path):
    paths = [write(tmp_path, f"{name}.csv", ROWS + f"BAD {name},x,y\n") for name in ("train", "dev", "test")]
    kept = tmp_path / "m.rejects.jsonl"
    for _ in range(2):  # the file of an earlier run is replaced
        data = read_dataset(paths[0], QUARANTINE, validation=paths[1], test=paths[2], rejects=kept)
        rows = [json.loads(line)["row"] for line in kept.read_text().splitlines()]
        assert rows == ["BAD train,x,y\n", "BAD dev,x,y\n", "BAD test,x,y\n"]
        assert data.quarantined == 3


def test_another_file_is_not_replaced(tmp_path):
    kept = write(tmp_path, "m.rejects.jsonl", '{"text": "corrected by hand"}\n')
    source = open_source(write(tmp_path, "a.csv", ROWS + "BAD,x,y\n"), QUARANTINE, rejects=kept)
    with pytest.raises(ConfigError, match="where another file is — move it away"):
        list(source.examples())
    assert "corrected by hand" in kept.read_text()


def test_a_link_to_nowhere_is_not_followed(tmp_path):
    (tmp_path / "kept.jsonl").symlink_to(tmp_path / "elsewhere")
    source = open_source(write(tmp_path, "a.csv", ROWS + "BAD,x,y\n"), QUARANTINE, rejects=tmp_path / "kept.jsonl")
    with pytest.raises(ConfigError, match="which another run has made"):
        list(source.examples())
    assert not (tmp_path / "elsewhere").exists()


def test_two_passes_write_the_same_file(tmp_path):
    source = open_source(write(tmp_path, "a.csv", ROWS + "BAD,x,y\n"), QUARANTINE, rejects=tmp_path / "kept.jsonl")
    for _ in range(2):
        assert len(list(source.examples())) == 8
        assert len((tmp_path / "kept.jsonl").read_text().splitlines()) == 1


def test_nothing_is_written_where_nothing_is_bad(tmp_path):
    list(open_source(write(tmp_path, "a.csv", ROWS), QUARANTINE, rejects=tmp_path / "kept.jsonl").examples())
    assert not (tmp_path / "kept.jsonl").exists()
    with pytest.raises(ConfigError, match="no rejects file"):
        Ledger(quarantine=True)
