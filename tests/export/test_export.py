"""An exported model answers as the model does, for every task and format, or nothing of it is left."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ordinal_grades
import pytest
from finished import data, inputs, run

from filbert import tasks
from filbert.errors import ConfigError, ModelError
from filbert.export import folder as exporting
from filbert.export import gate
from filbert.export.folder import export
from filbert.export.formats import FORMATS
from filbert.files import read_json, sha256
from filbert.inference.engine import Engine, load
from filbert.inference.model import open_model
from filbert.inference.onnx_scorer import GraphScorer
from filbert.model.onnx_graph import BertGraph
from filbert.tasks.summarization.sentences import split

pytest.importorskip("onnxruntime")

each_task = pytest.mark.parametrize("name", [*tasks.TASKS, ordinal_grades.NAME])
each_format = pytest.mark.parametrize("format_", FORMATS)


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, ordinal_grades.NAME, ordinal_grades)


def texts_of(name: str) -> tuple[str, ...]:
    """What the example of a task is given: of a document its sentences."""
    (given,) = inputs(1, name)
    return split(given[0]) if name == "summarization" else given


def printed(folder: Path, texts: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setattr(sys, "argv", ["example.py", *texts])
    capsys.readouterr()
    runpy.run_path(str(folder / "example.py"), run_name="__main__")
    return capsys.readouterr().out


@each_format
@each_task
def test_it_answers_as_the_model_does(name, format_, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip(FORMATS[format_].package)
    model, out = run(name).folder, tmp_path / "out"
    examples = data(name).splits.validation
    found = export(model, out, format_, examples)
    assert found.missed == []
    assert found.change <= 1e-5
    assert found.changed == 0
    assert found.figures
    told = read_json(out / "filbert.json")
    assert told["files"] == {p.name: sha256(p) for p in out.iterdir() if p.name != "filbert.json"}
    assert {*FORMATS[format_].files, "config.json", "tokenizer.json", "example.py"} <= {*told["files"]}
    assert told["export"]["agreement"] == 1
    assert out.stat().st_mode & 0o777 == model.stat().st_mode & 0o777
    engine = load(model, device="cpu")
    (prediction,) = engine.predict([inputs(1, name)[0]])
    lines = printed(out, texts_of(name), monkeypatch, capsys).splitlines()
    assert_same(name, lines, engine, prediction)


def assert_same(name: str, lines: list[str], engine: Engine, prediction: object) -> None:
    """Compare what the example printed with a prediction."""
    row = engine.task.row(prediction, engine.settings)  # type: ignore[arg-type]
    cells = [line.split("\t") for line in lines]
    if name == "single-label":
        assert {f"probability_{label}": float(p) for label, p in cells} == pytest.approx(
            {key: value for key, value in row.items() if key.startswith("probability")}, abs=2e-5
        )
    elif name == "multi-label":
        assert [float(cell[1]) for cell in cells] == pytest.approx(prediction.probabilities, abs=2e-5)  # type: ignore[attr-defined]
        assert [cell[0] for cell in cells if len(cell) == 3] == list(prediction.labels)  # type: ignore[attr-defined]
    elif name == "regression":
        assert float(lines[0]) == pytest.approx(row["score"], rel=1e-4)
    elif name == "question-answering":
        assert lines == [row["answer"] or ""]
    elif name == "summarization":
        assert [float(cell[0]) for cell in cells] == pytest.approx(prediction.scores, abs=2e-5)  # type: ignore[attr-defined]
    else:
        assert lines == [row["grade"]]


@each_format
def test_in_int8_it_is_within_the_bars_and_less_than_half_the_size(format_, tmp_path) -> None:
    pytest.importorskip(FORMATS[format_].package)
    name = next(iter(tasks.TASKS))
    found = export(run(name).folder, tmp_path / "out", format_, data(name).splits.validation, int8=True)
    assert 0 < found.change <= 0.05
    assert found.after.megabytes < 0.6 * found.before.megabytes
    assert read_json(tmp_path / "out" / "filbert.json")["export"]["int8"] is True


def spoilt(graph: BertGraph) -> BertGraph:
    """A graph with one weight of its last layer off."""
    name = "last.bias"
    graph.graph.constants[name] = graph.graph.constants[name] + np.float32(
        [0.3] + [0] * (len(graph.graph.constants[name]) - 1)
    )
    return graph


@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_m38_an_export_outside_the_bars_is_refused_and_nothing_is_left(int8, tmp_path, monkeypatch) -> None:
    name = next(iter(tasks.TASKS))
    made = exporting.bert_graph
    monkeypatch.setattr(exporting, "bert_graph", lambda *parts, **how: spoilt(made(*parts, **how)))
    told: list[gate.Measured] = []
    todo = "--format openvino --int8" if int8 else "another format"
    with pytest.raises(ModelError, match=rf"was not written: a number changes by 0\.\d+, at most .*{todo}"):
        export(run(name).folder, tmp_path / "out", "onnx", data(name).splits.validation, int8=int8, tell=told.append)
    assert [*tmp_path.iterdir()] == []
    assert told[0].change > 0.05


def test_m38_what_is_there_stays_when_its_successor_is_refused(tmp_path, monkeypatch) -> None:
    name = next(iter(tasks.TASKS))
    model, out, texts = run(name).folder, tmp_path / "out", data(name).splits.validation
    export(model, out, "onnx", texts)
    before = (out / "filbert.json").read_bytes()
    with pytest.raises(ConfigError, match="holds an export"):
        export(model, out, "onnx", texts)
    made = exporting.bert_graph
    with monkeypatch.context() as patched:
        patched.setattr(exporting, "bert_graph", lambda *parts, **how: spoilt(made(*parts, **how)))
        with pytest.raises(ModelError, match="was not written"):
            export(model, out, "onnx", texts, overwrite=True)
    assert (out / "filbert.json").read_bytes() == before
    export(model, out, "onnx", texts, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_peoples_files_are_not_replaced(tmp_path) -> None:
    model = run(next(iter(tasks.TASKS))).folder
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt", model):
        with pytest.raises(ConfigError, match=r"give another|give a folder"):
            export(model, out, "onnx", overwrite=True)
    assert (model / "model.safetensors").is_file()


def test_without_texts_fp32_is_measured_on_those_stored_and_int8_refused(tmp_path) -> None:
    model = run(next(iter(tasks.TASKS))).folder
    found = export(model, tmp_path / "out", "onnx")
    assert found.texts == len(read_json(model / "filbert.json")["stored"]["inputs"])
    assert found.figures == []
    with pytest.raises(ConfigError, match="int8 is measured on labelled texts"):
        export(model, tmp_path / "int8", "onnx", int8=True)


def test_an_export_is_no_model_and_says_so(tmp_path) -> None:
    export(run(next(iter(tasks.TASKS))).folder, tmp_path / "out", "onnx")
    with pytest.raises(ModelError, match="is an export"):
        open_model(tmp_path / "out")


def test_an_unknown_format_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="--format 'tflite' is unknown — choose one of onnx, openvino"):
        export(run(next(iter(tasks.TASKS))).folder, tmp_path / "out", "tflite")


def test_each_bar_is_a_phrase() -> None:
    """Every number outside its bar is named, and what to try depends on which it is."""
    engine = load(run(next(iter(tasks.TASKS))).folder, device="cpu")
    examples = data(next(iter(tasks.TASKS))).splits.validation
    same = gate.measure((engine, engine), examples, (10**6, 10**6), gate.EXACT)
    assert same.missed == []
    other = Engine(
        open_model(run(next(iter(tasks.TASKS))).folder),
        scorer=GraphScorer(engine.task.head(engine.settings), lambda _: 0),
    )
    other._scorer = Reversed(engine._scorer)  # type: ignore[assignment]
    found = gate.measure((engine, other), examples, (10**6, 10**6), gate.INT8)
    assert len(found.missed) >= 3
    assert "answers change, at most 0.2 %" in found.missed[2]
    assert "--format openvino --int8" in gate.todo(found, "onnx", int8=True)


class Reversed:
    """A scorer that answers with the outputs of the opposite."""

    def __init__(self, scorer: object) -> None:
        self.scorer = scorer

    def outputs(self, features: Sequence[object], done: object = None) -> np.ndarray:
        return -np.asarray(self.scorer.outputs(features))  # type: ignore[attr-defined]


def test_the_command_reads_the_validation_texts_of_the_run_again(tmp_path, monkeypatch, capsys) -> None:
    from filbert.cli import run as command

    monkeypatch.chdir(tmp_path)
    rows = [f"{text},{('fine', 'dull')[n % 2]}" for n, ((text,),) in enumerate(zip(inputs(40), strict=True))]
    Path("texts.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    words = ["fit", "texts.csv", "-o", "model", "--base", "tiny", "--epochs", "1", "--no-baseline"]
    monkeypatch.setattr(sys, "argv", ["filbert", *words])
    assert command(words) == 0
    capsys.readouterr()
    assert command(["export", "model", "--json"]) == 0
    out = capsys.readouterr()
    told = json.loads(out.out)
    assert "4 validation texts of the run" in out.err
    assert (told["out"], told["texts"], told["agreement"]) == ("model-onnx", 4, 1)
    Path("texts.csv").write_text("\n".join(["text,label", *rows[:30]]), encoding="utf-8")
    assert command(["export", "model", "-o", "again"]) == 0
    out = capsys.readouterr()
    assert "4 texts stored in the model; figures need --texts FILE" in out.err
    assert "answers that change" in out.out
    assert command(["export", "model", "-o", "third", "--texts", "texts.csv"]) == 0
    assert "accuracy" in capsys.readouterr().out
