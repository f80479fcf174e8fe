"""The notebooks are what the tutorial makes, valid, and run from top to bottom in one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_tutorial import BRIEF, make_tutorial

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
import make_notebooks

sys.path.remove(str(Path(__file__).parent.parent / "docs"))

each_language = pytest.mark.parametrize("language", make_notebooks.NAMES)


@each_language
def test_a_notebook_is_what_the_tutorial_makes(language):
    name = make_notebooks.NAMES[language]
    assert (make_notebooks.FOLDER / name).read_text("utf-8") == make_notebooks.written(language), "run `make reference`"


@each_language
def test_a_notebook_is_valid(language):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(make_notebooks.written(language), as_version=4))


@each_language
def test_all_chapters_and_links_are_in(language):
    cells = make_notebooks.notebook(language)["cells"]
    texts = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
    titles = [path.read_text("utf-8").splitlines()[0] for path in make_tutorial.chapters(language)]
    assert [line for line in texts.splitlines() if line in titles] == titles
    links = {link for link in make_notebooks.LINK.findall(texts) if "://" not in link}
    assert links
    assert [link for link in links if not (make_notebooks.FOLDER / link).exists()] == []


def test_the_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # IMDb is not there, and the notebook says so
    monkeypatch.delenv("FILBERT_IMDB", raising=False)
    cells = json.loads((make_notebooks.FOLDER / make_notebooks.NAMES["en"]).read_text("utf-8"))["cells"]
    code = make_tutorial.MARK.join("".join(c["source"]) + "\n" for c in cells if c["cell_type"] == "code")
    for long, short in dict.fromkeys(pair for pairs in BRIEF.values() for pair in pairs):
        assert long in code
        code = code.replace(long, short)
    printed = make_tutorial.run(code.split(make_tutorial.MARK), tmp_path)
    assert "The sample reviews stand in" in printed[-3]
    assert "accuracy" in printed[-1]
