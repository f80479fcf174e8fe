"""Every door in this process gives the numbers that were stored with the model, for every task."""

from __future__ import annotations

import ordinal_grades
import pytest
from finished import run

from filbert import tasks
from filbert.export.doors import BAR, DOORS, Door, largest
from filbert.inference.model import open_model

each_task = pytest.mark.parametrize("name", [*tasks.TASKS, ordinal_grades.NAME])
each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, ordinal_grades.NAME, ordinal_grades)


@each_door
@each_task
def test_a_door_gives_the_numbers_that_were_stored(name: str, door: Door) -> None:
    folder = run(name).folder
    model = open_model(folder)
    if missing := door.missing(model):
        pytest.skip(missing)
    assert len(model.info["stored"]["inputs"]) >= 8
    assert largest(door, folder, model) <= BAR


@each_door
def test_a_door_notices_another_model(door: Door) -> None:
    """Weights that are not those of the stored numbers are seen through each of them."""
    name = next(iter(tasks.TASKS))
    model = open_model(run(name).folder)
    if door.name == "transformers" or door.missing(model):  # it opens the folder itself
        pytest.skip("opens the folder itself, or is not here")
    model.arrays["last.weight"] = -model.arrays["last.weight"]
    assert largest(door, run(name).folder, model) > BAR
