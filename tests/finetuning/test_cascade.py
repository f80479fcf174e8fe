"""A cascade fitted, written and opened: the linear model answers where it is sure, BERT the rest."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from finished import data as finished_data
from small import chances, classifier, save

from filbert import tasks
from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.errors import ConfigError, ModelError
from filbert.finetuning.cascade import add_cascade_to, pseudo_labelled, quick_engine, texts_of
from filbert.finetuning.dataset import dataset_of, settled
from filbert.finetuning.fit import fit
from filbert.finetuning.prepare import prepare
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.linear.cascade import Cascade, count_pieces
from filbert.progress import Silent
from filbert.records import Example
from filbert.report.words import cascade_line

GOOD, BAD = ("good", "fine", "warm"), ("bad", "poor", "cold")
CONFIG = TrainConfig(epochs=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    rng = np.random.default_rng(0)

    def some(n, place):
        words = [GOOD if i % 2 else BAD for i in range(n)]
        texts = [
            " ".join([*rng.choice(kind, 3), *rng.choice(["it", "was", "the"], 2), f"{place}{i}"])
            for i, kind in enumerate(words)
        ]
        return [Example((text,), "bg"[i % 2]) for i, text in enumerate(texts)]

    task = tasks.named("single-label")
    data = settled(task, some(200, "a"), some(120, "b"), some(80, "c"), seed=0, name="memory")
    out = tmp_path_factory.mktemp("cascade") / "run"
    return fit(data, out, base="tiny", config=CONFIG, compare=False, cascade=30.0), data


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished[0].folder, tmp_path / "copy")


def test_fit_puts_a_linear_model_before_bert(finished):
    done, _ = finished
    found = done.report["cascade"]
    assert found["share"] == 1.0  # the words tell it all, and the little BERT has hardly learned
    assert found["bound"] <= 0.3
    assert found["test"]["n"] == 80
    assert found["test"]["accuracy"] == 1.0
    assert found["speedup"] > 1
    info = json.loads((done.folder / "filbert.json").read_text())
    assert info["cascade"] == {"points": 30.0, "threshold": found["threshold"]}
    assert "cascade.safetensors" in info["files"]


def test_it_learns_what_the_model_answers_to_more_texts(finished, copy, tmp_path):
    """Two words that never meet in a labelled text: the linear model can know the pair from BERT alone."""
    done, data = finished
    more = tmp_path / "more.txt"
    texts = [f"{GOOD[i % 3]} bad {GOOD[i % 2]}" for i in range(60)]
    more.write_text("\n".join([*texts, "", data.splits.test[0].text]) + "\n", encoding="utf-8")
    read = texts_of([more], data.splits.held_out, Silent())
    assert read == texts  # neither the empty line nor the test text
    engine = quick_engine(done.folder, "cpu")
    _, answers_N = pseudo_labelled(engine, read, Silent())
    assert [engine.settings.labels[n] for n in answers_N] == [each.label for each in engine.predict(read)]
    parts = data.splits.parts
    known = {name: engine.predict([each.text for each in parts[name]]) for name in ("validation", "test")}
    run, _ = prepare(data, find_base("tiny"), CONFIG, "cpu", Silent())
    found = add_cascade_to(engine, copy, run, 40.0, known=known, unlabelled=read, watch=Silent())
    assert found["pseudo_labelled"] == 60
    [[pair]] = engine.encode([("good bad",)])
    buckets_K = count_pieces([pair.ids]).buckets_K
    for path, expected in ((done.folder, False), (copy, True)):
        assert np.isin(buckets_K, load(path).cascade.linear.buckets_F).all() == expected
    assert "trained also on BERT's predictions for 60 unlabelled texts" in cascade_line(found)


def test_the_page_and_the_card_tell_of_it(finished):
    done, _ = finished
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert ">Cascade<" in page
    assert "the 100 % of texts it is sure of" in page
    assert "--no-cascade" in (done.folder / "README.md").read_text(encoding="utf-8")


def test_both_answer_together(finished):
    done, data = finished
    texts = [example.text for example in data.splits.test]
    both, alone = load(done.folder), load(done.folder, cascade=False)
    assert both.cascade is not None
    assert alone.cascade is None
    found = both.predict([*texts, "", "zebra " * 200])
    assert [each.label for each in found[:80]] == [example.target for example in data.splits.test]
    assert all(each.by_linear for each in found[:80])
    assert found[80].error == "empty_text"
    assert not any(each.by_linear for each in alone.predict(texts))
    linear = open_model(done.folder).cascade.linear
    some = Cascade(linear, float(np.median(chances(both, texts).max(1))))  # sure of half of them
    both.cascade = some
    counted = []
    both.predict(texts, done=counted.append)
    mixed = chances(both, texts)
    sure = some.answer([both.pieces(encodings) for encodings in both.encode([(text,) for text in texts])])[1]
    assert 0 < sure.sum() < 80
    np.testing.assert_allclose(mixed[~sure], chances(alone, texts)[~sure], atol=1e-6)
    assert [each.by_linear for each in both.predict(texts)] == sure.tolist()
    assert counted[0] == sure.sum()
    assert counted[-1] == 80
    marked = both.predict(["zebra " * 1000])[0]
    assert marked.truncated or marked.by_linear


def test_M37_a_cascade_that_was_changed_or_lost_is_refused(copy):
    with (copy / "cascade.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"cascade.safetensors — its SHA-256 differs"):
        open_model(copy)
    (copy / "cascade.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cascade.safetensors is missing"):
        open_model(copy)


def test_M37_a_cascade_of_another_model_is_refused(copy):
    """Three classes here, two there: the files are whole, and do not belong together."""
    info = json.loads((copy / "filbert.json").read_text())
    linear = (copy / "cascade.safetensors").read_bytes()
    save(copy, classifier())
    (copy / "cascade.safetensors").write_bytes(linear)
    made = json.loads((copy / "filbert.json").read_text())
    made["files"]["cascade.safetensors"] = info["files"]["cascade.safetensors"]
    (copy / "filbert.json").write_text(json.dumps({**made, "cascade": info["cascade"]}))
    with pytest.raises(ModelError, match="its cascade does not belong to this model"):
        open_model(copy)


def test_a_model_saved_over_it_has_no_cascade(copy):
    save(copy, classifier())
    assert not (copy / "cascade.safetensors").exists()
    assert load(copy).cascade is None


def test_points_that_make_no_sense_are_refused_before_training(tmp_path):
    data = dataset_of([(f"text {n}",) for n in range(40)], ["a", "b"] * 20, tasks.named("single-label"))
    for points in (0.0, -1.0, 100.0):
        with pytest.raises(ConfigError, match="give more than 0"):
            fit(data, tmp_path / "run", base="tiny", cascade=points)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if task.CASCADE])
def test_a_task_without_classes_is_refused_before_training(name, tmp_path):
    with pytest.raises(ConfigError, match="--cascade — a linear model answers in BERT's place where each text has one"):
        fit(finished_data(name), tmp_path / "run", base="tiny", cascade=1.0)
    assert not (tmp_path / "run").exists()


def test_too_few_texts_leave_the_model_alone(tmp_path):
    texts = [(f"{'good' if n % 2 else 'bad'} text {n}",) for n in range(60)]
    data = dataset_of(texts, ["b", "g"] * 30, tasks.named("single-label"))
    done = fit(data, tmp_path / "run", base="tiny", config=TrainConfig(epochs=1), compare=False, cascade=0.5)
    assert done.report["cascade"]["share"] == 0
    assert load(done.folder).cascade is None
    assert "No cascade: 6 validation texts" in (done.folder / "report.html").read_text()


def test_pairs_have_one_too(tmp_path):
    """The linear model reads both texts in a row, with [SEP] between."""
    texts = [(f"{'good' if n % 2 else 'bad'} text {n}", "and more") for n in range(400)]
    data = dataset_of(texts, ["b", "g"] * 200, tasks.named("single-label"))
    done = fit(data, tmp_path / "run", base="tiny", config=TrainConfig(epochs=1), compare=False, cascade=40.0)
    engine = load(done.folder)
    assert engine.cascade is not None
    [found] = engine.predict([("a good text", "and more")])
    assert (found.label, found.by_linear) == ("g", True)
