"""Every task of the registry is served: by the same routes, through the hub's own client, and in a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from finished import inputs, run
from huggingface_hub import InferenceClient
from serving import Running, running

from filbert import tasks
from filbert.inference.engine import load
from filbert.inference.rows import cells

NAMES = list(tasks.TASKS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model of each task, under the task's name."""
    folder = tmp_path_factory.mktemp("tasks")
    for name in NAMES:
        (folder / name).symlink_to(run(name).folder)
    with running([folder / name for name in NAMES]) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_served(served: Running, name: str) -> None:
    engine, given = load(run(name).folder, device="cpu"), inputs(3, name)
    answer = served.client.post(
        f"/models/{name}/predict", json={"inputs": [[*each] for each in given], "details": True}
    )
    assert answer.status_code == 200, answer.text
    for one, found in zip(answer.json(), engine.predict(given), strict=True):
        wanted = cells(engine, found)
        assert one["row"].keys() == wanted.keys()
        numbers = {key for key, cell in wanted.items() if isinstance(cell, float)}
        assert {key: one["row"][key] for key in wanted if key not in numbers} == {
            key: cell for key, cell in wanted.items() if key not in numbers
        }
        assert [one["row"][key] for key in numbers] == pytest.approx(
            [wanted[key] for key in numbers], rel=1e-4, abs=1e-4
        )
    assert served.client.post(f"/models/{name}/predict", json={"inputs": 3}).status_code == 422
    plain = served.client.post(f"/models/{name}/predict", json={"inputs": [*given[0]], "raw_scores": True})
    assert plain.status_code == 200, plain.text


def test_the_hubs_client_asks_every_kind(served: Running) -> None:
    kinds = {name: tasks.TASKS[name].HUB[1] for name in NAMES}
    asked = set()
    for name, kind in kinds.items():
        client, (given,) = InferenceClient(base_url=f"{served.url}/models/{name}"), inputs(1, name)
        if kind == "text-classification":
            assert client.text_classification(given[0])[0].score is not None
        elif kind == "question-answering":
            found = client.question_answering(question=given[0], context=given[1])
            assert found.answer in given[1]
        elif kind == "summarization":
            assert client.summarization(given[0]).summary_text
        asked.add(kind)
    assert asked == set(kinds.values()) <= {"text-classification", "question-answering", "summarization"}


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_a_task_is_labelled(served: Running, name: str) -> None:
    columns, sheet = (tasks_columns(name)), io.StringIO()
    out = csv.writer(sheet)
    out.writerow(columns)
    out.writerows(inputs(3, name))
    answer = served.client.post(f"/models/{name}/file?name=a.csv", content=sheet.getvalue().encode())
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 3
    assert all(row["error"] == "" for row in rows)


def tasks_columns(name: str) -> tuple[str, ...]:
    """The usual names of the columns that hold a task's texts."""
    return ("text",) if len(inputs(1, name)[0]) == 1 else ("question", "context")
