"""Texts read in windows: how they are trained, and how the way to read long texts is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from films import Stopper
from long_runs import CHOOSES, CONFIG, LENGTH, USUAL, data, run, texts
from safetensors.torch import load_file
from small import same_weights, tokenizer

from filbert import tasks
from filbert.bases.find import find_base
from filbert.errors import Stopped
from filbert.finetuning.dataset import dataset_of
from filbert.finetuning.fit import fit
from filbert.finetuning.job import TaskJob, WindowFeed, window_tokens
from filbert.finetuning.prepare import prepare
from filbert.inference.model import open_model
from filbert.model.packing import pack_texts
from filbert.model.run import tensors_of
from filbert.progress import Silent
from filbert.records import Encoding
from filbert.tasks.long_texts import windows

each_task = pytest.mark.parametrize("name", CHOOSES)
alone_and_pairs = pytest.mark.parametrize("pairs", [False, True], ids=["one text", "pairs"])


def encoding(tokens: int, first: int = 100) -> Encoding:
    return Encoding(np.arange(first, first + tokens, dtype=np.int32), np.zeros((tokens, 2), np.int32))


# -- training ---------------------------------------------------------------------------------------------------------


@each_task
def test_each_target_moves_the_loss_of_its_text_alone(name):
    found = data(name)
    run_, model = prepare(found, find_base("tiny"), CONFIG, "cpu", Silent())
    job = TaskJob(found.task, run_.data.settings, model.eval(), ([], []), "cpu")
    several = run_.features["train"][:6]
    assert max(map(len, several)) > 1
    assert min(map(len, several)) == 1

    def loss(chosen):
        batch = pack_texts(chosen, range(len(chosen)))
        with torch.inference_mode():
            return float(job.loss(batch, tensors_of(batch, "cpu")))

    alone = [loss([each]) for each in several]
    assert loss(several) == pytest.approx(sum(alone), rel=1e-4)
    for i, each in enumerate(several):
        other = next(w.target for o in run_.features["train"] for w in o if np.any(w.target != each[0].target))
        moved = [*several]
        moved[i] = [replace(window, target=other) for window in each]
        assert abs(loss(moved) - sum(alone)) > 1e-4


def test_the_weight_of_windows_is_trained():
    model = open_model(run("single-label").folder)
    assert np.abs(model.arrays["weigh.weight"]).max() > 0


def test_a_step_reads_few_windows_of_a_text_of_many_and_the_same_ones_again():
    many = windows([encoding(500)], 1, tokenizer(), "windows", 24)
    few = windows([encoding(30)], 0, tokenizer(), "windows", 24)
    feed = WindowFeed([many[0], few[0]], None, 2, 8192, 0, texts=[many, few])
    (batch,) = feed.batches(0, 0.0)
    assert np.bincount(batch.texts_B).tolist() in ([8, 2], [2, 8])
    assert batch.targets_B.tolist() == [(1, 0)[i] for i in batch.order_B]
    assert feed.batches(0, 0.0)[0].ids_T.tolist() == batch.ids_T.tolist()
    assert feed.batches(1, 0.0)[0].ids_T.tolist() != batch.ids_T.tolist()
    assert feed.tokens == sum(window_tokens([many, few])) < sum(map(len, [*many, *few]))
    feed.budget = 50
    assert max(len(each.ids_T) for each in feed.batches(0, 0.0)) <= 50


def test_the_first_half_of_a_run_reads_one_short_window_of_each_text():
    found = data("single-label")
    run_, _ = prepare(found, find_base("tiny"), CONFIG, "cpu", Silent())
    short = run_.short(12)
    assert len(short) == len(found.splits.train)
    assert max(map(len, short)) == 12
    feed = WindowFeed([e[0] for e in run_.features["train"]], short, 4, 8192, 0, texts=run_.features["train"])
    assert max(np.diff(feed.batches(0, 0.1)[0].starts_B)) <= 12
    assert max(np.diff(feed.batches(0, 0.9)[0].starts_B)) == LENGTH


# -- choices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "ways"), [(1, {"head", "head-tail"}), (30, {"windows"}), (58, {"head-tail"})])
def test_auto_reads_what_a_linear_model_learns_from(place, ways):
    random = np.random.default_rng(0)
    filler = ["the", "of", "a", "text", "and", "more", "words", "here", "that", "say", "little"]

    def text(word: str) -> str:
        words = random.choice(filler, 60).tolist()
        return " ".join([*words[:place], word, *words[place:]])

    found = dataset_of([(text(("fine", "dull")[n % 2]),) for n in range(120)], ["a", "b"] * 60, tasks.named(USUAL))
    config = replace(CONFIG, long="auto")
    run_, model = prepare(found, find_base("filbert-mini"), config, "cpu", Silent())
    assert run_.long is not None
    assert run_.data.settings.long == run_.long.way
    assert run_.long.way in ways
    assert run_.long.why.startswith("108 of 108 training texts are longer than 24 tokens, on which a linear model")
    assert model.head.weighed == (run_.long.way == "windows")


def test_auto_compares_nothing_where_little_is_left_out():
    found = dataset_of(texts(40), ["a", "b"] * 20, tasks.named(USUAL))
    run_, _ = prepare(found, find_base("tiny"), replace(CONFIG, long="auto"), "cpu", Silent())
    assert run_.long_facts is not None
    assert run_.long_facts["way"] == "head-tail"
    assert "would be left out" in run_.long_facts["why"]


@each_task
def test_balancing_changes_nothing_of_how_long_texts_are_read(name):
    task = tasks.TASKS[name]
    settings = replace(task.settle(data(name).splits.train, {}, "memory"), long="windows")
    assert task.balanced(data(name).splits.train, settings, "weights")[0].long == "windows"


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    with pytest.raises(Stopped):
        fit(data("single-label"), tmp_path / "run", base="tiny", config=CONFIG, name="long", watch=Stopper(3))
    again = fit(data("single-label"), tmp_path / "run", base="tiny", config=CONFIG, name="long")
    one, two = (load_file(each / "model.safetensors") for each in (again.folder, run("single-label").folder))
    assert same_weights(one, two)
