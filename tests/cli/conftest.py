"""What the tests of the commands share: a model that the command fitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import TRAIN, write_texts

from filbert.cli import app


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fitted by the command on sixty texts."""
    folder = tmp_path_factory.mktemp("model")
    source = write_texts(folder / "reviews.csv")
    with pytest.raises(SystemExit) as end:
        app(["fit", str(source), "-o", str(folder / "run"), *TRAIN])
    assert not end.value.code
    return folder / "run"
