"""What a run may replace: its own scratch files, and a finished model only with `overwrite`."""

from __future__ import annotations

from pathlib import Path

import pytest

from filbert.errors import ConfigError
from filbert.folder.claim import MARKER, NOTE, claim, default_folder, delete_scratch, refuse_taken, unfinished


def write(folder: Path, **files: str) -> Path:
    """Write files; of a name the underscore becomes the folder `checkpoints/`."""
    for name, text in files.items():
        path = folder / name.replace("checkpoints_", "checkpoints/").replace("json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


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
    write(tmp_path, filbertjson="{}")
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
    write(tmp_path, **{"filbertjson": "{}"} if finished else {}, checkpoints_stepjson="hours of work")
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


def test_default_folder_goes_around_finished_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    films = Path("runs/films")
    assert default_folder("films") == films
    write(films, filbertjson="{}")
    assert default_folder("films") == Path("runs/films-2")
    claim(films, overwrite=True)
    assert default_folder("films") == Path("runs/films-2")
    write(films, checkpoints_stepjson="{}")
    assert default_folder("films") == films
