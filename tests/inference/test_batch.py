"""Many files as one, in one process, in several, and on Ray: the same bytes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small
from command import Run, rows_of
from finished import inputs
from finished import run as fitted

from filbert.inference import engine, kept, processes, rows
from filbert.inference.engine import load
from filbert.inference.writers import open_writer
from filbert.records import Example
from filbert.tasks import TASKS

WORDS = [word.lstrip("#") for word in small.WORDS]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CHUNK", 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("models") / "one", small.classifier())


def shard(path: Path, first: int, count: int = 30) -> Path:
    path.parent.mkdir(exist_ok=True)
    told = [(n, " ".join(WORDS[(n * k) % 6] for k in range(1, 2 + n % 9))) for n in range(first, first + count)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": [str(n) for n, _ in told], "text": [text for _, text in told]}), path)
    else:
        path.write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in told))
    return path


def test_a_folder_of_shards_is_scored_in_the_order_of_their_names(run: Run, model: Path, tmp_path: Path) -> None:
    for at, suffix in enumerate(("csv", "parquet", "csv")):
        shard(tmp_path / "logs" / f"part-{at}.{suffix}", 30 * at)
    (tmp_path / "logs" / "_SUCCESS").write_text("")
    ran = run("predict", model, "logs")
    assert ran.code == 0, ran.err
    assert "files: 3, from logs/part-0.csv to logs/part-2.csv" in ran.err
    assert "90 rows read = 90 scored" in ran.out
    assert [row["id"] for row in rows_of(tmp_path / "logs.predictions.csv")] == [str(n) for n in range(90)]
    apart = [f"logs/part-{at}.{suffix}" for at, suffix in enumerate(("csv", "parquet", "csv"))]
    assert run("predict", model, *apart, "-o", "apart.csv").code == 0
    assert (tmp_path / "apart.csv").read_bytes() == (tmp_path / "logs.predictions.csv").read_bytes()


def test_bad_rows_of_all_files_are_told_together(run: Run, model: Path, tmp_path: Path) -> None:
    for at in range(2):
        path = shard(tmp_path / f"{at}.csv", 10 * at, 10)
        path.write_text(path.read_text() + "1,2,3\n")
    ran = run("predict", model, "0.csv", "1.csv", "-o", "out.csv")
    assert ran.code == 2
    assert "0.csv:12 row" in ran.err
    assert "1.csv:12 row" in ran.err
    assert len((tmp_path / "out.csv.rejects.jsonl").read_text().splitlines()) == 2
    ran = run("predict", model, "0.csv", "1.csv", "-o", "out.csv", "--on-bad-rows", "quarantine", "--json")
    assert (ran.json["read"], ran.json["quarantined"]) == (22, 2)


def test_files_that_do_not_go_together(run: Run, model: Path, tmp_path: Path) -> None:
    shard(tmp_path / "a.csv", 0)
    (tmp_path / "b.csv").write_text("text,more\ngood,1\n")
    for words, told in (
        (("a.csv", "b.csv", "-o", "out.csv"), "b.csv columns — are 'text, more', those of a.csv 'id, text'"),
        (("a.csv", "a.csv", "-o", "out.csv"), "a.csv is given twice"),
        (("a.csv", "b.csv"), "name it with -o"),
        (("a.csv", "none.csv", "-o", "out.csv"), "none.csv file — does not exist"),
        (("good", "film"), "put a text in quotes"),
        (("a.csv", "-", "-o", "out.csv"), "INPUT is given 2 times"),
        (("a.csv", "b.csv", "-o", "a.csv"), "a.csv is the input itself"),
        (("a.csv", "--processes", "0"), "--processes"),
    ):
        ran = run("predict", model, *words)
        assert ran.code == 2, words
        assert told in ran.err, (words, ran.err)
        assert not (tmp_path / "out.csv").exists()


def test_json_lines_of_several_files_keep_their_keys(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good", "x": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "bad", "y": 2}\n')
    assert run("predict", model, "a.jsonl", "b.jsonl", "-o", "out.jsonl").code == 0
    one, two = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert ("y" in one, two["y"]) == (False, 2)


def test_several_processes_write_the_same_bytes(run: Run, model: Path, tmp_path: Path) -> None:
    shard(tmp_path / "a.csv", 0, 50)
    shard(tmp_path / "b.csv", 50, 35)
    words = ("predict", model, "a.csv", "b.csv", "-o")
    assert run(*words, "one.csv").code == 0
    ran = run(*words, "two.csv", "--processes", 2)
    assert ran.code == 0, ran.err
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.mark.parametrize("name", TASKS)
def test_rows_of_every_task_survive_the_way_from_another_process(name: str, tmp_path: Path) -> None:
    model = load(fitted(name).folder)
    examples = [Example(each) for each in inputs(12, name)]
    found = rows.scored_rows(model, [example.inputs for example in examples])
    again = [rows.Scored(*row) for row in json.loads(json.dumps([row.told() for row in found]))]
    types = {**rows.result_types(model), **rows.LAST}
    for number, some in enumerate((found, again)):
        for suffix in ("csv", "jsonl", "parquet"):
            with open_writer(tmp_path / f"{number}.{suffix}", *rows.written_columns((), types)) as write:
                pairs = iter([(examples, some)])
                rows.write_rows(pairs, types, (), write, rows.Tally(), lines=suffix == "jsonl")
    for suffix in ("csv", "jsonl", "parquet"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()


def test_M39_a_process_that_dies_is_told_and_the_run_goes_on(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "PATIENCE", 0.0)
    shard(tmp_path / "a.csv", 0, 80)
    send, count = processes._send, iter(range(100))

    def killing(process: object, value: object) -> None:
        if next(count) == 6:
            os.kill(process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            process.wait()  # type: ignore[attr-defined]
        send(process, value)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_send", killing)
        ran = run("predict", model, "a.csv", "-o", "out.csv", "--processes", 2)
    assert ran.code == 1
    assert "ended while it scored" in ran.err
    ran = run("predict", model, "a.csv", "-o", "out.csv", "--json")
    assert ran.json["kept"] > 0
    run("predict", model, "a.csv", "-o", "whole.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_what_a_process_refuses_is_refused_here(run: Run, model: Path, tmp_path: Path) -> None:
    shard(tmp_path / "a.csv", 0)
    ran = run("predict", model, "a.csv", "--processes", 2, "--device", "cuda:77")
    assert ran.code == 2
    assert "cuda:77 is not available" in ran.err


def test_ray_is_asked_for_in_one_sentence(run: Run, model: Path, tmp_path: Path) -> None:
    shard(tmp_path / "a.csv", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "ray", None)
        ran = run("predict", model, "a.csv", "--ray", "local")
    assert ran.code == 2
    assert "needs Ray — pip install 'filbert[ray]'" in ran.err


@pytest.mark.slow
def test_ray_writes_the_same_bytes(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(engine, "CHUNK", 512)  # the workers' own
    monkeypatch.setattr(kept, "PATIENCE", 0.0)
    for at in range(3):
        shard(tmp_path / "logs" / f"part-{at}.csv", 700 * at, 700)
    assert run("predict", model, "logs", "-o", "one.csv").code == 0
    with monkeypatch.context() as patch:
        write, count = kept._write, iter(range(100))

        def full(file: object, data: bytes) -> None:
            if next(count) == 3:
                raise OSError(28, "No space left on device")
            write(file, data)

        patch.setattr(kept, "_write", full)
        assert run("predict", model, "logs", "-o", "two.csv", "--ray", "local", "--processes", 2).code == 1
    ran = run("predict", model, "logs", "-o", "two.csv", "--ray", "local", "--processes", 2, "--json")
    assert ran.code == 0, ran.err
    assert 0 < ran.json["kept"] < 2100
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
