"""The commands and the Python of docs/serving.md work as they stand there."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import running
from small import classifier, save

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_the_page_says_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"inputs": [["text"]], "target": []}
    folder = save(tmp_path / "reviews", classifier(hidden=64, intermediate=64), columns=columns)
    (tmp_path / "new.csv").write_text("text\ngood film\nbad film\n", encoding="utf-8")
    with running([folder]) as server:
        address = server.url.removeprefix("http://")
        (commands,) = [block for block in blocks("bash") if block.startswith("curl")]
        for line in commands.replace("127.0.0.1:8080", address).splitlines():
            ran = subprocess.run(shlex.split(line), capture_output=True, check=True, cwd=tmp_path)
            assert "-o" in line or "error" not in json.loads(ran.stdout), line
        assert (tmp_path / "labelled.csv").read_text("utf-8").startswith("text,label,")
        (code,) = blocks("py")
        (tmp_path / "ask.py").write_text(code.replace("127.0.0.1:8080", address), encoding="utf-8")
        runpy.run_path(str(tmp_path / "ask.py"))
    assert len(capsys.readouterr().out.splitlines()) == 3
