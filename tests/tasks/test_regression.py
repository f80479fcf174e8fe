"""A number a text: told from classes, learned on its own scale, given back in the unit of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import CONFIG, run
from small import VOCAB, spread, tokenizer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from filbert import tasks
from filbert.errors import ConfigError, DataError, ModelError, Place, Refusal
from filbert.finetuning.dataset import dataset_of, read_dataset
from filbert.finetuning.fit import fit
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.model.packing import pack
from filbert.records import Example
from filbert.tasks import regression
from filbert.tasks.regression.outputs import numbered
from filbert.tasks.regression.settings import Settings, number

PLACE = Place("a.csv")


def examples(*numbers: float) -> list[Example]:
    return [Example((f"text {n}",), each, Place("f.csv", n + 2)) for n, each in enumerate(numbers)]


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [["0.5", "1.25", "2.75"], ["3,5", "2,0", "4,5"], ["-1.5", "+2.5", ".5", "1e-3", "2.5e3"]],
    ids=["points", "decimal commas", "signs and exponents"],
)
def test_fractions_are_numbers(cells):
    task, reading = tasks.found(cells * 10, PLACE)
    assert task is regression
    assert reading.how == f"task: a number a text, {len(cells)} different ones seen; --task single-label reads classes"
    assert all(isinstance(reading.parse(cell), float) for cell in cells)


def test_decimal_commas_are_read_as_points():
    assert [number(cell) for cell in ("3,5", " -0,25 ", ",5", "1e3")] == [3.5, -0.25, 0.5, 1000.0]
    for cell in (" ", "1,234.5", "1 000", "nan", "inf", "1e", "x"):
        with pytest.raises(ValueError, match=re.escape(cell)):
            number(cell)


@pytest.mark.parametrize("cells", [["900", "1,200", "12,500"], ["1,234", "2,500", "3,125"]])
def test_commas_that_may_be_points_or_thousands_are_asked_about(cells):
    """Read as points, 1,200 would be less than 900."""
    with pytest.raises(
        DataError, match=r"which may be (1200 or 1\.2|1234 or 1\.234) — write the numbers without commas"
    ):
        tasks.found(cells * 10, PLACE)
    assert regression.read([*cells, "0,5"], {}).parse("1,250") == 1.25  # one that can only be a point tells


@pytest.mark.parametrize("cells", [["1", "2", "3", "4", "5"], ["0", "1"], ["a", "0.5"], ["0.5", "1.5"], [""]])
def test_stars_flags_words_and_two_fractions_are_no_amounts(cells):
    assert regression.claim(cells * 10) is None


def test_many_whole_numbers_are_asked_about_with_both_flags(tmp_path):
    cells = [str(n) for n in range(18, 68)] * 2
    with pytest.raises(DataError, match=r"50 different whole numbers.*--task regression or --task single-label"):
        tasks.found(cells, PLACE)
    path = tmp_path / "a.csv"
    path.write_text("text,age\n" + "".join(f"text {n},{cell}\n" for n, cell in enumerate(cells)))
    assert read_dataset(path, task="regression").settings.high == 67
    assert len(read_dataset(path, task="single-label").settings.labels) == 50


@pytest.mark.parametrize("cell", ["", "  ", "good", "1,2,3"])
def test_a_cell_without_a_number_is_refused(cell):
    with pytest.raises(Refusal, match=r"(is empty|no number) — write a number such as 3\.5, or drop the row"):
        regression.read(["0.5"], {}).parse(cell)


def test_a_column_of_words_is_no_column_of_numbers():
    with pytest.raises(DataError, match="holds no numbers, but 'good' — choose another --label"):
        regression.read(["good", "bad", "1"], {})


def test_a_word_may_be_read_as_a_number():
    assert regression.read(["0.5", "none"], {"none": "0"}).parse("none") == 0.0


@pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf")])
def test_a_value_that_is_no_finite_number_is_refused(value):
    with pytest.raises(Refusal, match="number"):
        regression.target_of(value)
    assert regression.target_of(np.float32(2.5)) == 2.5


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_unit_is_that_of_the_training_texts():
    found = regression.settle(examples(*range(10)), {}, "a.csv")
    assert (found.mean, found.low, found.high) == (4.5, 0, 9)
    assert found.spread == pytest.approx(np.std(range(10)))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([1.0, 2.0, 3.0], "there are 3 texts with a number"), ([2.5] * 20, "all texts have the number 2.5")],
)
def test_D11_numbers_that_nothing_can_be_learned_from(numbers, said):
    with pytest.raises(DataError, match=said):
        regression.settle(examples(*numbers), {}, "a.csv")


def test_a_split_keeps_the_share_of_each_tenth_of_the_range():
    numbers = np.random.default_rng(0).exponential(1000, 500)
    assert sorted(set(regression.strata(examples(*numbers)))) == list(range(10))
    data = dataset_of([(f"text {n}",) for n in range(500)], numbers.tolist(), regression)
    parts = np.searchsorted(np.quantile(numbers, np.arange(1, 10) / 10), [row.target for row in data.splits.validation])
    assert np.bincount(parts, minlength=10).tolist() == [5] * 10


def test_few_different_numbers_have_strata_too():
    assert len(set(regression.strata(examples(*[1.0] * 30, *[2.0] * 30)))) == 2


def test_the_range_is_said():
    train = examples(*range(100))
    lines, facts = regression.described({"train": train}, regression.settle(train, {}, "a.csv"))
    assert lines == ["numbers: 0 to 99, mean 49.5 ± 28.9"]
    assert sum(facts["numbers"]["counts"]["train"]) == 100


def test_classes_are_not_balanced_where_there_are_none(tmp_path):
    data = dataset_of([(f"text {n}",) for n in range(40)], [n / 7 for n in range(40)], regression)
    for how in ("weights", "sampling", "auto"):
        with pytest.raises(ConfigError, match=f"--balance {how} — numbers have no classes to balance"):
            fit(data, tmp_path / "run", base="tiny", config=CONFIG.with_options(balance=how))
    assert not (tmp_path / "run").exists()


# -- loss -------------------------------------------------------------------------------------------------------------


def test_loss_is_the_squared_error_of_the_scaled_number():
    settings, encodings = Settings(mean=3000.0, spread=1000.0), tokenizer().encode(["good film"])
    windows = [regression.features(encodings, each, tokenizer(), settings, 16)[0] for each in (2000.0, 5000.0)]
    assert [row.target for row in windows] == [-1.0, 2.0]
    outputs = torch.tensor([[-1.0], [0.5]], requires_grad=True)
    loss = regression.loss(outputs, pack(windows), settings)
    assert loss.item() == pytest.approx(1.5**2)
    loss.backward()
    assert outputs.grad is not None
    assert outputs.grad[:, 0].tolist() == [0.0, -3.0]


# -- the unit given back ----------------------------------------------------------------------------------------------


def test_calibration_folds_the_unit_into_the_last_layer():
    settings = Settings(mean=3000.0, spread=1000.0, low=0, high=6000)
    scaled_N = np.random.default_rng(0).normal(size=200)
    asked = examples(*(scaled_N * 1000 + 3000 + np.random.default_rng(1).normal(0, 100, 200)))
    found = regression.calibrate(scaled_N[:, None, None], asked, settings)
    assert (found.fold.divisor, found.fold.shift) == (1 / 1000, 3000)
    given_N = scaled_N / found.fold.divisor + found.fold.shift
    off_N = np.abs([each.target for each in asked] - given_N)
    half = found.settings.half_width
    assert 0.9 <= (off_N <= half).mean() <= 0.93
    assert found.facts["inside"] >= 0.9
    predictions = regression.decode(given_N[:, None, None], found.settings)
    assert [round(one.high - one.low, 6) for one in predictions[:3]] == [round(2 * half, 6)] * 3


def test_too_few_texts_prove_no_range():
    found = regression.calibrate(np.zeros((3, 1, 1)), examples(1.0, 2.0, 3.0), Settings(2.0, 1.0))
    assert found.settings.half_width == 0
    assert list(regression.columns(found.settings)) == ["score"]


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """Texts with one of three words, each worth some thousands."""
    worth = {"cheap": 1000.0, "usual": 4000.0, "dear": 9000.0}
    words = [list(worth)[n % 3] for n in range(240)]
    texts = [(f"a {word} thing {n % 7}",) for n, word in enumerate(words)]
    data = dataset_of(texts, [worth[word] + n % 10 for n, word in enumerate(words)], regression, seed=1)
    config = CONFIG.with_options(epochs=12, learning_rate=1e-3)
    return fit(data, tmp_path_factory.mktemp("prices") / "run", base="tiny", config=config), data


def test_answers_come_in_the_unit_of_the_file(prices):
    done, data = prices
    engine = load(done.folder, device="cpu")
    found = engine.predict(["a cheap thing 1", "a usual thing 1", "a dear thing 1"])
    assert [one.score for one in found] == pytest.approx([1000, 4000, 9000], abs=800)
    validation = data.splits.validation
    answers = engine.predict([row.inputs for row in validation])
    inside = np.mean([one.low <= row.target <= one.high for one, row in zip(answers, validation, strict=True)])
    assert inside >= 0.9
    assert done.report["scores"]["validation"]["pearson"]["value"] > 0.95
    assert done.report["scores"]["validation"]["mae"]["value"] < 800


def test_a_result_has_the_range_beside_the_number(prices):
    done, _ = prices
    engine = load(done.folder, device="cpu")
    assert engine.task.columns(engine.settings) == dict.fromkeys(("score", "score_low", "score_high"), "float")
    [found] = engine.predict(["a dear thing 1"])
    row = engine.task.row(found, engine.settings)
    half = engine.settings.half_width
    assert row["score_high"] - row["score_low"] == pytest.approx(2 * half, rel=1e-3)
    assert len(f"{row['score']:g}") <= 9
    assert " (9 of 10 from " in engine.task.show(found, engine.settings).answer
    info = json.loads((done.folder / "filbert.json").read_text("utf-8"))
    assert info["settings"]["half_width"] == half
    assert list(regression.row(regression.empty("empty_text"), engine.settings).values()) == [None] * 3


def test_validation_goes_by_the_error_and_logs_it_in_the_unit_of_the_file():
    settings, asked = Settings(3000.0, 1000.0), examples(2000.0, 3000.0, 4500.0)
    good, figures = regression.validate(np.array([-1.0, 0.0, 1.0])[:, None, None], asked, settings)
    bad, _ = regression.validate(np.array([1.0, 0.0, -1.0])[:, None, None], asked, settings)
    assert good > bad
    assert figures["mae"] == pytest.approx(500 / 3)
    flat, figures = regression.validate(np.zeros((3, 1, 1)), asked, settings)
    assert np.isfinite(flat).all()
    assert figures["pearson"] == 0.0


def test_mistakes_are_those_furthest_off():
    given = numbered(np.array([1.0, 2.0, 9.0]), Settings(0.0, 1.0))
    found = regression.mistakes(examples(1.5, 2.0, 3.0), given, Settings(0.0, 1.0))
    assert [(each["place"], each["off"]) for each in found[:2]] == [("f.csv:4", 6.0), ("f.csv:2", 0.5)]


def test_sureness_has_the_range_of_the_training_texts_as_1_and_no_other_answer_near():
    numbers_NK, margin_N = regression.sureness(np.array([[[500.0]], [[1000.0]]]), Settings(0, 1, low=0, high=2000))
    assert numbers_NK.tolist() == [[0.25], [0.5]]
    assert margin_N.tolist() == [1, 1]


# -- other people's ---------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, BertForSequenceClassification]:
    config = BertConfig(
        vocab_size=len(VOCAB), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=1, problem_type="regression",
    )  # fmt: skip
    theirs = spread(BertForSequenceClassification(config)).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    return tmp_path, theirs  # type: ignore[return-value]


@torch.no_grad()
@pytest.mark.parametrize("told", [True, False], ids=["problem_type", "one label"])
def test_other_peoples_model_gives_what_transformers_gives(foreign, told):
    folder, theirs = foreign
    if not told:
        config = json.loads((folder / "config.json").read_text())
        del config["problem_type"]
        (folder / "config.json").write_text(json.dumps(config))
    texts = ["good", "a badly film", "not a good film not bad", "xyz good"]
    words = AutoTokenizer.from_pretrained(folder)
    expected_N = theirs(**words(texts, padding=True, return_tensors="pt")).logits[:, 0].numpy()
    engine = load(folder)
    found = engine.predict(texts)
    assert engine.task.NAME == "regression"
    assert [one.score for one in found] == pytest.approx(expected_N.tolist(), abs=1e-5)
    assert [one.low for one in found] == [None] * 4


@pytest.mark.parametrize("settings", [{}, {"mean": "x", "spread": 1.0}, {"mean": 1.0, "spread": 1.0, "more": 2}])
def test_M37_a_unit_that_is_none(settings):
    info = json.loads((run("regression").folder / "config.json").read_text("utf-8"))
    with pytest.raises(ValueError, match=r"filbert\.json settings"):
        regression.reopen({"settings": settings}, info)


def test_M37_a_model_of_several_outputs_is_no_number(foreign):
    folder, _ = foreign
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "1": "b"}}))
    with pytest.raises(ModelError, match="of no kind known here"):
        open_model(folder)
