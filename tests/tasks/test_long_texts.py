"""Texts beyond the longest length: head, head and tail, or whole in windows whose outputs are averaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers
from long_runs import CHOOSES, CONFIG, LENGTH, USUAL, data, run, texts
from safetensors.torch import load_file, save_file
from small import needs_native, tokenizer

from filbert import TextClassifier, tasks
from filbert.config import TrainConfig
from filbert.errors import ConfigError, ModelError
from filbert.export.folder import export
from filbert.files import read_json, sha256, write_json
from filbert.finetuning.dataset import dataset_of
from filbert.finetuning.fit import fit
from filbert.folder.torch_parts import network_of
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.inference.onnx_scorer import OnnxScorer
from filbert.inference.rows import DECIDED, cells, result_types
from filbert.inference.scorer import NativeScorer, TorchScorer
from filbert.inference.stored import replay
from filbert.model.head import average
from filbert.model.network import averaged
from filbert.records import Encoding
from filbert.server.wire import Item
from filbert.server.worker import scored
from filbert.tasks.long_texts import starts, windows

each_task = pytest.mark.parametrize("name", CHOOSES)
alone_and_pairs = pytest.mark.parametrize("pairs", [False, True], ids=["one text", "pairs"])


# -- windows ----------------------------------------------------------------------------------------------------------


def encoding(tokens: int, first: int = 100) -> Encoding:
    return Encoding(np.arange(first, first + tokens, dtype=np.int32), np.zeros((tokens, 2), np.int32))


@pytest.mark.parametrize("tokens", [1, 21, 22, 23, 37, 38, 39, 54, 55, 500])
@pytest.mark.parametrize("length", [8, 24])
def test_every_token_stands_in_a_window_and_neighbours_share_some(tokens, length):
    found = windows([encoding(tokens)], None, tokenizer(), "windows", length)
    assert all(len(each) <= length for each in found)
    assert sorted({int(i) for each in found for i in each.ids[1:-1]}) == list(range(100, 100 + tokens))
    assert (len(found) == 1) == (tokens <= length - 2)
    for one, two in pairwise(found):
        assert one.end - two.begin == (length - 2) // 4
        assert (one.ids[1:-1] == np.arange(one.begin, one.end) + 100).all()
    assert all(each.cut == 0 for each in found)


def test_windows_of_a_pair_hold_the_short_text_each():
    short, long = encoding(5), encoding(60, 1000)
    for pair in ((short, long), (long, short)):
        for each in windows(pair, None, tokenizer(), "windows", 24):
            assert set(short.ids.tolist()) <= set(each.ids.tolist())
            assert sorted(set(each.segments.tolist())) == [0, 1]
            assert each.cut == 0
    found = windows((encoding(40), encoding(60, 1000)), None, tokenizer(), "windows", 24)
    assert {each.cut for each in found} == {30}, "both are long: half of a window is left to the shorter one"
    assert sorted({int(i) - 1000 for each in found for i in each.ids if i >= 1000}) == list(range(60))


def test_head_keeps_the_first_tokens():
    (found,) = windows([encoding(50)], None, tokenizer(), "head", 12)
    assert found.ids[1:-1].tolist() == list(range(100, 110))
    assert found.cut == 40


def test_the_last_window_ends_with_the_text():
    for tokens in range(1, 2000, 7):
        begins = starts(tokens, 510)
        assert begins[-1] + 510 >= tokens
        assert len(begins) == 1 or begins[-2] + 510 < tokens


def test_torch_averages_as_numpy_does():
    random = np.random.default_rng(0)
    rows, texts_B = random.normal(0, 20, (9, 4)), np.array([0, 1, 1, 2, 2, 2, 0, 2, 1])
    ours = averaged(torch.tensor(rows).float(), torch.tensor(texts_B), 3).numpy()
    for text in range(3):
        assert np.abs(ours[text] - average(rows[texts_B == text])[0]).max() < 1e-5


# -- answers ----------------------------------------------------------------------------------------------------------


@alone_and_pairs
@each_task
def test_a_text_gets_one_answer_in_any_batch_and_the_windows_say_why(name, pairs):
    engine = load(run(name, pairs=pairs).folder, device="cpu")
    given = texts(12, pairs=pairs)
    together = engine.predict(given)
    assert [engine.predict([each])[0] for each in given] == together
    for inputs, found in zip(given, together, strict=True):
        parts = engine.features([inputs])[0]
        assert len(found.evidence) == (len(parts) if len(parts) > 1 else 0)
        assert not found.truncated
        if not found.evidence:
            continue
        outputs = np.asarray(engine.outputs([parts]))[0]
        wanted = engine.task.quantities(outputs, engine.settings, parts)[0].of(outputs[0])
        assert sum(each.answer for each in found.evidence) == pytest.approx(wanted, abs=1e-9)
        assert sum(each.weight for each in found.evidence) == pytest.approx(1)
        spans = sorted((each.start, each.end) for each in found.evidence)
        (part,) = {each.part for each in found.evidence}
        assert part == max(range(len(inputs)), key=lambda i: len(inputs[i]))
        assert (spans[0][0], spans[-1][1]) == (0, len(inputs[part]))
        assert all(two[0] < one[1] for one, two in pairwise(spans))


@each_task
def test_all_scorers_give_the_same_rows(name):
    model = open_model(run(name).folder)
    flat = [window for each in load(run(name).folder, device="cpu").features(texts(9)) for window in each]
    network = network_of(model.config, model.weights, model.head, model.arrays)
    theirs = TorchScorer(network, "cpu", "fp32").outputs(flat)
    assert theirs.shape == (len(flat), model.head.outputs + 1)
    ours = OnnxScorer(model).outputs(flat)
    assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())


@needs_native
@each_task
def test_cpp_gives_the_same_rows(name):
    model = open_model(run(name).folder)
    flat = [window for each in load(run(name).folder, device="cpu").features(texts(9)) for window in each]
    network = network_of(model.config, model.weights, model.head, model.arrays)
    theirs, ours = TorchScorer(network, "cpu", "fp32").outputs(flat), NativeScorer(model, "fp32").outputs(flat)
    assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())
    for precision in ("bf16", "int8"):
        engine = load(run(name).folder, device="cpu", precision=precision)
        assert replay(engine, precision) > 0


@each_task
def test_transformers_opens_the_model_of_one_window(name):
    folder = run(name).folder
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    engine = load(folder, device="cpu")
    (window,) = engine.features(texts(1))[0]
    given = {"input_ids": torch.as_tensor(window.ids)[None].long()}
    with torch.inference_mode():
        found = theirs(**given).logits[0].numpy()
    ours = np.asarray(engine.outputs([[window]]))[0, 0]
    assert np.abs(ours - found).max() <= 1e-5 * max(1.0, np.abs(found).max())
    assert "window_weight" in (folder / "README.md").read_text("utf-8")


@alone_and_pairs
def test_the_program_beside_an_export_reads_all_windows(tmp_path, pairs):
    pytest.importorskip("onnxruntime")
    folder = run("regression", pairs=pairs).folder
    export(folder, tmp_path / "out", "onnx")
    engine = load(folder, device="cpu")
    for inputs in (texts(12, pairs=pairs)[10], texts(12, pairs=pairs)[11]):
        done = subprocess.run(
            [sys.executable, "example.py", *inputs], cwd=tmp_path / "out", capture_output=True, text=True, check=True
        )
        (found,) = engine.predict([inputs])
        assert found.evidence
        assert float(done.stdout) == pytest.approx(found.score, rel=1e-4)


def test_rows_say_where_the_window_stands_that_decided():
    engine = load(run("single-label").folder, device="cpu")
    short, long = texts(3)[0], texts(3)[2]
    one, two = engine.predict([short, long])
    assert [cells(engine, one)[key] for key in DECIDED] == [None] * 3
    row = cells(engine, two)
    assert row["decided_start"], row["decided_end"] == (two.evidence[0].start, two.evidence[0].end)
    assert result_types(engine).keys() <= row.keys()


def test_texts_of_no_known_class_are_not_told_in_windows(tmp_path):
    with pytest.raises(ConfigError, match="--unknown and --long windows — it knows one vector of a text"):
        fit(data(USUAL), tmp_path / "run", base="tiny", config=CONFIG, unknown=0.3, compare=False)


def test_an_explanation_is_of_the_window_that_decided_most():
    engine = load(run("single-label").folder, device="cpu")
    (text,) = texts(3)[2]
    why = engine.explain(text, by="occlusion")
    (found,) = engine.predict([text])
    read = [word for word in why.words if word.weight is not None]
    first = found.evidence[0]
    assert why.windows == len(found.evidence)
    assert why.value == pytest.approx(first.answer / first.weight, abs=1e-4)
    assert (read[0].begin, read[-1].end) == (first.start, first.end)
    assert why.unread == 0


def test_the_server_answers_with_the_average_and_refuses_no_long_text():
    engine = load(run("single-label").folder, device="cpu")
    inputs = texts(3)[2]
    (found,) = scored(engine, [Item(inputs, truncate=False, raw=True)]).answers
    assert not found.error
    outputs = np.asarray(engine.outputs(engine.features([inputs])))[0, 0]
    assert sorted(each["score"] for each in found.hub[0]) == pytest.approx(sorted(outputs), abs=1e-6)
    assert found.row["decided_start"] is not None


class Sure:
    """A linear model that is sure of every second text."""

    def answer(self, pieces):
        return np.tile([9.0, 0.0, 0.0, 0.0], (len(pieces), 1)), np.arange(len(pieces)) % 2 == 0


def test_beside_a_cascade_windows_are_those_of_the_text():
    engine, alone = (load(run("single-label").folder, device="cpu") for _ in range(2))
    engine.cascade = Sure()
    for i, (one, two) in enumerate(zip(engine.predict(texts(9)), alone.predict(texts(9)), strict=True)):
        assert one.by_linear == (i % 2 == 0)
        assert one.by_linear or one == two
        assert not (one.by_linear and one.evidence)


# -- choices ----------------------------------------------------------------------------------------------------------


def test_the_report_says_how_long_texts_were_read(tmp_path):
    done = run("single-label")
    assert done.report["long_texts"] == {"asked": "windows", "way": "windows"}
    found = done.report["truncation"]["train"]
    assert found["cut_texts"] == 0 < found["long_texts"] < found["long_windows"]
    page = (done.folder / "report.html").read_text("utf-8")
    assert "of them read whole, in" in page
    assert "decided by characters" in page
    assert json.loads((done.folder / "filbert.json").read_text("utf-8"))["long_texts"] == "windows"


def test_a_way_that_is_unknown_or_not_the_tasks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="long is 'tail' — choose head-tail, head, windows, auto"):
        TrainConfig(long="tail")
    asked = dataset_of([(f"who {n}?", f"The Navy {n}.") for n in range(20)], [["Navy"]] * 20, tasks.of_answers())
    with pytest.raises(ConfigError, match="--long head — long texts are read whole"):
        fit(asked, tmp_path / "run", base="tiny", config=TrainConfig(long="head"))


@each_task
def test_a_way_that_a_saved_model_does_not_know_is_refused(name):
    model = open_model(run(name).folder)
    config = json.loads((run(name).folder / "config.json").read_text("utf-8"))
    assert model.task.reopen(model.info, config).long == "windows"
    settings = {key: each for key, each in model.info["settings"].items() if key != "long"}
    assert model.task.reopen({**model.info, "settings": settings}, config).long == "head-tail"
    with pytest.raises(ValueError, match="long is 'tail'"):
        model.task.reopen({**model.info, "settings": {**settings, "long": "tail"}}, config)


def test_weights_without_the_weight_of_windows_are_refused(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run("regression").folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["window_weight.weight"]
    save_file(tensors, folder / "model.safetensors")
    info = read_json(folder / "filbert.json")
    info["files"]["model.safetensors"] = sha256(folder / "model.safetensors")
    write_json(folder / "filbert.json", info)
    with pytest.raises(ModelError, match="no tensor 'window_weight"):
        load(folder)


def test_the_estimator_reads_windows():
    model = TextClassifier(base="tiny", epochs=1, precision="fp32", max_length=LENGTH, long="windows")
    model.fit([each for (each,) in texts(40)], ["a", "b"] * 20)
    assert model.engine_.head.weighed
    assert model.predict_proba([texts(3)[2][0]]).sum() == pytest.approx(1)
