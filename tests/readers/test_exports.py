"""What annotation tools export is read as text and label, each in the shape that the tool writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from reading import ROWS, pairs, write

from filbert.errors import DataError
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.tasks import single_label


def read(path: Any, **options: Any) -> list[tuple[str, str]]:
    """Return (text, label) as fit reads them."""
    source = open_source(path, ReadOptions(**options))
    reading = single_label.read(source.sample_targets(), {})
    return [(row.text, row.target) for row in source.examples(parse=reading.parse)]


def label_studio(text: str, *answers: str, **more: Any) -> dict[str, Any]:
    result = [
        {"type": "choices", "from_name": "mood", "to_name": "text", "value": {"choices": [each]}} for each in answers
    ]
    return {"id": 7, "data": {"text": text}, "annotations": [{"id": 1, "result": [each]} for each in result], **more}


SHAPES: dict[str, tuple[str, Any]] = {
    "Label Studio": ("a.json", [label_studio(text, label) for text, label in ROWS]),
    "Label Studio, completions": (
        "a.json",
        [{"data": {"text": t}, "completions": label_studio(t, lab)["annotations"]} for t, lab in ROWS],
    ),
    "Label Studio, JSON-MIN": ("a.json", [{"text": t, "id": 1, "mood": lab, "lead_time": 3.2} for t, lab in ROWS]),
    "Label Studio, two people agree": ("a.json", [label_studio(text, label, label) for text, label in ROWS]),
    "Prodigy": ("a.jsonl", [{"text": t, "label": lab, "answer": "accept", "_task_hash": 5} for t, lab in ROWS]),
    "Prodigy, choices": (
        "a.jsonl",
        [
            {
                "text": t,
                "options": [{"id": "pos", "text": "Positive"}],
                "accept": [lab],
                "answer": "accept",
                "_input_hash": 5,
            }
            for t, lab in ROWS
        ],
    ),
    "doccano": ("a.jsonl", [{"id": 1, "text": t, "label": [lab], "Comments": []} for t, lab in ROWS]),
    "doccano, 2019": (
        "a.jsonl",
        [{"id": 1, "text": t, "annotations": [{"label": lab, "user": 1}], "meta": {}} for t, lab in ROWS],
    ),
    "spaCy, categories": (
        "a.jsonl",
        [{"text": t, "cats": {"pos": lab == "pos", "neg": lab == "neg"}} for t, lab in ROWS],
    ),
    "spaCy, pairs": ("a.jsonl", [[t, {"cats": {"pos": lab == "pos", "neg": lab == "neg"}}] for t, lab in ROWS]),
    "spaCy 2": (
        "a.json",
        [
            {
                "id": 1,
                "paragraphs": [
                    {"raw": t, "cats": [{"label": each, "value": float(each == lab)} for each in ("pos", "neg")]}
                ],
            }
            for t, lab in ROWS
        ],
    ),
    "objects in objects": (
        "a.jsonl",
        [{"doc": {"text": t, "id": 3}, "gold": {"label": lab, "id": 4}} for t, lab in ROWS],
    ),
    "rows under a key of a key": (
        "a.json",
        {"version": 1, "result": {"rows": [{"text": t, "label": x} for t, x in ROWS]}},
    ),
    "a label at each text": ("a.json", dict(ROWS)),
}


@pytest.mark.parametrize("tool", SHAPES)
def test_an_export_is_read_as_it_stands(tmp_path, tool):
    name, value = SHAPES[tool]
    lines = json.dumps(value) if name.endswith(".json") else "".join(json.dumps(each) + "\n" for each in value)
    assert sorted(read(write(tmp_path, name, lines))) == sorted(ROWS)
    assert sorted(text for text, _ in pairs(tmp_path / name, labelled=False)) == sorted(text for text, _ in ROWS)


@pytest.mark.parametrize("counts", [(4, 4), (2, 1), (1, 9)])
def test_texts_at_each_label(tmp_path, counts):
    texts = {label: [f"{label} text {n}" for n in range(count)] for label, count in zip("ab", counts, strict=True)}
    assert read(write(tmp_path, "a.json", json.dumps(texts))) == [(t, label) for label in texts for t in texts[label]]


def test_what_prodigy_did_not_accept_is_left_out_and_counted(tmp_path):
    lines = [
        {"text": text, "label": label, "answer": ("accept", "reject", "ignore")[n % 3], "_input_hash": n}
        for n, (text, label) in enumerate(ROWS * 3)
    ]
    for name, content in (("a.jsonl", "\n".join(map(json.dumps, lines))), ("a.json", json.dumps(lines))):
        source = open_source(write(tmp_path, name, content))
        assert [row.text for row in source.examples()] == [line["text"] for line in lines if line["answer"] == "accept"]
        assert source._ledger.notes["rows left out, as their answer in Prodigy is not accept"] == 8
        assert len(pairs(tmp_path / name, labelled=False)) == 12, "to be scored, all of them"


def test_people_who_disagree_are_named_by_row(tmp_path):
    tasks = [label_studio(text, label) for text, label in ROWS]
    tasks[2]["annotations"] = label_studio("", "pos", "neg")["annotations"]
    path = write(tmp_path, "a.json", "[\n" + ",\n".join(map(json.dumps, tasks)) + "\n]")
    with pytest.raises(DataError, match="annotated in different ways") as caught:
        read(path)
    assert [problem.place.line for problem in caught.value.problems] == [4]
    tasks[2]["annotations"][1]["ground_truth"] = True
    write(tmp_path, "a.json", json.dumps(tasks))
    assert read(path)[2] == (ROWS[2][0], "neg")


def test_a_task_that_was_cancelled_has_no_label(tmp_path):
    tasks = [label_studio(text, label) for text, label in ROWS]
    tasks[1]["annotations"][0]["was_cancelled"] = True
    with pytest.raises(DataError, match="label — is empty"):
        read(write(tmp_path, "a.json", json.dumps(tasks)))


def test_several_choices_of_one_text_are_several_labels(tmp_path):
    tasks = [label_studio(text, label) for text, label in ROWS]
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["pos", "neg"]
    assert pairs(write(tmp_path, "a.json", json.dumps(tasks)))[0][1] == '["pos", "neg"]'


def test_two_questions_about_a_text_are_two_columns(tmp_path):
    tasks = [label_studio(text, label) for text, label in ROWS]
    for task in tasks:
        stars = {"type": "rating", "from_name": "stars", "value": {"rating": 4}}
        task["annotations"][0]["result"].append(stars)
    path = write(tmp_path, "a.json", json.dumps(tasks))
    assert read(path, label="mood") == ROWS
    assert {stars for _, stars in pairs(path, label="stars")} == {"4"}


def test_what_stands_in_objects_beside_a_text_is_left_there(tmp_path):
    rows = [{"text": text, "label": label, "meta": {"text": "no", "n": 1}} for text, label in ROWS]
    source = open_source(write(tmp_path, "a.json", json.dumps(rows)))
    assert [row.text for row in source.examples()] == [text for text, _ in ROWS]
    assert source.columns == ("text", "label", "meta")


def test_names_that_stand_twice_keep_their_way(tmp_path):
    rows = [{"a": {"text": text, "id": 1}, "b": {"label": label, "id": 2}} for text, label in ROWS]
    source = open_source(write(tmp_path, "a.json", json.dumps(rows)))
    assert source.columns == ("text", "a.id", "label", "b.id")


def test_objects_inside_of_each_other_have_an_end(tmp_path):
    value: Any = {"rows": [{"text": text, "label": label} for text, label in ROWS]}
    for _ in range(4):
        value = {"inner": value}
    assert read(write(tmp_path, "a.json", json.dumps(value))) == ROWS
    with pytest.raises(DataError, match="no rows can be told"):
        read(write(tmp_path, "b.json", json.dumps({"inner": value})))
