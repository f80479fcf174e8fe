"""`filbert report`: the pages of a run are made again of what stands in its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from command import TRAIN, Run, write_texts


def test_report_is_written_again(run: Run, model: Path) -> None:
    before = (model / "report.html").read_bytes()
    (model / "report.html").unlink()
    assert run("report", model, "--json").json["report"] == str(model / "report.html")
    assert (model / "report.html").read_bytes() == before
    assert run("report", "nowhere").code == 2


def test_a_reader_that_leaves_early(model: Path) -> None:
    code = f"import sys; sys.argv = ['filbert', 'report', {str(model)!r}]; from filbert.cli import main; main()"
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert ran.returncode == 141
    assert ran.stderr == ""


def test_a_report_in_chinese(run: Run, model: Path) -> None:
    english = (model / "report.html").read_bytes()
    assert run("report", model, "--language", "zh").code == 0
    page = (model / "report.html").read_text("utf-8")
    assert '<html lang="zh">' in page
    assert '<h2 id="summary-heading">概要</h2>' in page
    assert "Scores" in (model / "README.md").read_text("utf-8")  # the card is the hub's
    assert run("report", model).code == 0
    assert (model / "report.html").read_bytes() == english
    ran = run("report", model, "--language", "fr")
    assert ran.code == 2
    assert "--language — is 'fr' — choose one of: en, zh" in ran.err


def test_a_run_remembers_the_language_of_its_report(run: Run, tmp_path: Path) -> None:
    run("fit", write_texts(tmp_path / "a.csv"), "-o", "a", "--language", "zh", "--no-baseline", *TRAIN)
    page = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert '<html lang="zh">' in page
    assert run("report", "a").code == 0
    assert (tmp_path / "a" / "report.html").read_text("utf-8") == page
    assert run("report", "a", "--language", "en").code == 0
    assert '<html lang="en">' in (tmp_path / "a" / "report.html").read_text("utf-8")
    shutil.copytree("a", "b")
    assert run("report", "a", "b", "--language", "zh").code == 0
    assert "多次训练对比" in (tmp_path / "comparison.html").read_text("utf-8")
