"""A hub data set by its id: downloaded from a real server on 127.0.0.1, read from the cache without a network."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer

from filbert.readers.hub import is_hub_id
from filbert.readers.sources import open_source

SHOW = """
import json, sys
from filbert.finetuning.dataset import read_dataset
from filbert.errors import DataError
try:
    data = read_dataset(sys.argv[1])
    sizes = [len(part) for part in (data.splits.train, data.splits.validation, data.splits.test)]
    print(json.dumps([*sizes, data.settings.labels, data.found]))
except DataError as error:
    sys.exit(str(error))
"""


def parquet(count: int) -> bytes:
    names = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": [f"text {n} of {count}" for n in range(count)], "label": [n % 2 for n in range(count)]})
    data = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), data)
    return data.getvalue()


def load(tmp_path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Read the data set in a process of its own: huggingface_hub reads the environment when it is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.upper().endswith("_PROXY")}
    environment = {**kept, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **settings}
    command = [sys.executable, "-c", SHOW, "nuts/reviews"]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)


def test_hub_data_set_online_then_offline(tmp_path):
    with HubServer() as hub:
        files = {
            "README.md": b"# reviews",
            "reviews.py": b"raise SystemExit('a script was run')",
            "plain_text/train-00000-of-00002.parquet": parquet(30),
            "plain_text/train-00001-of-00002.parquet": parquet(10),
            "plain_text/test-00000-of-00001.parquet": parquet(8),
            "plain_text/unsupervised-00000-of-00001.parquet": parquet(4),
        }
        hub.add("nuts/reviews", files, kind="dataset")
        online = load(tmp_path, HF_ENDPOINT=hub.url)
        fetched = [path for _, path in hub.requests if "resolve" in path]
    assert online.returncode == 0, online.stderr
    train, validation, test, labels, found = json.loads(online.stdout)
    assert (train + validation, test, labels) == (40, 8, ["neg", "pos"])
    assert any("unsupervised" in line and "not used" in line for line in found)
    assert not any(path.endswith((".py", ".md")) for path in fetched)
    offline = load(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout, offline.stderr


def test_hub_that_cannot_be_had(tmp_path):
    with HubServer() as hub:
        missing = load(tmp_path, HF_ENDPOINT=hub.url)
        hub.add("nuts/reviews", {"README.md": b"nothing else"}, kind="dataset")
        empty = load(tmp_path, HF_ENDPOINT=hub.url)
    assert missing.returncode == empty.returncode == 1
    assert missing.stderr.startswith("nuts/reviews hub — cannot be downloaded")
    assert "no Parquet, CSV or JSON files" in empty.stderr
    offline = load(tmp_path / "", HF_HOME=str(tmp_path / "other"), HF_HUB_OFFLINE="1")
    assert "the hub cannot be reached" in offline.stderr


def test_local_paths_never_touch_the_network(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reviews").write_text("text,label\na,x\nb,y\n")
    assert open_source("data/reviews").splits == ("all",)
    assert not is_hub_id("data/other")  # a folder of that name is here: a slip of the hand, no hub id


@pytest.mark.parametrize("name", ["reviews.csv", "a/b/c", "../a", "/a/b", "a/", "owner/set.csv", "a b/c"])
def test_names_that_are_no_hub_ids(name):
    assert not is_hub_id(name)
