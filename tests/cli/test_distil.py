"""`filbert distil`: texts of a file, a teacher's folder, and what is printed of both."""

from __future__ import annotations

from pathlib import Path

from command import Run, write_texts

from filbert.inference.engine import load

TRAIN = ("--base", "tiny", "--epochs", "1", "--device", "cpu", "--precision", "fp32", "--no-baseline")


def test_a_student_is_a_run_folder_like_any(run: Run, model: Path, tmp_path: Path) -> None:
    lines = (f"a {word} film, number {n}" for n in range(40) for word in ("bad", "good"))
    (tmp_path / "more.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_texts(tmp_path / "labelled.csv", 20)
    ran = run("distil", model, "more.txt", "--test", "labelled.csv", "-o", "student", *TRAIN)
    assert ran.code == 0, ran.err
    assert "Distilled from run (2 × 128): it learned what this model answers to" in ran.out.replace("\n", " ")
    assert "texts a second for" in ran.out.replace("\n", " ")
    assert load(tmp_path / "student").predict(["a good film"])[0].label in ("neg", "pos")
    assert run("predict", "student", "a good film").code == 0
    few = run("distil", model, "labelled.csv", "--test", "labelled.csv", "-o", "other", *TRAIN, "--json")
    assert few.code == 2
    assert "there are 0 texts to learn from — give at least 20 different ones" in few.err
