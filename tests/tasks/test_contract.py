"""What every task must keep, whichever it is: one test for each promise, over the registry and the docs' example."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import ordinal_grades
import pytest
import torch
import transformers
from browsed import Page
from finished import ALONE, ASKED, EVIL, TARGETS, data, inputs, run
from small import needs_native

from filbert import TextClassifier, TextRegressor, tasks
from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.errors import Refusal, TrainingError
from filbert.finetuning.job import TaskJob
from filbert.finetuning.prepare import prepare
from filbert.folder.torch_parts import network_of
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.inference.rows import LAST, score_to
from filbert.inference.scorer import NativeScorer, TorchScorer
from filbert.model.packing import pack
from filbert.model.run import tensors_of
from filbert.progress import Silent
from filbert.records import Example, Features
from filbert.text.tokenizer import SPECIALS, Tokenizer

each_task = pytest.mark.parametrize("name", [*tasks.TASKS, ordinal_grades.NAME])
chosen_by_estimators = pytest.mark.parametrize(
    "name", [n for n in tasks.TASKS if n not in ASKED | ALONE]
)  # by the kind of `y`: see tasks.of_values
alone_and_pairs = pytest.mark.parametrize("pairs", [False, True], ids=["one text", "pairs"])


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the task of docs/how-it-works.md, as the page says: one line more in the registry."""
    monkeypatch.setitem(tasks.TASKS, ordinal_grades.NAME, ordinal_grades)


def test_every_task_is_tried_here() -> None:
    assert set(TARGETS) == set(tasks.TASKS)


@each_task
def test_the_registry_has_the_name_of_the_task(name: str) -> None:
    assert name == tasks.TASKS[name].NAME


@each_task
def test_each_target_moves_the_loss(name: str) -> None:
    task, found = tasks.TASKS[name], data(name)
    run_, model = prepare(found, find_base("tiny"), TrainConfig(seed=0), "cpu", Silent())
    windows = [each[0] for each in run_.features["train"][:4]]
    model.eval()

    def loss(features: list[Features]) -> float:
        batch = pack(features)
        with torch.inference_mode():
            return float(task.loss(model(*tensors_of(batch, "cpu")), batch, found.settings))

    before = loss(windows)
    for i, window in enumerate(windows):
        other = next(w for each in run_.features["train"] for w in each if np.any(w.target != window.target))
        moved = [*windows]
        moved[i] = replace(window, target=other.target)
        assert abs(loss(moved) - before) > 1e-4


@each_task
def test_the_last_layer_starts_at_the_prior(name: str) -> None:
    dataset = data(name)
    prepared, model = prepare(dataset, find_base("tiny"), TrainConfig(), "cpu", Silent())
    prior_O = tasks.TASKS[name].prior(dataset.splits.train, prepared.data.settings)
    wanted_O = np.zeros(model.head.outputs) if prior_O is None else prior_O
    assert np.allclose(model.last.bias.detach().numpy(), wanted_O)


@each_task
def test_a_model_that_gives_nan_is_said_so(name: str) -> None:
    task, found = tasks.TASKS[name], data(name)
    run_, model = prepare(found, find_base("tiny"), TrainConfig(seed=0), "cpu", Silent())
    with torch.no_grad():
        model.last.bias.fill_(float("nan"))
    job = TaskJob(task, found.settings, model, (found.splits.validation, run_.features["validation"]), "cpu")
    with pytest.raises(TrainingError, match="validation gives NaN"):
        job.validate()


@each_task
def test_the_first_figure_is_what_the_best_step_is_chosen_by(name: str) -> None:
    task, found = tasks.TASKS[name], data(name)
    run_, model = prepare(found, find_base("tiny"), TrainConfig(seed=0), "cpu", Silent())
    job = TaskJob(task, found.settings, model, (found.splits.validation, run_.features["validation"]), "cpu")
    score, figures = job.validate()
    assert next(iter(figures.values())) in (score[0], -score[0])


@each_task
def test_balancing_moves_the_loss_or_is_refused(name: str) -> None:
    task = tasks.TASKS[name]
    if task.BALANCE:
        assert task.BALANCE[0].islower() or task.BALANCE[0].isupper()
        return
    uneven = [Example((f"text {n}",), TARGETS[name][1 if n % 5 == 0 else 2]) for n in range(40)]
    settings = task.settle(uneven, {}, "memory")
    logits = torch.zeros(1, task.head(settings).outputs)
    losses = []
    for each in (settings, task.balanced(uneven, settings, "weights")[0]):
        for example in uneven[:2]:
            number = _number(name, example.target, each)
            batch = pack([Features(np.array([2, 3], np.int32), np.zeros(2, np.int32), number)])
            losses.append(float(task.loss(logits, batch, each)))
    assert losses[2] / losses[3] > losses[0] / losses[1]  # the rare one, first, counts more than it did
    _, chances_N = task.balanced(uneven, settings, "sampling")
    assert chances_N is not None
    assert chances_N[0] > chances_N[1]
    assert chances_N.sum() == pytest.approx(1)


def _number(name: str, target: object, settings: object) -> object:
    tokenizer = Tokenizer.from_vocab([*SPECIALS, "a"])
    (window,) = tasks.TASKS[name].features(tokenizer.encode(["a"]), target, tokenizer, settings, 8)
    return window.target


@alone_and_pairs
@each_task
def test_the_trainer_sees_the_ids_that_the_engine_sees(name: str, pairs: bool) -> None:
    done, found = run(name, pairs=pairs), data(name, pairs=pairs)
    engine = load(done.folder, device="cpu")
    run_, _ = prepare(found, find_base("tiny"), TrainConfig(seed=3), "cpu", Silent())
    texts = [example.inputs for example in found.splits.validation]
    for ours, theirs in zip(engine.features(texts), run_.features["validation"], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.ids.tolist() == b.ids.tolist()
            assert a.segments.tolist() == b.segments.tolist()
    assert engine.features(texts)[0][0].segments.max() == int(pairs or name in ASKED | ALONE)


@needs_native
@each_task
def test_cpp_and_torch_agree(name: str) -> None:
    model = open_model(run(name).folder)
    windows = [w for each in load(run(name).folder, device="cpu").features(inputs(24, name)) for w in each]
    network = network_of(model.config, model.weights, model.head, model.arrays)
    ours = NativeScorer(model, "fp32").outputs(windows)
    theirs = TorchScorer(network, "cpu", "fp32").outputs(windows)
    for one, two in zip(ours, theirs, strict=True):
        assert np.abs(one - two).max() <= 1e-5 * max(1.0, np.abs(two).max())


@alone_and_pairs
@each_task
def test_transformers_gives_what_the_engine_gives(name: str, pairs: bool) -> None:
    done = run(name, pairs=pairs)
    engine = load(done.folder, device="cpu")
    kind = engine.task.HUB[0].replace("Bert", "AutoModel").replace("ModelModel", "Model")
    theirs = getattr(transformers, kind).from_pretrained(done.folder)
    model = open_model(done.folder)
    network = network_of(model.config, model.weights, model.head, model.arrays)
    assert theirs.config.problem_type == engine.task.saved(engine.settings).get("problem_type")
    for texts in inputs(12, name, pairs=pairs):
        (window,) = engine.features([texts])[0]
        with torch.inference_mode():
            out = theirs.eval()(
                input_ids=torch.as_tensor(window.ids)[None].long(),
                token_type_ids=torch.as_tensor(window.segments)[None].long(),
            )
            vectors = network.encoder(*tensors_of(pack([window]), "cpu")).numpy()
        if name in ALONE:  # `transformers` has no class for it, and opens the encoder
            assert np.abs(vectors - out.last_hidden_state[0].numpy()).max() <= 1e-5 * np.abs(vectors).max()
            continue
        found = np.stack([each[0].numpy() for each in out.to_tuple()], axis=-1)  # logits, or those of start and end
        ours = np.asarray(engine.outputs([[window]])[0][0])
        assert np.abs(ours - found.reshape(ours.shape)).max() <= 1e-5 * max(1.0, float(np.abs(found).max()))


@each_task
def test_a_saved_model_answers_as_the_one_that_was_trained(name: str) -> None:
    done, found = run(name), data(name)
    engine = load(done.folder, device="cpu")
    validation = found.splits.validation
    predictions = engine.predict([example.inputs for example in validation])
    scores = engine.task.score(validation, predictions, engine.settings)
    told = done.report["scores"]["validation"]
    for metric in engine.task.page().metrics:
        assert scores[metric.key]["value"] == pytest.approx(told[metric.key]["value"], abs=1e-6)


@each_task
def test_classes_and_doubts_are_of_each_text(name: str) -> None:
    task, done = tasks.TASKS[name], data(name).splits.train
    classes = task.classes(done)
    assert len(classes) == len(done)
    assert all(isinstance(each, str) for names in classes for each in names)
    engine = load(run(name).folder)
    doubts = task.doubts(done, engine.answer(engine.encode([each.inputs for each in done])), engine.settings)
    assert len(doubts) in (0, len(done))
    assert all(0 <= doubt.quality <= 1 for doubt in doubts)


@each_task
def test_the_page_and_the_card_are_inert(name: str) -> None:
    folder = run(name).folder
    page = (folder / "report.html").read_text("utf-8")
    assert EVIL not in page
    assert "script" not in [tag for tag, _ in Page(page).elements]
    card = (folder / "README.md").read_text("utf-8")
    assert "<script" not in "".join(card.split("```")[::2])  # in a block of code it is text


def test_questions_are_called_questions() -> None:
    folder = run("question-answering").folder
    page, card = ((folder / name).read_text("utf-8") for name in ("report.html", "README.md"))
    assert re.search(r"trained on [0-9]+ questions · measured on [0-9]+ validation questions", page)
    assert re.search(r"[0-9]+ windows by length in tokens", page)
    for said in (page, card):
        assert not re.search("pairs of texts|(train|validation|test) texts|same texts", said)
    assert re.search("validation: (none|[0-9]+) of [0-9]+ questions truncated", page)


@each_task
def test_row_gives_the_same_cells_everywhere(name: str, tmp_path: Path) -> None:
    engine = load(run(name).folder, device="cpu")
    texts = inputs(6, name)
    examples = [Example(each, columns={"text": each[0]}) for each in [*texts, (" ",) * len(texts[0])]]
    wanted = [engine.task.row(p, engine.settings) for p in engine.predict([e.inputs for e in examples])]
    columns = engine.task.columns(engine.settings)
    assert list(wanted[0]) == list(columns)
    score_to(engine, examples, ["text"], tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [{key: line[key] for key in columns} for line in lines] == wanted
    assert list(lines[0]) == ["text", *columns, *LAST]
    score_to(engine, examples, ["text"], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    as_text = [{key: _as_text(cell) for key, cell in each.items()} for each in wanted]
    assert [{key: row[key] for key in columns} for row in rows] == as_text
    assert rows[-1]["error"] == "empty_text"


def _as_text(cell: object) -> str:
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)


@chosen_by_estimators
def test_the_estimator_answers_as_the_engine(name: str, tmp_path: Path) -> None:
    kind = TextRegressor if name == tasks.of_values((), numbers=True).NAME else TextClassifier
    targets = [TARGETS[name][n % 4] for n in range(60)]
    model = kind(base="tiny", epochs=1, precision="fp32", out=tmp_path / "run").fit([t[0] for t in inputs(60)], targets)
    rows = [model.engine_.task.row(p, model.engine_.settings) for p in model.engine_.predict(inputs(5))]
    floats = [key for key, type_ in model.engine_.task.columns(model.engine_.settings).items() if type_ == "float"]
    found = model.predict([t[0] for t in inputs(5)])
    if kind is TextRegressor:
        np.testing.assert_allclose(found, [row[floats[0]] for row in rows], rtol=1e-4)
    else:
        chances = model.predict_proba([t[0] for t in inputs(5)])
        columns = [f"probability_{label}" for label in model.classes_]
        np.testing.assert_allclose(chances, [[row[column] for column in columns] for row in rows], atol=1e-5)


@each_task
def test_words_of_nothing_are_not_guessed_at(name: str) -> None:
    engine = load(run(name).folder, device="cpu")
    (texts,) = inputs(1, name)
    whole, empty = engine.predict([texts, ("\u200b ",) * len(texts)])
    assert whole.error is None
    assert empty.error == "empty_text"
    if len(texts) == 1:
        assert engine.predict(texts[0]) == [whole]


@each_task
def test_a_request_is_answered_in_json(name: str) -> None:
    engine = load(run(name).folder, device="cpu")
    (given,) = inputs(1, name)
    assert engine.task.asked([*given]) == given
    for wrong in (3, None, [], {}, {"text": 1}, ["a", 2], {"query": "a"}):
        with pytest.raises(Refusal):
            engine.task.asked(wrong)
    (prediction,) = engine.predict([given])
    answer = engine.task.hub(prediction, engine.settings)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    if not engine.task.head(engine.settings).one_row:
        return
    outputs = np.asarray(engine.outputs(engine.features([given])))[0, 0]
    raw = engine.task.hub(prediction, engine.settings, outputs)
    assert sorted(each["score"] for each in raw[0]) == pytest.approx(sorted(outputs.tolist()), abs=1e-6)


@each_task
def test_one_text_where_two_are_wanted_is_refused(name: str) -> None:
    if name not in ALONE:
        with pytest.raises(ValueError, match="a pair of texts"):
            load(run(name, pairs=True).folder, device="cpu").predict(["alone"])
    if name not in ASKED:
        with pytest.raises(ValueError, match="one text"):
            load(run(name).folder, device="cpu").predict([("a", "b")])
