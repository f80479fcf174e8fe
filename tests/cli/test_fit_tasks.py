"""`filbert fit` finds the task of a file and says why, asks where it may be one of two, and does as it is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import TRAIN, Run

from filbert import tasks

FIT = [*TRAIN, "--no-baseline"]


def write_table(path: Path, header: str, cells: Sequence[str], *, text: str = "film number {n}") -> Path:
    """Write a text for each cell of the target column, which stands last."""
    rows = [f"{text.format(n=n)},{cell}" for n, cell in enumerate(cells)]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def write_labels(path: Path) -> Path:
    return write_table(path, "text,labels", ["bug|slow", "bug", "slow", "ask"] * 15)


def test_several_labels_are_found(run: Run, tmp_path: Path) -> None:
    write_labels(tmp_path / "a.csv")
    ran = run("fit", "a.csv", *FIT, "--json")
    assert (ran.code, ran.json["task"], ran.json["labels"]) == (0, "multi-label", ["ask", "bug", "slow"]), ran.err
    assert "several labels a text, separated by '|' (15 of 60 cells hold '|'" in ran.err
    assert set(ran.json["scores"]["macro_f1"]) == {"value", "low", "high"}


def test_columns_of_0_and_1_are_labels(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", "text,bug,ask", ["1,0", "0,1", "1,1", "0,0"] * 15)
    ran = run("fit", "a.csv", *FIT, "--json")
    assert (ran.code, ran.json["labels"]) == (0, ["ask", "bug"]), ran.err
    assert "labels: 2 columns of 0 and 1: bug, ask" in ran.err


def test_numbers_are_found(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", "text,score", [f"{n % 7}.5" for n in range(60)])
    ran = run("fit", "a.csv", *FIT)
    assert ran.code == 0, ran.err
    assert "a number a text, 7 different ones seen; --task single-label reads classes" in ran.err
    assert re.search(r"validation, 7 texts +model", ran.out)


def test_pairs_are_found(run: Run, tmp_path: Path) -> None:
    write_table(
        tmp_path / "a.csv", "premise,hypothesis,label", ["yes", "no"] * 30, text="a man {n} sleeps,he {n} rests"
    )
    ran = run("fit", "a.csv", *FIT)
    assert ran.code == 0, ran.err
    assert "text: 'premise', second text: 'hypothesis', label: 'label'" in ran.err
    assert 'filbert predict runs/a "a new text" --pair "its second text"' in ran.out


def test_what_can_be_read_in_two_ways_is_asked_in_one_line(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", "text,label", [str(n % 30) for n in range(90)])
    ran = run("fit", "a.csv", *FIT)
    assert (ran.code, ran.out) == (2, "")
    (asked,) = [line for line in ran.err.splitlines() if "two ways" in line]
    for wanted in ("30 different whole numbers", "--task regression", "--task single-label"):
        assert wanted in asked
    assert run("fit", "a.csv", *FIT, "--task", "regression", "--json").json["task"] == "regression"


def test_what_is_told_wins_over_what_is_found(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", "text,label", [f"{n % 3}.5" for n in range(60)])
    ran = run("fit", "a.csv", *FIT, "--task", "single-label", "--json")
    assert (ran.code, ran.json["labels"]) == (0, ["0.5", "1.5", "2.5"]), ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cascade", "0.5"], "--cascade — a linear model answers in BERT's place where each text has one"),
        (["--task", "regression", "--balance", "auto"], "holds no numbers"),
        (["--task", "poetry"], f"choose one of {', '.join(tasks.TASKS)}"),
        (["--text", "text", "--text", "labels"], "--text is given 2 times"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run: Run, tmp_path: Path, words: list[str], said: str) -> None:
    write_labels(tmp_path / "a.csv")
    ran = run("fit", "a.csv", *FIT, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not (tmp_path / "runs/a/model.safetensors").exists()


def test_numbers_have_no_balance(run: Run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", "text,score", [f"{n % 7}.5" for n in range(60)])
    ran = run("fit", "a.csv", *FIT, "--balance", "weights")
    assert (ran.code, ran.out) == (2, "")
    assert "--balance weights — numbers have no classes to balance — leave it out" in ran.err
