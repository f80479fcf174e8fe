"""The model card of a text classifier: README.md beside the weights, as the Hugging Face hub shows it.

What the model is, how good it is beside the baseline, what it was trained on, what it does not read, how to use it, and
what it is not for. Escaping, front matter and how it was made are card.py's. No numbers are computed here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.report.card import code, escaped, front, made, table
from filbert.report.page import Log, Report
from filbert.report.words import (
    CHOSEN_ON,
    MORE_METRICS,
    against_baseline,
    calibration_line,
    cascade_line,
    main_split,
    truncation_line,
    with_interval,
)

LABELS_SHOWN = 50


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"task": "classify", "name": "mood", "labels": ["a"], "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# mood'
    """
    name = report.get("name") or "model"
    parts = [
        front(report, "text-classification"),
        f"# {escaped(name)}",
        _what(report),
        _scores(report),
        _data(report),
        _reading(report),
    ]
    parts += [_use(report, name), _limits(report), made(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(report: Report) -> str:
    model, labels, split = report.get("model") or {}, report["labels"], main_split(report)
    start = f", fine-tuned from {escaped(model['base'])}" if model.get("base") else ""
    shown = ", ".join(escaped(label) for label in labels[:LABELS_SHOWN])
    more = f" and {len(labels) - LABELS_SHOWN:,} more" if len(labels) > LABELS_SHOWN else ""
    accuracy = report["scores"][split].get("accuracy")
    lines = [f"A BERT text classifier with {len(labels):,} classes{start}, made with Filbert."]
    if accuracy:
        lines.append(
            f"On {report['scores'][split]['n']:,} {split} texts it is right on {with_interval(accuracy, True)}."
        )
    said = against_baseline(report, split)
    if said:
        lines.append(f"That is {escaped(said)}.")
    return " ".join(lines) + f"\n\n**Classes:** {shown}{more}"


def _scores(report: Report) -> str:
    columns: list[tuple[str, Mapping[str, Any]]] = []
    for split in ("test", "validation"):
        for who, scores in (("model", report["scores"]), ("baseline", report.get("baseline") or {})):
            if scores.get(split):
                columns.append((f"{split}, {who}", scores[split]))
    rows: list[Sequence[str]] = [("", *(name for name, _ in columns))]
    for key, name, percent in MORE_METRICS:
        if any(key in each for _, each in columns):
            rows.append((name, *(with_interval(each.get(key), percent) for _, each in columns)))
    rows.append(("texts", *(f"{each['n']:,}" for _, each in columns)))
    notes = ["In brackets: 95 % intervals over texts."]
    if report["scores"].get("validation"):
        notes.append(CHOSEN_ON)
    baseline_name = (report.get("baseline") or {}).get("name")
    if baseline_name:
        notes.append(f"The baseline is {escaped(baseline_name)}, trained on the same texts.")
    lines = ["## Scores", "", *table(rows, range(1, len(rows[0]))), "", " ".join(notes)]
    return "\n".join([*lines, "", "Class by class, confusions and mistakes: `report.html` in this folder."])


def _data(report: Report) -> str:
    data = report.get("data") or {}
    lines = [f"- Source: {escaped(data['source'])}"] if data.get("source") else []
    counts = [f"{number:,} {escaped(split)}" for split, number in (data.get("counts") or {}).items() if number]
    lines += [f"- Texts: {', '.join(counts)}"] if counts else []
    lines += [f"- Quarantined rows: {data['quarantined']:,}"] if data.get("quarantined") else []
    lines += [f"- Warning: {escaped(warning)}" for warning in data.get("warnings") or []]
    lines += [f"- Fingerprint: `{code(data['fingerprint'])}`"] if data.get("fingerprint") else []
    return "\n".join(["## Data", "", *lines]) if lines else ""


def _reading(report: Report) -> str:
    """Return what the model leaves unread and how its probabilities were made honest."""
    longest = (report.get("model") or {}).get("max_length")
    cut = [
        f"- {truncation_line(escaped(split), each)}" for split, each in (report.get("truncation") or {}).items() if each
    ]
    parts = []
    if longest or cut:
        said = f"Texts longer than {longest:,} tokens are cut" if longest else "Long texts are cut"
        said += ": Filbert keeps their head and tail, a transformers tokenizer the head alone."
        parts += ["\n".join(["## Long texts", "", said, *([""] if cut else []), *cut])]
    if said := calibration_line(report.get("calibration") or {}):
        parts.append(f"## Calibration\n\n{said}")
    if report.get("cascade") and report["cascade"]["share"]:
        said = f"{cascade_line(report['cascade'])} `transformers` sees BERT alone, and so does `--no-cascade`."
        parts.append(f"## In front\n\n{said}")
    return "\n\n".join(parts)


def _use(report: Report, name: str) -> str:
    folder = shlex.quote(code(name))
    path = json.dumps(code(name), ensure_ascii=False)
    lines = [
        "## Use",
        "",
        "With Filbert, where the folder is this one:",
        "",
        "```sh",
        f"filbert predict {folder} new.csv",
        f'filbert predict {folder} "a text"',
        "```",
        "",
        "With transformers:",
        "",
        "```python",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        f"folder = {path}",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModelForSequenceClassification.from_pretrained(folder)",
        'batch = tokenizer(["a text"], truncation=True, padding=True, return_tensors="pt")',
        "logits = model(**batch).logits",
        "probabilities = logits.softmax(-1)",
        "print(model.config.id2label[int(probabilities.argmax())])",
        "```",
    ]
    return "\n".join(lines)


def _limits(report: Report) -> str:
    split = main_split(report)
    lines = [
        f"- The scores hold for texts like the {split} texts. Other sources, years, dialects or languages need a new "
        "measurement before the model decides anything about people.",
        "- It always answers with one of its classes, also where none fits.",
        "- It repeats what is in its training labels, their mistakes and prejudices included.",
    ]
    return "\n".join(["## Limits", "", *lines])
