"""What the tests share: where the real data is, and a function that runs a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Runs are compared to the bit, also those in processes of their own: all of them with one thread.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["FILBERT_LANGUAGE"] = "en"  # whatever the locale: what is printed is compared

pytest_plugins = ["command"]


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Return a function from a name such as `sst2` to its path, which skips the test where the data is absent."""
    root = Path(os.environ.get("FILBERT_DATA") or Path(__file__).parents[2] / "shared" / "data")

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"no {name} in {root} (set FILBERT_DATA)")
        return root / name

    return find
