"""Objects as annotation tools export them, as plain ones: Label Studio, Prodigy, doccano, spaCy.

One object in, one out: what is none of these comes back as it is. What the labels mean is the task's to say.
"""

from __future__ import annotations

from typing import Any

from filbert.errors import shown
from filbert.readers.names import TARGET_NAMES, TEXT_NAMES, plain

TEXTS = {name for tier in TEXT_NAMES for name in tier}
TARGETS = {name for tier in TARGET_NAMES for name in tier}
LEFT_OUT = "rows left out, as their answer in Prodigy is not accept"
SIGNS = {"data", "paragraphs", "annotations", "answer"}
LABEL_STUDIO = ("annotations", "completions")
KINDS = (
    "choices",
    "taxonomy",
    "rating",
    "number",
    "labels",
)  # of a result of Label Studio's, that speak of a whole text


def not_accepted(value: Any) -> bool:
    """Tell whether an example of Prodigy's was rejected or ignored, so that its label does not hold.

    >>> not_accepted({"text": "dull", "label": "pos", "answer": "reject", "_task_hash": 7})
    True
    """
    return isinstance(value, dict) and _of_prodigy(value) and value["answer"] != "accept"


def plain_object(value: Any) -> Any:
    """Return an element of a JSON file as an object of texts and labels, where a tool is known that writes it so.

    Raises ValueError where people labelled it in different ways.

    >>> plain_object(["Not a dull minute.", {"cats": {"pos": True, "neg": False}}])
    {'text': 'Not a dull minute.', 'cats': {'pos': True, 'neg': False}}
    """
    if isinstance(value, list):
        return _pair(value)
    if not isinstance(value, dict) or not (
        SIGNS & value.keys() or any(cell.__class__ is dict for cell in value.values())
    ):
        return value
    if isinstance(value.get("data"), dict) and any(isinstance(value.get(key), list) for key in LABEL_STUDIO):
        return _label_studio(value)
    if isinstance(value.get("paragraphs"), list):
        return _spacy(value)
    if _of_prodigy(value) and isinstance(value.get("accept"), list) and "label" not in value:
        rest = {key: cell for key, cell in value.items() if key not in ("options", "accept")}
        return {**rest, "label": value["accept"]}
    if _are_labels(value.get("annotations")) and "label" not in value:  # doccano before 1.5
        rest = {key: cell for key, cell in value.items() if key != "annotations"}
        return {**rest, "label": [each["label"] for each in value["annotations"]]}
    return _flat(value)


def _pair(value: list[Any]) -> Any:
    if len(value) == 2 and isinstance(value[0], str):
        if isinstance(value[1], str):
            return {"text": value[0], "label": value[1]}
        if isinstance(value[1], dict) and "cats" in value[1]:
            return {"text": value[0], "cats": value[1]["cats"]}
    return value


def _are_labels(value: object) -> bool:
    """Tell whether annotations are labels of the whole text, not of a part of it."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, dict) and "label" in each and "start_offset" not in each for each in value)


def _of_prodigy(value: dict[str, Any]) -> bool:
    return "answer" in value and ("_task_hash" in value or "_input_hash" in value)


def _spacy(value: dict[str, Any]) -> dict[str, Any]:
    """Return a document of spaCy 2's training format."""
    paragraphs = value["paragraphs"]
    one = paragraphs[0] if len(paragraphs) == 1 and isinstance(paragraphs[0], dict) else {}
    if not {"raw", "cats"} <= one.keys():
        return value
    cats = one["cats"]
    if isinstance(cats, list) and all(isinstance(each, dict) and {"label", "value"} <= each.keys() for each in cats):
        cats = {str(each["label"]): each["value"] for each in cats}
    return {"id": value.get("id"), "text": one["raw"], "cats": cats}


def _label_studio(value: dict[str, Any]) -> dict[str, Any]:
    """Return a task of Label Studio: its data, and a column of labels for each question asked about it."""
    given = next(value[key] for key in LABEL_STUDIO if isinstance(value.get(key), list))
    kept = [each for each in given if isinstance(each, dict) and not each.get("was_cancelled")]
    kept = [each for each in kept if each.get("ground_truth")] or kept
    said = [_answers(each.get("result")) for each in kept]
    for other in said[1:]:
        if other != said[0]:
            raise ValueError(f"is annotated in different ways: {shown(said[0], 40)} and {shown(other, 40)}")
    answers = said[0] if said else {}
    lone = {"label": next(iter(answers.values()))} if len(answers) == 1 else answers
    return {"id": value.get("id"), **value["data"], **lone}


def _answers(result: object) -> dict[str, Any]:
    """Return what one person answered to each question."""
    found: dict[str, Any] = {}
    for each in result if isinstance(result, list) else []:
        told = each.get("value") if isinstance(each, dict) else None
        kind = each.get("type") if isinstance(each, dict) else None
        if not isinstance(told, dict) or kind not in KINDS or "start" in told or kind not in told:
            continue
        answer = told[kind]
        if kind == "taxonomy" and isinstance(answer, list):
            answer = [" / ".join(map(str, path)) if isinstance(path, list) else path for path in answer]
        found[str(each.get("from_name", "label"))] = answer
    return found


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """Lift what stands inside of objects, `{"doc": {"text": …}}`, where no text stands outside of them.

    A name that would stand twice keeps its way there: `gold.label`.
    """
    if any(plain(key) in TEXTS and isinstance(cell, str) for key, cell in value.items()):
        return value
    inner = {key: cell for key, cell in value.items() if isinstance(cell, dict) and _named(cell)}
    if not any(plain(key) in TEXTS for cell in inner.values() for key in cell):
        return value
    names = [key for key in value if key not in inner] + [key for cell in inner.values() for key in cell]
    made: dict[str, Any] = {}
    for key, cell in value.items():
        if key in inner:
            made |= {name if names.count(name) == 1 else f"{key}.{name}": each for name, each in cell.items()}
        else:
            made[key] = cell
    return made


def _named(cell: dict[str, Any]) -> bool:
    return any(plain(key) in TEXTS | TARGETS for key in cell)
