"""`filbert report`: the pages of a run are made again of what stands in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from command import Run


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
