"""What the tests of the commands share: a model that the command fitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import TRAIN, write_texts

from filbert import cli


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fitted by the command on sixty texts."""
    folder = tmp_path_factory.mktemp("model")
    source = write_texts(folder / "reviews.csv")
    assert cli.run(["fit", str(source), "-o", str(folder / "run"), *TRAIN]) == 0
    return folder / "run"
