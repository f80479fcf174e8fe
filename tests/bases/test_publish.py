"""Models pushed and pulled: the files of a model and nothing else, whole, and the token never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Run
from finished import run as fitted
from huggingface_hub import ModelCard

from filbert.bases import publish
from filbert.errors import ConfigError, ModelError
from filbert.folder.open import MODEL_FILES
from filbert.inference.engine import load
from filbert.tasks import TASKS, named

REPO, TOKEN = "nuts/hazel", "hf_writer"


@pytest.fixture(autouse=True)
def by_lfs(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_a_model_comes_back_as_it_went(hub, token, run: Run, tmp_path: Path) -> None:
    folder = fitted("single-label").folder
    ran = run("push", folder, REPO, "--json")
    assert ran.code == 0, ran.err
    files = hub.repos["model", REPO].commits[ran.json["commit"]]
    assert set(files) == {"README.md", "filbert.json", *MODEL_FILES}
    assert ran.json["files"] == sorted(files)
    assert hub.private == {REPO}
    for name in MODEL_FILES:
        assert files[name] == (folder / name).read_bytes()
    assert TOKEN not in ran.out + ran.err
    back = run("pull", REPO, "-o", "back", "--json")
    assert back.code == 0, back.err
    assert back.json["commit"] == ran.json["commit"]
    assert {path.name for path in (tmp_path / "back").iterdir()} == set(files)
    assert not any(path.is_symlink() for path in (tmp_path / "back").iterdir())
    texts = ["good long text 1", "odd text"]
    assert load(tmp_path / "back").predict(texts) == load(folder).predict(texts)
    assert "exists" in run("pull", REPO, "-o", "back").err


def test_no_text_leaves(hub, token, run: Run) -> None:
    folder = fitted("single-label").folder
    assert json.loads((folder / "filbert.json").read_text())["stored"]["inputs"]
    assert run("push", folder, REPO, "--public").code == 0
    files = next(reversed(hub.repos["model", REPO].commits.values()))
    told = json.loads(files["filbert.json"])
    assert "stored" not in told
    assert told["files"].keys() == set(MODEL_FILES)
    assert b"text 1" not in b"".join(data for name, data in files.items() if not name.endswith(".safetensors"))
    assert hub.private == set()


def test_the_texts_to_verify_by_are_pushed_where_asked_for(hub, run: Run, token, tmp_path: Path) -> None:
    folder = fitted("single-label").folder
    commit = run("push", folder, REPO, "--texts", "--json").json["commit"]
    told = json.loads(hub.repos["model", REPO].commits[commit]["filbert.json"])
    assert told["stored"] == json.loads((folder / "filbert.json").read_text())["stored"]
    assert told["stored"]["inputs"]


@pytest.mark.parametrize("name", TASKS)
def test_the_card_tells_the_hub_what_a_model_is(name: str) -> None:
    card = ModelCard.load(fitted(name).folder / "README.md", ignore_metadata_errors=False)
    data = card.data
    assert data.pipeline_tag == named(name).HUB[1]
    assert data.library_name == ("filbert" if name == "summarization" else "transformers")
    assert data.model_name
    assert data.eval_results
    for figure in data.eval_results:
        assert figure.task_type == named(name).HUB[1]
        assert isinstance(figure.metric_value, float)
        assert figure.dataset_split in ("test", "validation")
    assert {figure.metric_type for figure in data.eval_results} == set(data.metrics)


def test_a_cascade_that_the_new_model_has_not_goes(hub, token) -> None:
    hub.add(REPO, {"cascade.safetensors": b"old", "notes.txt": b"mine"})
    done = publish.push(fitted("regression").folder, REPO)
    files = hub.repos["model", REPO].commits[done["commit"]]
    assert "cascade.safetensors" not in files
    assert files["notes.txt"] == b"mine"


def test_the_hub_is_not_asked_without_a_token(hub, run: Run, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    ran = run("push", fitted("single-label").folder, REPO)
    assert ran.code == 2
    assert "set HF_TOKEN, or log in: hf auth login" in ran.err
    assert hub.requests == []


def test_what_the_hub_refuses_is_said_without_the_token(hub, run: Run, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    ran = run("push", fitted("single-label").folder, REPO)
    assert ran.code == 2
    assert "check the token" in ran.err
    assert "hf_wrong" not in ran.err
    hub.down()
    ran = run("push", fitted("single-label").folder, REPO)
    assert "cannot be reached" in ran.err


@pytest.mark.parametrize("what", ["changed", "foreign", "unfinished"])
def test_only_whole_models_are_pushed(hub, token, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in () if what == "unfinished" else (*MODEL_FILES, "filbert.json"):
        (folder / name).write_bytes((fitted("single-label").folder / name).read_bytes())
    if what == "changed":
        (folder / "vocab.txt").write_text("[PAD]\n")
    if what == "foreign":
        (folder / "filbert.json").unlink()
    with pytest.raises(ModelError):
        publish.push(folder, REPO)
    assert hub.requests == []


def test_a_model_that_was_changed_on_the_hub_is_refused(hub, token, tmp_path: Path) -> None:
    done = publish.push(fitted("single-label").folder, REPO)
    files = hub.repos["model", REPO].commits[done["commit"]]
    hub.add(REPO, {**files, "vocab.txt": files["vocab.txt"] + b"more\n"})
    with pytest.raises(ModelError, match="SHA-256 differs"):
        publish.pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert publish.pull(REPO, tmp_path / "back", revision=done["commit"])["commit"] == done["commit"]


def test_a_name_that_is_none(token, hub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        publish.push(fitted("single-label").folder, "a/b/c")
    with pytest.raises(ModelError):
        publish.pull("nobody/none", tmp_path / "back")
