"""What a run tries: a frozen encoder, fine-tuning, adaptation where time is left; the best by validation is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import films
import numpy as np
import pytest
import torch
from films import CONFIG, Listening, Stopper, contents, data, run
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert import load, tasks
from filbert.bases.find import find_base
from filbert.errors import Stopped
from filbert.finetuning import frozen as freezing
from filbert.finetuning import ladder
from filbert.finetuning.dataset import settled
from filbert.finetuning.prepare import Run, prepare
from filbert.language import speaking
from filbert.model.packing import pack
from filbert.progress import Silent
from filbert.records import Example, Features
from filbert.report.ladder import rungs_of

STUCK = CONFIG.with_options(learning_rate=1e-9)  # fine-tuning that learns nothing


@pytest.fixture(scope="module")
def base() -> str:
    return str(films.finished())


@pytest.fixture(scope="module")
def stuck(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that hands over the frozen encoder."""
    return run(tmp_path_factory.mktemp("stuck") / "run", base=base, config=STUCK, compare=True).folder


def prepared(base: str, **changes: Any) -> Run:
    config = CONFIG.with_options(**changes)
    return prepare(data(), find_base(base), config, "cpu", Silent())[0]


def test_the_layer_is_the_one_of_logistic_regression() -> None:
    random = np.random.default_rng(0)
    class_N = np.repeat([0, 1, 2], 20)
    rows_ND = random.normal(size=(60, 8)) + np.eye(8)[class_N] * 2
    examples = [Example((f"t{n}",), str(c)) for n, c in enumerate(class_N)]
    one, _ = prepare(films.data_of(examples), find_base("tiny"), CONFIG, "cpu", Silent())
    batch = pack([Features(np.zeros(1, np.int32), np.zeros(1, np.int32), target=int(c)) for c in class_N])
    start = torch.zeros(3, 8), torch.zeros(3)
    weight, bias = freezing.solve(one, batch, freezing.seen(rows_ND), start, strength=10.0)
    given = freezing.seen(rows_ND)
    theirs = LogisticRegression(C=10.0, tol=1e-8, max_iter=1000).fit(given, class_N).predict_proba(given)
    ours = torch.softmax(torch.from_numpy(given).float() @ weight.T + bias, 1).numpy()
    assert np.abs(ours - theirs).max() < 1e-3


def test_a_frozen_encoder_is_kept_where_fine_tuning_is_no_better(stuck: Path, base: str) -> None:
    report = json.loads((stuck / "report.json").read_text())
    assert report["ladder"]["chosen"] == "frozen encoder"
    assert [each["name"] for each in report["ladder"]["rungs"]] == ["frozen encoder", "fine-tuning"]
    assert report["training"]["steps"] == 0
    assert report["scores"]["test"]["accuracy"]["value"] > 0.9
    theirs, ours = (load_file(str(Path(folder) / "model.safetensors")) for folder in (base, stuck))
    encoder = [name for name in theirs if name.startswith("bert.encoder.")]
    assert encoder
    assert all(torch.equal(theirs[name], ours[name]) for name in encoder)


@torch.no_grad()
def test_transformers_opens_it(stuck: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(stuck).eval()
    words, texts = AutoTokenizer.from_pretrained(stuck), ["a good film", "the dull story", "great actor"]
    theirs = model(**words(texts, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    given = [[each.probabilities[i] for i in range(2)] for each in load(stuck).predict(texts)]  # type: ignore[attr-defined]
    assert np.abs(theirs - np.array(given)).max() < 1e-5


def test_fine_tuning_gives_the_same_bits_beside_it(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = freezing._fit
    monkeypatch.setattr(freezing, "_fit", lambda *given: (inner(*given)[0], (-9.0,), {"macro_f1": -9.0}))
    with_it = run(tmp_path / "with", base=base)
    assert with_it.report["ladder"]["chosen"] == "fine-tuning"
    monkeypatch.setattr(ladder, "has_frozen", lambda run: False)
    without = run(tmp_path / "without", base=base)
    assert "ladder" not in without.report
    weights = [contents(each.folder)["model.safetensors"] for each in (with_it, without)]
    assert weights[0] == weights[1]


def test_a_stopped_run_does_not_freeze_twice(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole", base=base)
    with pytest.raises(Stopped):
        run(tmp_path / "run", base=base, watch=Stopper(2))
    monkeypatch.setattr(freezing, "_fit", lambda *_: pytest.fail("done before"))
    again = run(tmp_path / "run", base=base)
    assert again.report["ladder"]["chosen"] == whole.report["ladder"]["chosen"]
    assert contents(again.folder)["model.safetensors"] == contents(whole.folder)["model.safetensors"]


@pytest.mark.parametrize("changes", [{"base": "tiny"}, {"config": CONFIG.with_options(balance="weights")}])
def test_random_weights_and_weighed_classes_have_no_frozen_encoder(base: str, tmp_path: Path, changes: Any) -> None:
    assert "ladder" not in run(tmp_path / "run", **{"base": base, **changes}).report


@pytest.mark.parametrize(
    ("task", "target"), [("multi-label", lambda n: ("pos",) * n), ("regression", lambda n: n + 0.5)]
)
def test_every_task_with_one_vector_a_text_has_one(base: str, task: str, target: Any) -> None:
    texts = films.examples(60, 0)
    given = [replace(each, target=target(int(each.target == "pos"))) for each in texts]
    dataset = settled(tasks.named(task), given, (), (), seed=0, name="memory")
    one, _ = prepare(dataset, find_base(base), CONFIG, "cpu", Silent())
    assert freezing.has_frozen(one)
    _, _, figures = freezing._fit(one, one.network(), 0.0)
    assert figures["map" if task == "multi-label" else "pearson"] > 0.6  # chance: 0.5, 0


def test_a_tenth_of_the_minutes_bounds_the_texts(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezing, "AT_ONCE", 10)
    one = prepared(base)
    assert freezing._fit(one, one.network(), 0.0)[0] == len(one.data.splits.train)
    one = prepared(base, minutes=1e-6)
    assert freezing._fit(one, one.network(), 0.0)[0] == 10


# -- adaptation with the time that is left ---------------------------------------------------------------------------


@pytest.mark.parametrize("better", [True, False])
def test_with_minutes_left_the_base_is_adapted_too(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    monkeypatch.setattr(ladder, "FEWEST_MINUTES", 0.0)
    inner = ladder._adapted_rung

    def adapted(*given: Any) -> Any:
        rung, facts = inner(*given)
        assert rung is not None
        score = (2.0,) if better else (-2.0,)
        return replace(rung, trained=replace(rung.trained, best_score=score)), facts

    monkeypatch.setattr(ladder, "_adapted_rung", adapted)
    heard = Listening()
    done = run(tmp_path / "run", base=base, config=CONFIG.with_options(minutes=0.5), watch=heard)
    assert [each["name"] for each in done.report["ladder"]["rungs"]] == [
        "frozen encoder",
        "fine-tuning",
        "adaptation and fine-tuning",
    ]
    assert (done.report["ladder"]["chosen"] == "adaptation and fine-tuning") == better
    assert done.report["adaptation"]["kept"] == better
    assert done.report["model"]["base"].endswith("adapted to the texts") == better
    assert any("min are left: adapting the base to the texts" in line for line in heard.told)
    seconds = [point["seconds"] for each in done.report["ladder"]["rungs"] for point in each["points"]]
    assert seconds == sorted(seconds)
    assert max(seconds) < 40


def test_without_time_it_is_not(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "_adapted_rung", lambda *_: pytest.fail("no time is left"))
    done = run(tmp_path / "run", base=base, config=CONFIG.with_options(minutes=0.2))
    assert done.report["adaptation"] is None


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_shows_each_way_and_marks_what_is_handed_over(stuck: Path) -> None:
    page = (stuck / "report.html").read_text()
    assert "What was tried" in page
    assert '<tr class="chosen"><th scope="row">frozen encoder</th>' in page
    assert "linear model" in page
    rungs = rungs_of(json.loads((stuck / "report.json").read_text()), "accuracy")
    assert [rung.name for rung in rungs] == ["linear model", "frozen encoder", "fine-tuning"]
    assert [rung.chosen for rung in rungs] == [False, True, False]


def test_a_kept_blend_is_what_is_handed_over() -> None:
    points = [{"seconds": 60.0, "figures": {"accuracy": 0.8}}]
    found = {
        "ladder": {"rungs": [{"name": "fine-tuning", "points": points}], "chosen": "fine-tuning"},
        "baseline": {"seconds": 6.0, "validation": {"accuracy": {"value": 0.7}}},
        "blend": {"kept": True},
        "scores": {"validation": {"accuracy": {"value": 0.9}}},
    }
    rungs = rungs_of(found, "accuracy")
    assert [(rung.name, rung.chosen) for rung in rungs] == [
        ("linear model", False),
        ("fine-tuning", False),
        ("BERT and the linear model together", True),
    ]
    assert rungs[-1].best == (1.1, 0.9)
    with speaking("zh"):
        assert rungs_of({**found, "blend": {"kept": True, "linear_alone": True}}, "accuracy")[-1].name
