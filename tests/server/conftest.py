"""What the tests of the server share: a model of two layers, served for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Running, running
from small import classifier, save

from filbert.server.limits import Limits


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one label a text."""
    return save(
        tmp_path_factory.mktemp("served") / "films",
        classifier(hidden=64, intermediate=64),
        columns={"inputs": [["text"]], "target": []},
    )


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Running]:
    """The model served."""
    with running([folder], limits=Limits(body=1 << 20, characters=1000)) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(folder: Path) -> Iterator[Running]:
    """The model served with short patience."""
    with running([folder], limits=Limits(headers=1, sending=1, idle=1)) as made:
        yield made


@pytest.fixture(scope="module")
def odd(folder: Path) -> Iterator[Running]:
    """The model served by a process that does what a text tells it: die, stall, raise, nan, slow."""
    with running([folder], odd=True, limits=Limits(stall=1, queue=0.3, deadline=10)) as made:
        yield made
