"""What clients see: text-embeddings-inference's routes, the hub's client unchanged, files, several models, counters."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from serving import Running, running
from sheets import ROWS, opened, xlsx
from small import LABELS, classifier, save

from filbert.inference.engine import load
from filbert.inference.rows import cells

SHAPE = {"hidden": 64, "intermediate": 64}
TEXTS = ["good film", "bad film not good", "a"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model of one text and a model of pairs."""
    folder = tmp_path_factory.mktemp("two")
    one = save(folder / "films", classifier(**SHAPE), columns={"inputs": [["text"]], "target": []})
    pairs = {"inputs": [["premise"], ["claim"]], "target": []}
    save(folder / "评论", classifier(2, seed=5, **SHAPE), ["no", "yes"], columns=pairs)
    with running([one, folder / "评论"]) as made:
        yield made


def test_predict_answers_as_the_engine(two: Running) -> None:
    engine = load(two.server.folders[0], device="cpu")
    wanted = [engine.task.hub(found, engine.settings)[0] for found in engine.predict(TEXTS)]
    asked = [two.ask(text) for text in TEXTS]
    for found in (asked, two.ask([[text] for text in TEXTS])):
        assert [[each["label"] for each in one] for one in found] == [[each["label"] for each in one] for one in wanted]
        assert [one[0]["score"] for one in found] == pytest.approx([one[0]["score"] for one in wanted], abs=1e-5)
    assert two.ask([TEXTS[0]]) == asked[0]
    assert two.ask({"text": TEXTS[0]}) == asked[0]
    rows = two.ask([[text] for text in TEXTS], details=True)
    for one, found in zip(rows, engine.predict(TEXTS), strict=True):
        wanted_cells = cells(engine, found)
        assert one["row"].keys() == wanted_cells.keys()
        assert one["row"]["label"] == wanted_cells["label"]
    assert [each["answer"] for each in rows] == [each[0]["label"] for each in wanted]


def test_raw_scores_are_the_outputs_of_the_head(two: Running) -> None:
    engine = load(two.server.folders[0], device="cpu")
    outputs = np.asarray(engine.outputs(engine.features([(TEXTS[0],)])))[0, 0]
    found = {each["label"]: each["score"] for each in two.ask(TEXTS[0], raw_scores=True)}
    assert [found[label] for label in LABELS] == pytest.approx(outputs.tolist(), abs=1e-5)
    for function in ("softmax", "sigmoid", "none"):
        answer = two.post("/models/films", inputs=TEXTS[0], parameters={"function_to_apply": function}).json()
        scores = [each["score"] for each in answer[0]]
        powers = np.exp(np.sort(outputs)[::-1])
        wanted = {"softmax": powers / powers.sum(), "sigmoid": powers / (1 + powers), "none": np.log(powers)}
        assert scores == pytest.approx(wanted[function].tolist(), abs=1e-5)


def test_the_hubs_client_works_unchanged(two: Running) -> None:
    client = InferenceClient(base_url=f"{two.url}/models/films")
    found = client.text_classification(TEXTS[0])
    assert [{"label": each.label, "score": each.score} for each in found] == two.ask(TEXTS[0])
    assert len(client.text_classification(TEXTS[0], top_k=1)) == 1
    assert InferenceClient(model=two.url).text_classification(TEXTS[0])[0].label == found[0].label
    several = two.post("/models/films", inputs=TEXTS).json()
    assert [each[0]["label"] for each in several] == [two.ask(text)[0]["label"] for text in TEXTS]


def test_a_model_is_named_in_the_path_or_the_query(two: Running) -> None:
    pair = {"inputs": ["good film", "bad"]}
    one = two.client.post("/models/评论/predict", json=pair)
    other = two.client.post("/predict", params={"model": "评论"}, json=pair)
    assert one.status_code == other.status_code == 200
    assert one.json() == other.json()
    assert {each["label"] for each in one.json()} == {"no", "yes"}
    assert two.client.post("/models/评论", json={"inputs": {"text": "good film", "text_pair": "bad"}}).json() == [
        one.json()
    ]
    assert two.client.post("/models/评论/predict", json={"inputs": "alone"}).status_code == 422
    missing = two.client.post("/models/none/predict", json=pair)
    assert (missing.status_code, missing.json()["field"]) == (404, "model")
    assert two.client.get("/predict").status_code == 405


def test_info_health_and_counters(two: Running) -> None:
    info = two.client.get("/info").json()
    assert info["model_id"] == "films"
    assert [each["model_id"] for each in info["models"]] == ["films", "评论"]
    assert [each["texts"] for each in info["models"]] == [1, 2]
    assert set(info["model_type"]["classifier"]["label2id"]) == set(LABELS)
    assert two.client.get("/health").json() == {"status": "ok"}
    answer = two.post(inputs="good film")
    assert answer.headers["x-model-version"] == info["model_sha"]
    stages = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"]))
    assert list(stages) == ["read", "queue", "tokenize", "infer", "total"]
    counted = two.client.get("/metrics").text
    assert re.search(r'filbert_requests_total\{route="predict",status="200"\} [1-9]', counted)
    assert 'filbert_up{model="评论"} 1.0' in counted


def test_the_description_names_every_route(two: Running) -> None:
    described = two.client.get("/openapi.json").json()
    routes = {"/" + path.removeprefix("/") for path in described["paths"]}
    there = two.server.app.router().routes
    assert {each.path for each in there} - routes == {"/", "/openapi.json"}  # type: ignore[attr-defined]
    assert two.client.get("/docs").status_code == 200


def test_a_table_comes_back_labelled(two: Running, tmp_path: Path) -> None:
    rows = [f'"good film, {n}",{n}' for n in range(70)]
    body = "\ufefftext,id\r\n" + "\r\n".join([*rows, '" ",70']) + "\r\n"
    answer = two.client.post("/models/films/file", params={"name": "new.csv"}, content=body.encode("utf-8"))
    assert answer.status_code == 200, answer.text
    assert "new.predictions.csv" in answer.headers["content-disposition"]
    found = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["id"] for row in found] == [str(n) for n in range(71)]
    assert found[0]["label"] == two.ask("good film, 0")[0]["label"]
    assert (found[70]["label"], found[70]["error"]) == ("", "empty_text")
    sheet = xlsx(tmp_path / "new.xlsx", ROWS).read_bytes()
    answer = two.client.post("/models/films/file", params={"name": "new.xlsx"}, content=sheet)
    (tmp_path / "out.xlsx").write_bytes(answer.content)
    table = opened(tmp_path / "out.xlsx")
    assert table is not None
    pairs = "premise,claim\ngood film,bad\n"
    assert two.client.post("/models/评论/file?name=p.csv", content=pairs).status_code == 200


def test_a_table_that_cannot_be_read_is_told(two: Running) -> None:
    for name, body in (
        ("a.csv", b""),
        ("a.csv", b'text\n"open'),
        ("a.xlsx", b"PK\x03\x04 no sheet"),
        ("a.jsonl", b"{"),
    ):
        answer = two.client.post("/models/films/file", params={"name": name}, content=body)
        assert answer.status_code == 422, (name, answer.text)
        assert "filbert-file-" not in answer.text
        assert name in json.dumps(answer.json())
    assert two.client.post("/models/评论/file?name=a.csv", content=b"text\nalone\n").status_code == 422
