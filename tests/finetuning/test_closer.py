"""The closer look at errors: slices by any column, training texts like a mistake, examples of confusions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from browsed import Page
from command import Run
from command import run as run  # a fixture
from films import noisy
from finished import EVIL
from finished import run as finished

from filbert import tasks
from filbert.records import Example, Prediction
from filbert.tasks.single_label.outputs import CONFUSIONS, EXAMPLES, labelled, mistakes
from filbert.tasks.single_label.report_page import KIND
from filbert.tasks.single_label.settings import Settings

FIT = ["--base", "tiny", "--epochs", "2", "--device", "cpu", "--precision", "fp32", "--seed", "1"]


def write(path: Path, count: int, seed: int) -> Path:
    """Texts with a column: half come from the shop, which labels by chance."""
    rows, random = ["text,label,source"], np.random.default_rng(seed)
    for n, example in enumerate(noisy(count, seed)):
        shop = n % 2
        label = str(random.choice(["neg", "pos"])) if shop else example.target
        rows.append(f"{example.text},{label},{'shop' if shop else EVIL}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_fit_slices_by_a_column_and_shows_similar_texts(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 200, 0)
    write(tmp_path / "test.csv", 80, 1)
    ran = run("fit", "train.csv", "--test", "test.csv", *FIT, "--slice", "source", "-o", "out")
    assert ran.code == 0, ran.err
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    names = [each["name"] for each in report["slices"]["by"]]
    assert names == ["length", "label", "source"]
    rows = {row["value"]: row for row in report["slices"]["by"][-1]["rows"]}
    assert {name: row["texts"] for name, row in rows.items()} == {"shop": 40, EVIL: 40}
    near = report["mistakes"][0]["similar"]
    assert len(near) == 3
    assert 1.001 >= near[0]["near"] >= near[1]["near"] >= near[2]["near"]
    assert {each["target"] for each in near} <= {"neg", "pos"}
    page = Page((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert "slices" in page.ids("section")
    assert "similar training texts" in page.text
    assert page.open == []
    told = run("evaluate", "out", "test.csv", "--slice", "source", "--json").json
    assert told["slices"]["by"][-1]["rows"] == report["slices"]["by"][-1]["rows"]
    assert "shop" in run("evaluate", "out", "test.csv", "--slice", "source").out
    wrong = run("evaluate", "out", "test.csv", "--slice", "shop")
    assert wrong.code == 2
    assert "columns: 'text', 'label', 'source'" in wrong.err


def test_an_unknown_column_is_refused_before_training(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", 60, 0)
    ran = run("fit", "train.csv", *FIT, "--slice", "sauce")
    assert ran.code == 2
    assert "there is no column 'sauce'" in ran.err
    assert not (tmp_path / "runs" / "train" / "config.json").exists()


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_task_has_slices(name: str) -> None:
    found = finished(name).report["slices"]
    assert found["by"][0]["name"] == "length"
    assert found["error"]
    assert found["all"]["low"] <= found["all"]["value"] <= found["all"]["high"]


def test_a_near_text_is_near() -> None:
    """A mistake that stands in training, too, has itself as its neighbour."""
    done = finished("single-label")
    similar = [each["similar"][0]["near"] for each in done.report["mistakes"]]
    assert similar
    assert min(similar) > 0.9  # texts of two of eight words: something like them is in training


def test_frequent_confusions_keep_examples_behind_the_surest_mistakes() -> None:
    labels = Settings(("a", "b", "c"))
    examples = [Example((f"sure {n}",), "a") for n in range(40)] + [Example((f"unsure {n}",), "b") for n in range(10)]
    chances = np.array([[0.01, 0.98, 0.01]] * 40 + [[0.2, 0.3, 0.5]] * 10)
    found = mistakes(examples, labelled(chances, labels), labels)
    shown = [each for each in found if not each.get("as_example")]
    kept = [each for each in found if each.get("as_example")]
    assert len(shown) == 30
    assert [each["text"] for each in kept] == ["unsure 0", "unsure 1"][:EXAMPLES]
    assert CONFUSIONS >= 2
    score = tasks.named("single-label").score(examples, labelled(chances, labels), labels)
    report = {"labels": ["a", "b", "c"], "mistakes": found, "scores": {"test": score}}
    build = {key: section for key, _, section in KIND.sections}
    confusion = Page(str(build["confusion"](report, [])))
    assert "unsure 1" in confusion.text
    assert "unsure" not in Page(str(build["mistakes"](report, []))).text


def test_errors_are_zero_and_one_where_answers_may_be_withheld() -> None:
    for name, task in tasks.TASKS.items():
        done = finished(name)
        binary = done.report["slices"]["share"]
        assert binary or task.ABSTAIN, name
        assert isinstance(task.empty("x"), Prediction)
