"""`filbert evaluate`: the figures of a model on other texts, and of which of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command import Run, write_texts


def test_evaluate(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "labelled.csv", 20)
    ran = run("evaluate", model, "labelled.csv", "-o", "scores.json")
    assert ran.code == 0, ran.err
    assert re.search(r"accuracy +\d+\.\d % \(\d+\.\d–\d+\.\d\)", ran.out)
    assert re.search(r"neg +10 ", ran.out)
    told = json.loads((tmp_path / "scores.json").read_text())
    again = run("evaluate", model, "labelled.csv", "--json").json
    assert told == again
    assert again["n"] == 20
    assert again["per_class"][1]["support"] == 10
    assert run("evaluate", model, "labelled.csv", "-o", "scores.json").code == 2
    for out in ("labelled.csv", model / "config.json", "no/scores.json"):
        assert run("evaluate", model, "labelled.csv", "-o", out, "--overwrite").code == 2
    assert (tmp_path / "labelled.csv").read_text().startswith("text,label")


def test_what_was_truncated_is_said(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "short.csv", 6)
    assert "truncated: 0 of 6 texts\n" in run("evaluate", model, "short.csv").out
    long = "a good film " * 400
    (tmp_path / "long.csv").write_text("text,label\n" + f"{long},pos\n" * 2 + "a bad film,neg\n" * 3)
    longest = json.loads((model / "filbert.json").read_text())["max_length"]
    assert f"truncated: 2 of 5 texts, each to {longest} tokens\n" in run("evaluate", model, "long.csv").out
    assert run("evaluate", model, "long.csv", "--json").json["truncated"] == 2


def test_D11_evaluate_refuses_unknown_labels(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "other.csv", 6)
    source.write_text(source.read_text().replace(",pos", ",Pos"))
    ran = run("evaluate", model, "other.csv")
    assert ran.code == 2
    assert "other.csv:3 label — the model has no label 'Pos' (3 texts)" in ran.err
    assert run("evaluate", model, "other.csv", "--merge-labels", "Pos=pos", "--json").json["n"] == 6


def test_evaluate_chooses_the_test_split(run: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, count in (("train", 8), ("dev", 4), ("test", 6)):
        write_texts(folder / f"{name}.csv", count)
    assert run("evaluate", model, "set", "--json").json["n"] == 6
    assert run("evaluate", model, "set", "--split", "validation", "--json").json["n"] == 4
    (folder / "test.csv").unlink()
    ran = run("evaluate", model, "set")
    assert ran.code == 2
    assert "--split" in ran.err


def test_targets_of_another_task_are_said_so(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("text,score\n" + "".join(f"text {n},{n}.25\n" for n in range(30)))
    ran = run("evaluate", model, "numbers.csv")
    assert ran.code == 2
    assert ran.err.count("error:") == 1
    assert "numbers.csv score — is for regression (30 different numbers, most of them fractions), and the" in ran.err


def test_two_texts_where_the_model_reads_one_are_refused(run: Run, model: Path, tmp_path: Path) -> None:
    qas = [{"question": "Who won?", "answers": [{"text": "Navy", "answer_start": 4}]}]
    (tmp_path / "asked.json").write_text(json.dumps({"data": [{"context": "The Navy won.", "qas": qas}]}))
    ran = run("evaluate", model, "asked.json")
    assert ran.code == 2
    assert "its rows have two texts ('question', 'context'), the model, for single-label, reads one text" in ran.err


def test_texts_that_were_trained_on_are_counted_and_left_out_beside(run: Run, model: Path, tmp_path: Path) -> None:
    train = (model.parent / "reviews.csv").read_text("utf-8").splitlines()
    new = [f"A new one {n} {word},{label}" for n, (word, label) in enumerate([("good", "pos"), ("bad", "neg")] * 3)]
    (tmp_path / "both.csv").write_text("\n".join([*train, *new]), "utf-8")
    ran = run("evaluate", model, "both.csv")
    told = run("evaluate", model, "both.csv", "--json").json
    seen = told["seen_in_train"], told["seen_in_validation"]
    assert sum(seen) == len(train) - 1
    assert told["unseen"]["n"] == 6 == told["n"] - sum(seen)
    assert f"of {told['n']} texts the model was trained on {seen[0]} and chosen by {seen[1]}: their scores" in ran.err
    assert re.search(r"all {2,}the 6 it has not seen\naccuracy +[\d.]+ % \([\d.–]+\) +[\d.]+ %", ran.out)
    (tmp_path / "train.csv").write_text("\n".join(train), "utf-8")
    assert run("evaluate", model, "train.csv", "--json").json["unseen"] is None
    (tmp_path / "new.csv").write_text("\n".join([train[0], *new]), "utf-8")
    assert "warning: of " not in run("evaluate", model, "new.csv").err
