"""A blend fitted, written, opened, exported: BERT and the linear model answer together, the same everywhere."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import classifier, save
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert import tasks
from filbert.config import TrainConfig
from filbert.errors import ModelError
from filbert.export.doors import DOORS, largest
from filbert.export.folder import export
from filbert.finetuning.dataset import Dataset, settled
from filbert.finetuning.fit import Fitted, fit
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.inference.opening import Opening
from filbert.inference.processes import Processes
from filbert.inference.stored import replay
from filbert.records import Example
from filbert.report.blend import blend_line

GOOD, BAD = ("good", "fine", "warm", "kind"), ("bad", "poor", "cold", "rude")
GREY = ("it", "was", "the", "of", "and", "they")
CONFIG = TrainConfig(epochs=1, learning_rate=1e-4, seed=1)
TARGETS: dict[str, tuple[Any, Any]] = {
    "single-label": ("bad", "good"),
    "multi-label": (("bad",), ("good", "all")),
    "regression": (-40.0, 960.0),
}


def data(name: str, *, pairs: bool = False, count: int = 400) -> Dataset:
    """Texts whose words tell the target, or, of pairs, whether the same word stands in both."""
    rng = np.random.default_rng(0)

    def some(count: int, place: str) -> list[Example]:
        found = []
        for i in range(count):
            words = [str(rng.choice(GOOD if i % 2 else BAD)) for _ in range(2)]
            texts = [" ".join([word, *rng.choice(GREY, 3), f"{place}{i}"]) for word in words]
            found.append(Example(tuple(texts[: 1 + pairs]), TARGETS[name][i % 2]))
        return found

    return settled(tasks.named(name), some(count, "a"), some(100, "b"), some(60, "c"), seed=0, name="memory")


def fitted(name: str, folder: Path, *, pairs: bool = False, **options: Any) -> tuple[Fitted, Dataset]:
    texts = data(name, pairs=pairs)
    return fit(texts, folder / "run", base="tiny", config=CONFIG, **options), texts


@pytest.fixture(scope="module", params=["single-label", "multi-label", "regression", "pairs"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Dataset]:
    """A tiny BERT that has learned little, and a linear model to which the words tell all."""
    pairs = request.param == "pairs"
    name = "regression" if pairs else request.param
    return fitted(name, tmp_path_factory.mktemp("blend"), pairs=pairs)


@pytest.fixture
def copy(kind: tuple[Fitted, Dataset], tmp_path: Path) -> Path:
    return Path(shutil.copytree(kind[0].folder, tmp_path / "copy"))


def test_the_linear_model_is_added_where_the_loss_falls(kind) -> None:
    done, texts = kind
    report = done.report
    assert report["blend"]["kept"]
    assert report["blend"]["gain"]["value"] > 0
    metric = texts.task.page().metrics[0]
    ours, alone = (
        found["test"][metric.key]["value"] for found in (report["scores"], report["blend"]["bert"]["scores"])
    )
    assert ours > alone
    line = blend_line(report, metric)
    only = report["blend"]["linear_alone"]
    assert line.startswith("The answers are those of the linear model alone" if only else "Blend: ")
    assert (json.loads((done.folder / "filbert.json").read_text("utf-8"))["blend"]["factor"] == 0) == only
    assert f"BERT alone: {metric.name}" in line
    for page in ("report.html", "README.md"):
        assert "BERT alone" in (done.folder / page).read_text(encoding="utf-8")


def test_every_door_gives_its_answers(kind) -> None:
    done, texts = kind
    model, engine = open_model(done.folder), load(done.folder, device="cpu")
    assert replay(engine) == 32
    for door in DOORS:
        if not door.missing(model):
            assert largest(door, done.folder, model) <= 1e-5
    inputs = [example.inputs for example in texts.splits.test]
    rows = [engine.task.row(each, engine.settings) for each in engine.predict(inputs)]
    alone = [engine.task.row(each, engine.settings) for text in inputs for each in engine.predict([text])]
    assert rows == alone
    with Processes(Opening(str(done.folder), device="cpu"), 1) as processes:
        ((_, elsewhere),) = processes.scored(iter([list(texts.splits.test)]))
    assert [{key: each.cells[key] for key in rows[0]} for each in elsewhere] == rows


def test_transformers_opens_bert_alone_with_its_own_calibration(kind) -> None:
    done, texts = kind
    engine = load(done.folder, device="cpu")
    windows = engine.features([example.inputs for example in texts.splits.test[:8]])
    model = AutoModelForSequenceClassification.from_pretrained(done.folder).eval()
    words = AutoTokenizer.from_pretrained(done.folder)
    for example, bert in zip(texts.splits.test[:8], engine.bert(windows)[0], strict=True):
        with torch.inference_mode():
            theirs = model(**words(*example.inputs, return_tensors="pt")).logits[0].numpy()
        np.testing.assert_allclose(theirs, bert[0], atol=1e-4, rtol=1e-4)
    assert done.report["blend"]["bert"]["calibration"] != done.report["calibration"]
    assert "BERT alone, without the linear model" in (done.folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", ["onnx"])
def test_the_example_beside_an_export_adds_the_linear_model(kind, format_, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("onnxruntime")
    done, texts = kind
    assert export(done.folder, tmp_path / "out", format_, texts.splits.validation).missed == []
    engine = load(done.folder, device="cpu")
    for example in texts.splits.test[:3]:
        monkeypatch.setattr(sys, "argv", ["example.py", *example.inputs])
        capsys.readouterr()
        runpy.run_path(str(tmp_path / "out" / "example.py"), run_name="__main__")
        printed = [
            float(line.split("\t")[-1 if len(line.split("\t")) < 3 else 1])
            for line in capsys.readouterr().out.splitlines()
        ]
        row = engine.task.row(engine.predict([example.inputs])[0], engine.settings)
        wanted = [cell for key, cell in row.items() if isinstance(cell, float) and not key.endswith(("_low", "_high"))]
        assert printed == pytest.approx(wanted, rel=1e-4, abs=2e-5)


def test_an_explanation_is_of_the_answer_and_says_which_part_it_shows(kind) -> None:
    done, texts = kind
    engine = load(done.folder, device="cpu")
    for example in texts.splits.test[:4]:
        why = engine.explain(example.inputs)
        (prediction,) = engine.predict([example.inputs])
        assert why.answer == engine.task.show(prediction, engine.settings).answer
        outputs = engine.outputs(engine.features([example.inputs]))[0]
        (quantity, *_) = engine.task.quantities(outputs, engine.settings, ())
        whole = quantity.of(np.asarray(outputs[0]))
        if done.report["blend"]["linear_alone"]:  # the words of the model that answers
            assert why.by == "linear"
            assert any(word.weight for word in why.words)
            assert "linear model answers alone" in why.html()
            added = 0.0
        else:
            assert why.meaning.startswith("BERT's part of ")
            added = float(why.meaning.rsplit(" ", 1)[1].rstrip(")"))
        assert why.output == quantity.name
        assert why.value + added == pytest.approx(whole, abs=2e-3, rel=1e-4)


def test_without_it_bert_is_the_same_to_the_last_bit(kind, tmp_path) -> None:
    done, texts = kind
    plain = fit(texts, tmp_path / "run", base="tiny", config=CONFIG, blend=False)
    assert (plain.folder / "model.safetensors").read_bytes() == (done.folder / "model.safetensors").read_bytes()
    assert not (plain.folder / "blend.safetensors").exists()
    assert plain.report["blend"] == {"kept": False}
    metric = texts.task.page().metrics[0].key
    assert plain.report["scores"]["test"][metric] == done.report["blend"]["bert"]["scores"]["test"][metric]
    assert plain.report["baseline"]["test"] == done.report["baseline"]["test"]


def test_a_linear_model_that_knows_nothing_is_not_added(tmp_path) -> None:
    """Every text holds the same words; their order tells the label, and no word pair does: only noise is left."""
    rng = np.random.default_rng(0)
    rows = [Example((f"text {rng.integers(10**9)}",), "ab"[int(rng.integers(2))]) for _ in range(260)]
    texts = settled(tasks.named("single-label"), rows[:120], rows[120:220], rows[220:], seed=0, name="memory")
    done = fit(texts, tmp_path / "run", base="tiny", config=CONFIG)
    assert done.report["blend"]["kept"] is False
    assert done.report["blend"]["gain"]["value"] < 0.02 * done.report["blend"]["loss"]
    assert blend_line(done.report, texts.task.page().metrics[0]).startswith("No blend: of 100 validation texts")
    assert load(done.folder).blend is None


def test_few_validation_texts_say_too_little(tmp_path) -> None:
    texts = data("single-label", count=60)
    few = settled(texts.task, texts.splits.train, texts.splits.validation[:20], (), seed=0, name="memory")
    done = fit(few, tmp_path / "run", base="tiny", config=CONFIG, compare=False)
    assert blend_line(done.report, few.task.page().metrics[0]).startswith("No blend: 20 validation texts are too few")


def test_a_cascade_stands_before_a_blend(tmp_path) -> None:
    done, texts = fitted("single-label", tmp_path, cascade=30.0, abstain=0.5)
    engine, behind = load(done.folder), load(done.folder, cascade=False)
    assert engine.cascade is not None
    assert engine.blend is not None
    inputs = [example.inputs for example in texts.splits.test]
    by_linear = [found.by_linear for found in engine.predict(inputs)]
    assert any(by_linear)
    engine.cascade = replace(engine.cascade, threshold=2.0)  # sure of none: the blend answers all
    assert engine.predict(inputs) == behind.predict(inputs)
    accuracy = np.mean(
        [one.label == two.target for one, two in zip(behind.predict(inputs), texts.splits.test, strict=True)]
    )
    assert done.report["cascade"]["test"]["lost"]["value"] == pytest.approx(
        accuracy - done.report["cascade"]["test"]["accuracy"]
    )


def test_M37_a_blend_that_was_changed_or_lost_is_refused(copy) -> None:
    with (copy / "blend.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"blend.safetensors — its SHA-256 differs"):
        open_model(copy)
    (copy / "blend.safetensors").unlink()
    with pytest.raises(ModelError, match=r"blend.safetensors is missing"):
        open_model(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [("factor", "1.0"), ("factor", None), ("units", "bytes"), ("longest", 0), ("longest", 10**6), ("pairs", "yes")],
)
def test_M36_a_manifest_that_does_not_fit_the_blend_is_refused(copy, key, value) -> None:
    info = json.loads((copy / "filbert.json").read_text(encoding="utf-8"))
    info["blend"][key] = value
    (copy / "filbert.json").write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(ModelError, match=r"blend.safetensors — its parts do not belong together"):
        open_model(copy)


def test_a_model_saved_over_it_has_no_blend(copy) -> None:
    save(copy, classifier())
    assert not (copy / "blend.safetensors").exists()
    assert load(copy).blend is None
