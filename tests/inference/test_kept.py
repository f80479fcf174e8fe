"""M39: batch scoring that is killed, or whose disk is full, goes on where it stopped, and its bytes are the same."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small
from command import Run, rows_of

from filbert.inference import engine, kept, rows
from filbert.inference.kept import left_whole, path_for

ROWS, CHUNK = 100, 8
SUFFIXES = ("csv", "jsonl", "parquet", "xlsx")


class Killed(BaseException):
    """The end of a process, as far as it can be had in this one."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHUNK", CHUNK)
    monkeypatch.setattr(kept, "PATIENCE", 0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("models") / "one", small.classifier())


def text(n: int) -> str:
    return " ".join(small.WORDS[(n * k) % 6].lstrip("#") for k in range(1, 2 + n % 9)) if n % 17 else " "


def texts(path: Path, count: int = ROWS, first: int = 0) -> Path:
    """Rows of one to nine words, and now and then an empty one, with a number and a quoted line break."""
    lines = [f'{n},"{text(n)}","a\nb"\n' for n in range(first, first + count)]
    path.write_text("id,text,note\n" + "".join(lines))
    return path


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of the model was given."""
    counts: list[int] = []
    score = rows.scored_rows

    def counted(engine: Any, inputs: Any) -> Any:
        counts.append(len(inputs))
        return score(engine, inputs)

    monkeypatch.setattr(rows, "scored_rows", counted)
    return counts


def dies(monkeypatch: pytest.MonkeyPatch, at: int, error: Callable[[], BaseException], *, half: bool) -> None:
    """Let the line of the number `at` be written half, or not at all, and raise."""
    write, count = kept._write, iter(range(1, 10_000))

    def failing(file: Any, data: bytes) -> None:
        if next(count) == at:
            write(file, data[: len(data) // 2 * half])
            raise error()
        write(file, data)

    monkeypatch.setattr(kept, "_write", failing)


def stopped(run: Run, *words: object) -> None:
    with pytest.raises(Killed):
        run(*words)


def test_M39_killed_at_20_points(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[int]
) -> None:
    source, lines = texts(tmp_path / "new.csv"), -(-ROWS // CHUNK)
    for number, point in enumerate([*range(1, 12), 12, 13, 14, 15, 4, 7, 9, 11, 15]):  # 13 chunks between two lines
        suffix = SUFFIXES[number % 4]
        out, whole = tmp_path / f"{number}.{suffix}", tmp_path / f"whole.{suffix}"
        if not whole.exists():
            assert run("predict", model, source, "-o", whole).code == 0
        with monkeypatch.context() as patch:
            dies(patch, point, Killed, half=number % 3 > 0)
            stopped(run, "predict", model, source, "-o", out)
        assert not out.exists()
        scored.clear()
        ran = run("predict", model, source, "-o", out, "--json")
        assert ran.code == 0, ran.err
        assert out.read_bytes() == whole.read_bytes(), (point, suffix)
        done = min(max(0, point - 2), lines)
        assert ran.json["kept"] == min(done * CHUNK, ROWS)
        assert sum(scored) == ROWS - ran.json["kept"]  # each row once
        assert not path_for(out).exists()
    assert [row["id"] for row in rows_of(tmp_path / "whole.csv")] == [str(n) for n in range(ROWS)]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("point", [6, 14])
def test_M39_a_process_that_is_killed_leaves_what_the_next_goes_on_with(
    run: Run, model: Path, tmp_path: Path, point: int
) -> None:
    source, out, whole = texts(tmp_path / "new.csv"), tmp_path / "out.csv", tmp_path / "whole.csv"
    code = f"""
import os, sys
from filbert import cli
from filbert.inference import engine, kept
engine.CHUNK, kept.PATIENCE = {CHUNK}, 0.0
write, count = kept._write, iter(range(1, 1000))
def killing(file, data):
    if next(count) == {point}:
        write(file, data[: len(data) // 2])
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    write(file, data)
kept._write = killing
sys.exit(cli.run(sys.argv[1:]))
"""
    words = ["predict", str(model), str(source), "-o", str(out)]
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert list(tmp_path.glob(".filbert-draft-*"))
    assert run("predict", model, source, "-o", whole).code == 0
    assert run(*words, "--json").json["kept"] == max(0, point - 2) * CHUNK
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_M39_wherever_the_kept_file_was_cut(run: Run, model: Path, tmp_path: Path) -> None:
    source, out, whole = texts(tmp_path / "new.csv", 40), tmp_path / "out.csv", tmp_path / "whole.csv"
    assert run("predict", model, source, "-o", whole).code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept.Kept, "delete", kept.Kept.close)
        assert run("predict", model, source, "-o", out).code == 0
    data = path_for(out).read_bytes()
    for at in range(len(data) // 20, len(data), len(data) // 20):
        for left in (data[:at], data[:at] + b"\0" * 9, data[: at - 3] + b"?" + data[at - 2 :] if at > 60 else data):
            path_for(out).write_bytes(left)
            assert run("predict", model, source, "-o", out, "--overwrite").code == 0
            assert out.read_bytes() == whole.read_bytes(), at


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_M39_disk_full(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    source, out, whole = texts(tmp_path / "new.csv"), tmp_path / f"out.{suffix}", tmp_path / f"whole.{suffix}"
    assert run("predict", model, source, "-o", whole).code == 0
    with monkeypatch.context() as patch:
        dies(patch, 9, lambda: OSError(errno.ENOSPC, "No space left on device", "out"), half=True)
        ran = run("predict", model, source, "-o", out)
    assert ran.code == 1
    assert "make room on the disk" in ran.err
    assert "rows are scored and kept: the same command goes on from there" in ran.err
    assert not out.exists()
    assert run("predict", model, source, "-o", out, "--json").json["kept"] == 7 * CHUNK
    assert out.read_bytes() == whole.read_bytes()


def test_M39_stopped_when_all_was_done(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[int]
) -> None:
    """Between the output's getting its name and the end: the same command is content."""
    source, out = texts(tmp_path / "new.csv"), tmp_path / "out.csv"

    def die(self: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(kept.Kept, "delete", die)
        stopped(run, "predict", model, source, "-o", out)
    before = out.read_bytes()
    assert left_whole(out)
    scored.clear()
    assert run("predict", model, source, "-o", out).code == 0
    assert (out.read_bytes(), scored) == (before, [])
    assert "exists" in run("predict", model, source, "-o", out).err


def test_M39_a_run_that_was_to_replace_a_file_goes_on_too(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = texts(tmp_path / "new.csv"), tmp_path / "out.csv"
    out.write_text("mine")
    with monkeypatch.context() as patch:
        dies(patch, 14, Killed, half=False)
        stopped(run, "predict", model, source, "-o", out, "--overwrite")
    assert out.read_text() == "mine"
    assert not left_whole(out)
    assert "exists" in run("predict", model, source, "-o", out).err
    assert run("predict", model, source, "-o", out, "--overwrite", "--json").json["kept"] == 12 * CHUNK


def test_M39_another_model_or_option_is_said_and_not_mixed(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[int]
) -> None:
    source, out = texts(tmp_path / "new.csv"), tmp_path / "out.csv"
    other = small.save(tmp_path / "other", small.classifier(seed=1))
    with monkeypatch.context() as patch:
        dies(patch, 6, Killed, half=False)
        stopped(run, "predict", model, source, "-o", out)
    for words, told in (((other, source), "model SHA-256"), ((model, source, "--precision", "bf16"), "precision fp32")):
        ran = run("predict", *words, "-o", out)
        assert ran.code == 2
        assert "begun with" in ran.err
        assert told in ran.err
        assert not out.exists()
    scored.clear()
    assert run("predict", other, source, "-o", out, "--overwrite").code == 0
    assert sum(scored) == ROWS
    whole = tmp_path / "whole.csv"
    run("predict", other, source, "-o", whole)
    assert out.read_bytes() == whole.read_bytes()


def test_M39_another_input_is_said_and_not_mixed(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[int]
) -> None:
    """Rows before the first text that is another one keep their results; what stands beside the texts is read anew."""
    source, out, whole = texts(tmp_path / "new.csv"), tmp_path / "out.csv", tmp_path / "whole.csv"
    with monkeypatch.context() as patch:
        dies(patch, 12, Killed, half=False)
        stopped(run, "predict", model, source, "-o", out)
    changed = source.read_text().replace("a\nb", "a\nc").split("\n")
    at = next(n for n, line in enumerate(changed) if line.startswith('c"\n33,') or line.startswith("33,"))
    changed[at] = '33,"not bad","a'
    source.write_text("\n".join(changed) + "100,good,new\n")
    scored.clear()
    ran = run("predict", model, source, "-o", out, "--json")
    assert "is not the text that was scored before the run was stopped" in ran.err
    assert (ran.json["kept"], sum(scored), ran.json["read"]) == (32, ROWS + 1 - 32, ROWS + 1)
    assert run("predict", model, source, "-o", whole).code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_bad_rows_at_the_end_are_found_before_anything_is_scored(
    run: Run, model: Path, tmp_path: Path, scored: list[int]
) -> None:
    source, out = texts(tmp_path / "new.csv"), tmp_path / "out.csv"
    source.write_text(source.read_text() + "1,2,3,4\n")
    ran = run("predict", model, source, "-o", out)
    assert ran.code == 2
    assert "more than the 3 columns" in ran.err
    assert scored == []
    ran = run("predict", model, source, "-o", out, "--on-bad-rows", "quarantine", "--json")
    assert (ran.json["kept"], ran.json["quarantined"], sum(scored)) == (0, 1, ROWS)


@pytest.mark.parametrize("content", [b"mine", b'{"a": 1}\n'])
def test_a_file_of_somebodys_is_not_taken_for_ours(run: Run, model: Path, tmp_path: Path, content: bytes) -> None:
    source, out = texts(tmp_path / "new.csv", 3), tmp_path / "out.csv"
    path_for(out).write_bytes(content)
    ran = run("predict", model, source, "-o", out)
    assert "is in the way" in ran.err
    assert path_for(out).read_bytes() == content


def test_short_work_makes_no_file(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: list[int]
) -> None:
    monkeypatch.setattr(kept, "PATIENCE", 60.0)
    with monkeypatch.context() as patch:
        dies(patch, 1, Killed, half=False)
        assert run("predict", model, texts(tmp_path / "new.csv"), "-o", tmp_path / "out.csv").code == 0


def test_what_is_kept_survives_json() -> None:
    found = rows.Scored({"label": "\ud800\u2028", "p": 0.1 + 0.2, "n": None, "b": True}, ("a",), True, False)
    again = rows.Scored(*json.loads(json.dumps(found.told())))
    assert (again.cells, list(again.answers), again.unreadable) == (found.cells, ["a"], True)
