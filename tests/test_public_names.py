"""The names of the package: listed before they are loaded, so that tab completion and `help` show them."""

from __future__ import annotations

import pydoc
import rlcompleter
import subprocess
import sys

import pytest

import filbert


def test_names_are_listed_before_they_are_loaded() -> None:
    code = "import filbert, sys; print(*dir(filbert)); assert not {'torch', 'sklearn'} & {*sys.modules}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(filbert.__all__) < set(ran.stdout.split())


def test_help_and_completion_know_the_classes() -> None:
    told = pydoc.render_doc(filbert, renderer=pydoc.plaintext)
    for name in ("TextClassifier", "TextRegressor", "QuestionAnswerer", "Summarizer", "Engine"):
        assert f"class {name}(" in told
    assert "load(path" in told
    complete = rlcompleter.Completer({"filbert": filbert}).complete
    assert complete("filbert.TextC", 0) == "filbert.TextClassifier("
    with pytest.raises(AttributeError):
        filbert.Nothing  # noqa: B018
