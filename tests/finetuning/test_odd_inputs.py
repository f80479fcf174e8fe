"""The thirty odd inputs of bench/inputs.py: each is read rightly, or somebody is told; none is silently wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = str(Path(__file__).parents[2] / "bench")
sys.path.insert(0, BENCH)
try:
    import inputs as odd
finally:
    sys.path.remove(BENCH)

INPUTS = list(odd.inputs())


def test_there_are_thirty() -> None:
    assert len({each.name for each in INPUTS}) == 30


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: given.name)
def test_an_odd_input_is_read_rightly_or_said(given: odd.Input, tmp_path: Path) -> None:
    path = tmp_path / given.file
    path.write_bytes(given.data)
    what, said = odd.outcome(given, odd.by_filbert, path)
    assert what == ("works" if given.rows else "says so"), said
