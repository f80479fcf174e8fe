"""A run folder as a place: what is in it is never replaced unasked, and one run at a time is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import films
import pytest
from films import CONFIG, WHOLE, contents, run

from filbert.errors import ConfigError, TrainingError
from filbert.folder.claim import SCRATCH, claim, delete_scratch, unfinished


@pytest.fixture
def finished() -> Path:
    return films.finished()


def test_a_finished_folder_is_not_replaced_unasked(finished):
    before = contents(finished)
    with pytest.raises(ConfigError, match=r"finished model.*--overwrite"):
        run(finished)
    assert contents(finished) == before


def test_a_finished_folder_is_replaced_when_asked(tmp_path):
    run(tmp_path / "run")
    run(tmp_path / "run", config=CONFIG.with_options(seed=1), overwrite=True)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["training"]["seed"] == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(WHOLE)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not a Filbert run"):
        run(tmp_path, overwrite=overwrite)
    with pytest.raises(ConfigError, match="is a file"):
        run(tmp_path / "thesis.txt", overwrite=overwrite)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


HOLD = """
import sys, time
from pathlib import Path
from filbert.folder.claim import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("overwrite", [False, True])
def test_T22_a_run_in_progress_is_not_disturbed(tmp_path, overwrite):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".filbert").touch()
    (tmp_path / "checkpoints" / "step-00000001.safetensors").write_bytes(b"hours of work")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            before = contents(tmp_path)
            with pytest.raises(TrainingError, match=f"in use by process {owner.pid}"):
                run(tmp_path, overwrite=overwrite)
            assert contents(tmp_path) == before
        finally:
            owner.kill()


def test_T22_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        owner.kill()
    assert (tmp_path / ".lock").exists()
    run(tmp_path)
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_checkpoints_of_another_program_are_left_alone(tmp_path, overwrite):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch=3.ckpt").write_bytes(b"hours of work")
    with pytest.raises(ConfigError, match="not a Filbert run"):
        run(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"epoch=3.ckpt": b"hours of work"}


def test_scratch_that_cannot_be_deleted_stays_recognisable(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    claim(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / SCRATCH / "stuck").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("filbert.folder.claim.shutil.rmtree", lambda *args, **options: None)
        delete_scratch(tmp_path / "run")
    assert unfinished(tmp_path / "run")
    delete_scratch(tmp_path / "run")
    assert not (tmp_path / "run" / SCRATCH).exists()
