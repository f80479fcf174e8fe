"""`filbert compare`: the same texts, a paired test, runs over seeds; what cannot be compared is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from command import TRAIN, Run, write_texts
from small import LABELS, WORDS, classifier, save

from filbert.inference.engine import load


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two models, and texts with the labels that the first one gives to most of them."""
    folders = [save(tmp_path / f"runs/{name}", classifier(seed=seed)) for name, seed in (("a", 0), ("b", 5))]
    texts = [f"{one} {two} {three}" for one in WORDS[:4] for two in WORDS[:4] for three in ("film", "good", "")]
    engine = load(folders[0])
    labels = [found.label for found in engine.answer(engine.encode([(text,) for text in texts]))]  # type: ignore[attr-defined]
    with (tmp_path / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        rows.writerows(
            (text, LABELS[0] if n % 8 == 0 else label)
            for n, (text, label) in enumerate(zip(texts, labels, strict=True))
        )
    return folders[0], folders[1], tmp_path / "texts.csv"


def test_the_better_one_is_named_with_its_test(run: Run, models: tuple[Path, Path, Path]) -> None:
    first, second, texts = models
    ran = run("compare", first, second, "--data", texts)
    assert ran.code == 0, ran.err
    assert "McNemar's exact test, p = " in ran.out
    assert ran.out.splitlines()[-1] == f"{first} is better."
    told = run("compare", first, second, "--data", texts, "--json").json
    assert told["verdict"] == "better"
    assert told["difference"]["p"] < 0.01
    value = [model["runs"][0]["accuracy"]["value"] for model in told["models"]]
    assert told["difference"]["value"] == pytest.approx(value[0] - value[1])
    other = run("compare", second, first, "--data", texts, "--json").json
    assert other["verdict"] == "worse"
    assert other["difference"]["value"] == pytest.approx(-told["difference"]["value"])


def test_runs_over_seeds(run: Run, models: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, second, texts = models
    for name, seed in (("a-seed1", 1), ("a-seed2", 2), ("b-seed1", 6)):
        save(tmp_path / "runs" / name, classifier(seed=seed))
    told = run("compare", first, second, "--seeds", "--data", texts, "--json").json
    assert told["difference"]["runs"] == [3, 2]
    assert [len(model["runs"]) for model in told["models"]] == [3, 2]
    assert told["difference"]["low"] < told["difference"]["value"] < told["difference"]["high"]
    (tmp_path / "set").mkdir()
    for name in ("a", "a-seed1"):
        shutil.copytree(tmp_path / "runs" / name, tmp_path / "set" / name)
    ran = run("compare", tmp_path / "set", second, "--data", texts)
    assert ran.code == 0, ran.err
    assert "set (2 runs)" in ran.out
    assert " ± " in ran.out
    assert "95 % interval over texts and seeds" in ran.out


def test_models_that_cannot_be_compared_are_refused(run: Run, models: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, second, texts = models
    other = save(tmp_path / "runs/c", classifier(2), labels=("no", "yes"))
    (tmp_path / "empty").mkdir()
    for words, said in (
        ((first, other, "--data", texts), "different labels"),
        ((first, first, "--data", texts), "given twice"),
        ((first, tmp_path / "empty", "--data", texts), "holds no finished run"),
        ((first, second, "--split", "test"), "--split — is for --data"),
    ):
        ran = run("compare", *words)
        assert ran.code == 2, ran.err
        assert said in ran.err


def test_without_data_the_texts_of_the_runs_are_read_again(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "reviews.csv", 80)
    for name, *more in (("a",), ("b", "--learning-rate", "0.01"), ("c", "--no-baseline", "--test", "reviews.csv")):
        assert run("fit", "reviews.csv", "-o", name, *TRAIN, "--no-baseline", *more).code == 0
    told = run("compare", "a", "b", "--json")
    assert told.code == 0, told.err
    assert (told.json["split"], told.json["n"]) == ("validation", 8)
    report = json.loads((tmp_path / "a/report.json").read_text("utf-8"))
    assert told.json["models"][0]["runs"][0]["accuracy"] == report["scores"]["validation"]["accuracy"]
    assert "not measured on the same texts — name labelled texts with --data" in run("compare", "a", "c").err
    seen = run("compare", "a", "b", "--data", "reviews.csv")
    assert "72 texts are left out: they were trained on" in seen.err
    (tmp_path / "reviews.csv").write_text((tmp_path / "reviews.csv").read_text().replace("film", "movie"))
    assert "has changed, or was read with other options" in run("compare", "a", "b").err
