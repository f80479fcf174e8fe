"""Cross-validation: nobody answers what they were trained on; doubtful targets found, corrected, read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from films import CONFIG

from filbert import tasks
from filbert.bases.find import find_base
from filbert.errors import ConfigError, DataError, Place, Stopped
from filbert.finetuning import folds as folds_module
from filbert.finetuning.corrections import corrected
from filbert.finetuning.dataset import dataset_of, read_dataset
from filbert.finetuning.fit import fit
from filbert.finetuning.folds import check_folds, cross_validate, dealt, pool_of, suspects
from filbert.progress import Silent
from filbert.records import Example
from filbert.tasks.single_label.outputs import labelled
from filbert.tasks.single_label.settings import Settings

WORDS = {"neg": ("bad", "dull", "poor"), "pos": ("good", "fine", "great")}


def write(path: Path, count: int = 60, wrong: tuple[int, ...] = ()) -> Path:
    """Write texts of two classes, some with the other label."""
    rows = ["id,text,label"]
    for n in range(count):
        label = ("neg", "pos")[n % 2]
        given = {"neg": "pos", "pos": "neg"}[label] if n in wrong else label
        rows.append(f'{n // 2},"a {WORDS[label][n % 3]}, {WORDS[label][n // 3 % 3]} film, number {n}",{given}')
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


class Stopping(Silent):
    """A watcher that ends the run at its third fold."""

    def say(self, text: str) -> None:
        if text.startswith("fold 3"):
            raise Stopped(15)


def test_no_model_answers_what_it_was_trained_on(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        folds_module,
        "_answers",
        lambda data, *rest, **more: (
            seen.append(data.splits) or labelled(np.full((len(data.splits.test), 2), 0.5), data.settings)
        ),
    )
    data = read_dataset(write(tmp_path / "a.csv"), group="id")
    found = cross_validate(data, find_base("tiny"), CONFIG, "cpu", tmp_path / "run", count=4, watch=Silent())
    assert sorted(str(row.place) for part in seen for row in part.test) == sorted(
        str(row.place) for row in pool_of(data)
    )
    for part in seen:
        sides = [{row.columns["id"] for row in rows} for rows in (part.train, part.validation, part.test)]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert found.facts["cross_validation"]["n"] == 60
    assert len(found.facts["cross_validation"]["by_fold"]) == 4


def test_a_given_validation_part_is_not_dealt(tmp_path):
    data = read_dataset(write(tmp_path / "a.csv"), validation=write(tmp_path / "b.csv", 20))
    assert len(pool_of(data)) == 60


@pytest.mark.parametrize(("count", "texts"), [(1, 100), (21, 1000), (5, 19)])
def test_folds_that_cannot_be_dealt_are_refused(count, texts):
    with pytest.raises(ConfigError, match="folds is"):
        check_folds(count, texts)


def test_too_few_groups_are_refused(tmp_path):
    data = read_dataset(write(tmp_path / "a.csv", 24))
    same = [Example((f"text {n % 3}",), "ab"[n % 2]) for n in range(12)]
    with pytest.raises(DataError, match="--folds — there are too few different texts for 4 folds — give --folds 3"):
        dealt(data, same, 4, seed=0)


@pytest.mark.slow
def test_a_run_with_folds_finds_the_wrong_labels(tmp_path):
    wrong = (10, 25)
    data = read_dataset(write(tmp_path / "a.csv", 120, wrong))
    done = fit(data, tmp_path / "run", base="tiny", config=CONFIG.with_options(epochs=12), folds=2, compare=False)
    with (tmp_path / "run" / "suspects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["line"]) - 2 for row in rows[:2]} == set(wrong)
    assert done.report["suspects"]["count"] == len(rows)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Doubtful targets" in page
    assert "Cross-validation" in page


def test_an_interrupted_run_goes_on_with_its_fold(tmp_path):
    data = read_dataset(write(tmp_path / "a.csv"))
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        fit(data, out, base="tiny", config=CONFIG, folds=3, compare=False, watch=Stopping())
    kept = {path.parent.name: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    assert set(kept) == {"fold-1", "fold-2"}
    again = fit(data, out, base="tiny", config=CONFIG, folds=3, compare=False)
    whole = fit(data, tmp_path / "whole", base="tiny", config=CONFIG, folds=3, compare=False)
    assert again.report["cross_validation"] == whole.report["cross_validation"]
    assert (out / "suspects.csv").read_bytes() == (tmp_path / "whole" / "suspects.csv").read_bytes()
    assert not (out / "checkpoints").exists()


# -- doubts -----------------------------------------------------------------------------------------------------------


def test_labels_are_ranked_as_cleanlab_ranks_them():
    rank = pytest.importorskip("cleanlab.rank")
    draw = np.random.default_rng(0)
    chances_NC, truth_N = draw.dirichlet(np.ones(4), 200), draw.integers(0, 4, 200)
    settings = Settings(tuple("abcd"))
    examples = [Example((f"{n}",), "abcd"[truth]) for n, truth in enumerate(truth_N)]
    doubts = tasks.named("single-label").doubts(examples, labelled(chances_NC, settings), settings)
    theirs = rank.get_label_quality_scores(truth_N, chances_NC, method="normalized_margin")
    np.testing.assert_allclose([doubt.quality for doubt in doubts], theirs)
    ours = [example.text for example, _ in suspects(examples, doubts)]
    assert ours == [str(n) for n in np.argsort(theirs, kind="stable") if chances_NC[n].argmax() != truth_N[n]]


@pytest.mark.parametrize(
    ("name", "targets", "cells"),
    [("multi-label", [("a", "b"), ("a",), (), ("b",)], ["a,b", "a", "b"]), ("regression", [1.5, 2.5, 3.5, 4.5], [])],
)
def test_a_suggested_target_can_be_read_back(name, targets, cells):
    task = tasks.named(name)
    reading = task.read(cells, {})
    data = dataset_of([(f"text {n}",) for n in range(40)], targets * 10, task)
    known = task.baseline(data.splits.train, {"all": data.splits.train}, data.settings)
    doubts = task.doubts(data.splits.train, known.predictions["all"], data.settings)
    assert all(0 <= doubt.quality <= 1 for doubt in doubts)
    for example, doubt in zip(data.splits.train, doubts, strict=True):
        assert reading.parse(doubt.given) == example.target
        reading.parse(doubt.suggested)


# -- corrections ------------------------------------------------------------------------------------------------------


def corrections(path: Path, *rows: str) -> Path:
    head = "file,line,text,given,suggested,probability,quality,corrected,leave_out"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_corrections_are_read_back(tmp_path):
    source = write(tmp_path / "a.csv", 60, (3,))
    rows = (
        'a.csv,5,"a good, bad film, number 3",neg,pos,0.9,0.1,pos,',
        'a.csv,9,"a  FINE, great film, number 7",pos,neg,0.9,0.1,,x',
        'a.csv,11,"a good, good film, number 9",pos,neg,0.9,0.1,,',
    )
    texts = {n: row["text"] for n, row in enumerate(csv.DictReader(source.open(encoding="utf-8", newline="")))}
    told = [row.replace("a good, bad film, number 3", texts[3]) for row in rows]
    told = [row.replace("a  FINE, great film, number 7", texts[7].upper()) for row in told]
    told = [row.replace("a good, good film, number 9", texts[9]) for row in told]
    data = read_dataset(source, corrections=corrections(tmp_path / "c.csv", *told))
    found = {row.text: row.target for row in (*data.splits.train, *data.splits.validation)}
    assert found[texts[3]] == "pos"
    assert texts[7] not in found
    assert found[texts[9]] == "pos"
    assert len(found) == 59


def test_corrections_that_belong_nowhere_are_refused_all_at_once(tmp_path):
    source = write(tmp_path / "a.csv")
    path = corrections(tmp_path / "c.csv", 'a.csv,5,"another text",neg,pos,0.9,0.1,pos,', "a.csv,6,no,neg,pos,1,0,pos,")
    with pytest.raises(DataError) as refused:
        read_dataset(source, corrections=path)
    assert "c.csv:2 text — no text is 'another text'" in str(refused.value)
    assert "c.csv:3" in str(refused.value)
    (tmp_path / "d.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="has no column corrected"):
        read_dataset(source, corrections=tmp_path / "d.csv")


def test_one_text_in_two_lines_is_corrected_by_its_line(tmp_path):
    rows = [Example(("same",), "a", Place("a.csv", line)) for line in (4, 9)]
    reading = tasks.named("single-label").read((), {})
    told = corrections(tmp_path / "c.csv", "a.csv,9,same,a,b,0.9,0.1,b,")
    assert [row.target for row in corrected({"train": rows}, told, reading)["train"]] == ["a", "b"]
    moved = corrections(tmp_path / "d.csv", "a.csv,5,same,a,b,0.9,0.1,b,")
    with pytest.raises(DataError, match="more than one text is 'same'"):
        corrected({"train": rows}, moved, reading)
