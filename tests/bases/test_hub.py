"""Models of the hub: downloaded, cached, compared with their SHA-256, or refused."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from command import TRAIN, write_texts
from model_files import FILES, configured, without, written

from filbert import cli
from filbert.bases import find
from filbert.bases.find import find_base
from filbert.bases.hub import _within
from filbert.errors import ModelError

REPO = "nuts/hazel"


def test_M40_download_by_commit_then_from_cache_with_the_hub_gone(hub, monkeypatch):
    commit = hub.add(REPO, FILES | {"pytorch_model.bin": b"\x80", "modeling.py": b"", "model-onnx/w.safetensors": b"x"})
    base = find_base(REPO)
    assert base.revision == commit == base.folder.name
    assert commit[:12] in base.reason
    assert {path.name: path.read_bytes() for path in base.folder.iterdir()} == FILES
    fetched = {path.rsplit("/", 1)[1] for _, path in hub.requests if "/resolve/" in path}
    assert fetched == set(FILES)
    hub.down()
    assert find_base(REPO) == base  # unreachable: the cache serves
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.requests)
    assert find_base(REPO) == base
    assert find_base(f"{REPO}@{commit}").folder == base.folder
    assert len(hub.requests) == asked


def test_what_stood_for_a_text_is_downloaded_too(hub):
    told = {"1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}', "2_Dense/model.safetensors": b"x"}
    hub.add(REPO, FILES | told | {"2_Dense/config.json": b"{}"})
    base = find_base(REPO)
    assert base.pooling == "mean"
    assert {path.relative_to(base.folder).as_posix() for path in base.folder.rglob("*") if path.is_file()} == {
        *FILES,
        "1_Pooling/config.json",
    }


def test_a_revision_is_honoured_and_a_cached_commit_asks_nobody(hub):
    old = hub.add(REPO, FILES)
    new = hub.add(REPO, FILES | {"vocab.txt": b"new"}, branch="refs/pr/1")
    assert find_base(f"{REPO}@refs/pr/1").revision == new
    assert find_base(f"{REPO}@{old}").revision == old
    asked = len(hub.requests)
    assert find_base(f"{REPO}@{old}").revision == old
    assert len(hub.requests) == asked
    with pytest.raises(ModelError, match="has no revision 'v9'"):
        find_base(f"{REPO}@v9")


def test_the_token_is_sent(hub, monkeypatch):
    hub.add(REPO, FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_nut")
    find_base(REPO)
    assert hub.tokens == {"Bearer hf_nut"}


def test_shards_are_downloaded(hub):
    index = json.dumps({"weight_map": {"weight": "model-00001-of-00001.safetensors"}}).encode()
    shard = {"model.safetensors.index.json": index, "model-00001-of-00001.safetensors": FILES["model.safetensors"]}
    hub.add(REPO, without("model.safetensors") | shard)
    assert (find_base(REPO).folder / "model-00001-of-00001.safetensors").is_file()


def test_bin_only_is_refused_before_anything_is_downloaded(hub):
    hub.add(REPO, without("model.safetensors") | {"pytorch_model.bin": b"\x80"})
    with pytest.raises(ModelError, match=rf"{REPO} pytorch_model\.bin — is pickled, .* never loaded"):
        find_base(REPO)
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_a_foreign_repository_is_refused(hub):
    hub.add(REPO, FILES | {"config.json": configured(auto_map={})})
    with pytest.raises(ModelError, match="auto_map"):
        find_base(REPO)
    hub.add("nuts/gpt", FILES | {"config.json": configured(model_type="gpt2")})
    with pytest.raises(ModelError, match="model_type — is 'gpt2', supported is 'bert'"):
        find_base("nuts/gpt")


def test_an_unknown_or_gated_model_is_said_so(hub):
    with pytest.raises(ModelError, match=r"no such folder here, nor such a model at http://127.* check the spelling"):
        find_base("nuts/none")
    hub.add(REPO, FILES)
    hub.gated.add(REPO)
    with pytest.raises(ModelError, match="is gated — accept its conditions on its page and set HF_TOKEN"):
        find_base(REPO)
    with pytest.raises(ModelError, match="is not a hub id"):
        find_base("nuts/-hazel")


def test_M40_local_paths_never_touch_the_network(monkeypatch, tmp_path):
    """Every way out is closed: names and connections. Fitting, scoring and measuring local files works all the same."""

    def refused(*asked, **_):
        raise AssertionError(f"the network was asked: {asked}")

    write_texts(tmp_path / "films.csv")
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    out, data = str(tmp_path / "run"), str(tmp_path / "films.csv")
    assert cli.run(["fit", data, "-o", out, *TRAIN]) == 0
    assert cli.run(["predict", out, data, "-o", str(tmp_path / "new.csv")]) == 0
    assert cli.run(["evaluate", out, data]) == 0
    assert cli.run(["fit", data, "-o", str(tmp_path / "again"), "--base", out, *TRAIN[2:]]) == 0
    with pytest.raises(AssertionError, match="the network was asked"):
        socket.create_connection(("127.0.0.1", 9))


@pytest.mark.parametrize("offline", ["", "1"])
def test_not_cached_and_no_hub_says_what_to_do_within_seconds(monkeypatch, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    with pytest.raises(
        ModelError, match=r"not in the cache .* HF_ENDPOINT to a mirror, or copy .* or use minilm"
    ) as caught:
        find_base(REPO)
    assert ("HF_HUB_OFFLINE is set" if offline else "http://127.0.0.1:9 cannot be reached") in str(caught.value)
    assert time.monotonic() - start < 5


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(find, "ASKED_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached") as caught:
            find_base(REPO)
    assert time.monotonic() - start < 5
    assert "secret" not in str(caught.value)


def test_a_silent_name_server_is_given_up():
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 seconds"):
        _within(0.1, lambda: time.sleep(2))


def test_a_partly_cached_model_is_not_taken_for_whole(tmp_path):
    repo = tmp_path / "hf" / "hub" / "models--nuts--hazel"
    snapshot = written(repo / "snapshots" / "c0ffee", without("model.safetensors"))  # another program's tokenizer
    written(repo / "refs", {"main": b"c0ffee"})
    with pytest.raises(ModelError, match="not in the cache"):
        find_base(REPO)
    (snapshot / "model.safetensors").write_bytes(FILES["model.safetensors"])
    assert find_base(REPO).folder == snapshot


def test_a_short_download_fails_and_a_later_one_succeeds(hub):
    hub.add(REPO, FILES)
    hub.faults["model.safetensors"] = "short"
    with pytest.raises(ModelError, match=r"download from .* failed: Consistency check failed: file should be of size"):
        find_base(REPO)
    hub.faults.clear()
    assert (find_base(REPO).folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_download_that_stalls_is_given_up(hub, monkeypatch):
    monkeypatch.setattr("filbert.bases.hub.STALL_SECONDS", 0.5)
    hub.add(REPO, FILES)
    hub.faults["model.safetensors"] = "hang"
    with pytest.raises(ModelError, match=r"download from .* failed: no answer within 0\.5 seconds"):
        find_base(REPO)
    hub.resume.set()
    for thread in threading.enumerate():
        if thread.name == "filbert-hub":
            thread.join(10)  # the abandoned download, which now ends


def test_a_slow_call_that_makes_progress_is_waited_for():
    steps = iter(range(100))
    assert _within(0.1, lambda: time.sleep(0.35) or "done", lambda: next(steps)) == "done"


def test_a_cut_connection_resumes(hub):
    hub.add(REPO, FILES)
    hub.faults["model.safetensors"] = "cut"
    assert (find_base(REPO).folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_M40_a_download_of_the_right_size_with_a_wrong_byte_is_refused_online_and_offline(hub, monkeypatch):
    hub.add(REPO, FILES)
    hub.faults["model.safetensors"] = "damaged"
    with pytest.raises(
        ModelError, match=r"model\.safetensors — is damaged: its SHA-256 .* — delete /.* and download again"
    ):
        find_base(REPO)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="is damaged") as caught:
        find_base(REPO)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.faults.clear()
    Path(str(caught.value).split("delete ")[1].split(" and ")[0]).unlink()  # as the message says
    assert find_base(REPO).folder
