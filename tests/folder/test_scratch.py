"""What a run may replace: its own scratch files, and a finished model only with `overwrite`."""

from __future__ import annotations

from pathlib import Path

import pytest

from filbert.errors import ConfigError
from filbert.files import draft_folder
from filbert.folder.claim import claim, default_folder, delete_scratch, locked, refuse_taken
from filbert.owned import MARKER, NOTE, unfinished

MANIFEST = '{"format": 1}'


def write(folder: Path, **files: str) -> Path:
    """Write files; of a name the underscore becomes the folder `checkpoints/`."""
    for name, text in files.items():
        path = folder / name.replace("checkpoints_", "checkpoints/").replace("json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_claimed_folder_is_an_unfinished_run_until_its_scratch_files_are_deleted(tmp_path):
    claim(tmp_path, overwrite=False)
    assert unfinished(tmp_path)
    assert (tmp_path / "checkpoints" / MARKER).read_text() == NOTE
    write(tmp_path, checkpoints_stepjson="{}", checkpoints_anything="left over", log="kept")
    (tmp_path / "checkpoints" / "adapted").mkdir()
    write(tmp_path / "checkpoints" / "adapted", tmpXYZ="left over")
    refuse_taken(tmp_path, overwrite=False)
    delete_scratch(tmp_path)
    assert names(tmp_path) == {"log"}
    assert not (tmp_path / "checkpoints").exists()


def test_overwrite_deletes_the_unfinished_run(tmp_path):
    claim(tmp_path, overwrite=False)
    write(tmp_path, checkpoints_stepjson="{}")
    claim(tmp_path, overwrite=False)
    assert names(tmp_path) == {f"checkpoints/{MARKER}", "checkpoints/step.json"}
    claim(tmp_path, overwrite=True)
    assert names(tmp_path) == {f"checkpoints/{MARKER}"}


def test_a_folder_named_checkpoints_makes_no_model_replaceable(tmp_path):
    write(tmp_path, filbertjson=MANIFEST)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match="finished model"):
        refuse_taken(tmp_path, overwrite=False)
    claim(tmp_path, overwrite=True)  # and stopped before anything was saved
    with pytest.raises(ConfigError, match="finished model"):
        refuse_taken(tmp_path, overwrite=False)
    write(tmp_path, checkpoints_stepjson="{}")
    refuse_taken(tmp_path, overwrite=False)  # to be resumed


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("finished", [False, True])
def test_files_of_others_are_never_deleted(tmp_path, overwrite, finished):
    write(tmp_path, **{"filbertjson": MANIFEST} if finished else {}, checkpoints_stepjson="hours of work")
    before = names(tmp_path)
    with pytest.raises(ConfigError, match="not a Filbert run"):
        claim(tmp_path, overwrite=overwrite)
    delete_scratch(tmp_path)
    assert names(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_refused_though_it_has_empty_checkpoints(tmp_path, overwrite):
    write(tmp_path, READMEmd="mine")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match="not a Filbert run"):
        claim(tmp_path, overwrite=overwrite)
    assert names(tmp_path) == {"READMEmd"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"trainjsonl": "my training data"},  # S01: the name of a run's log
        {"trainjsonl": "my training data", "checkpoints_x": ""},
        {"filbertjson": "{}"},
        {"filbertjson": '{"my": "settings"}'},
        {"filbertjson": "no JSON"},
        {"checkpoints_.filbert": "a marker of somebody's"},
        {".lock": "held by my own program"},
        {".owner": "me"},
        {"reportjson": "{}"},
        {"configjson": "{}", "modelsafetensors": "", "vocabtxt": ""},
    ],
)
def test_no_name_of_a_file_makes_a_folder_ours(tmp_path, files, overwrite):
    write(tmp_path, **files)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="not a Filbert run's"):
        refuse_taken(tmp_path, overwrite=overwrite)
    with pytest.raises(ConfigError, match="not a Filbert run's"):
        claim(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_run_killed_before_its_marker_stands_can_be_begun_again(tmp_path, stage):
    (tmp_path / ".lock").touch()
    (tmp_path / ".owner").write_text("12345")
    if stage:
        (tmp_path / "checkpoints").mkdir()
    if stage > 1:
        (tmp_path / "checkpoints" / MARKER).write_text(NOTE[: 10 * (stage - 2)])
    refuse_taken(tmp_path, overwrite=False)
    with locked(tmp_path):
        claim(tmp_path, overwrite=False)
    assert unfinished(tmp_path)


def test_what_a_killed_run_left_half_written_is_deleted(tmp_path):
    claim(tmp_path, overwrite=False)
    (tmp_path / "checkpoints" / "adapted").mkdir()
    for place in (tmp_path / "model.safetensors", tmp_path / "checkpoints" / "adapted" / "step.json"):
        with draft_folder(place) as draft:
            left = draft.with_name(draft.name + "9")
            (left / "x").mkdir(parents=True)
            (left / "model.safetensors").touch()
    claim(tmp_path, overwrite=False)
    assert names(tmp_path) == {f"checkpoints/{MARKER}"}


def link_to(folder: Path, file: Path, how: str) -> Path:
    path = folder / "linked.jsonl"
    if how == "hard link":
        path.hardlink_to(file)
    elif how == "link":
        path.symlink_to(file)
    else:
        return folder / "run" / ".." / "run" / file.name
    return path


@pytest.mark.parametrize("how", ["hard link", "link", "another spelling", "the folder"])
def test_no_input_lies_in_the_folder_of_its_run(tmp_path, how):
    out = write(tmp_path / "run", filbertjson=MANIFEST, trainjsonl="read here")
    path = out if how == "the folder" else link_to(tmp_path, out / "train.jsonl", how)
    (tmp_path / "again").symlink_to(out)
    for place in (out, tmp_path / "again"):
        with pytest.raises(ConfigError, match="which is read here"):
            refuse_taken(place, overwrite=True, inputs=[None, "owner/name", path])
    refuse_taken(out, overwrite=True, inputs=[tmp_path])  # a run may lie among the texts it is made of


def test_default_folder_goes_around_finished_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    films = Path("runs/films")
    assert default_folder("films") == films
    write(films, filbertjson=MANIFEST)
    assert default_folder("films") == Path("runs/films-2")
    assert default_folder("films", overwrite=True) == films
    claim(films, overwrite=True)
    assert default_folder("films") == Path("runs/films-2")
    write(films, checkpoints_stepjson="{}")
    assert default_folder("films") == films
