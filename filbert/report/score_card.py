"""The model card of a finished model: README.md beside the weights, as the Hugging Face hub shows it.

Sections: description, scores beside the baseline, data, truncation, calibration, use, limits, how it was made. The task
passes its parts; card.py escapes text. No numbers are computed here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filbert.errors import counted
from filbert.report.blend import bert_alone, blend_line
from filbert.report.card import code, escaped, front_matter, how_made, table
from filbert.report.few_shot import few_shot_line
from filbert.report.figures import with_interval
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.unknown import unknown_line
from filbert.report.words import (
    against_baseline,
    calibration_line,
    cascade_line,
    chosen_on,
    example_of,
    main_split,
    truncation_line,
)

LABELS_SHOWN = 50
WINDOWS = (
    "Texts longer than {longest:,} tokens are read whole by Filbert, in overlapping windows: the answer is the mean of "
    "the windows' outputs, weighed by the softmax of a trained weight (the tensors `window_weight`). `transformers` "
    "opens the folder as the model of one window: it ignores these tensors, and a longer text has to be cut for it."
)


@dataclass(frozen=True)
class CardParts:
    """A task's parts of the card."""

    pipeline: str
    """The hub's pipeline tag."""
    what: str
    """The first sentence, without its end: "A BERT text classifier with 2 classes"."""
    labels: str
    """A line on the outputs, in Markdown: the labels, or the range of a number."""
    metrics: Sequence[Metric]
    code: Sequence[str]
    """Lines of Python that make a prediction of `logits`, in transformers; none where it has no class for the model."""
    limits: Sequence[str]
    """Sentences on what the model is not for."""
    imports: Sequence[str] = ()
    """Imports of these lines."""
    auto: str = "AutoModelForSequenceClassification"
    """The class of transformers that opens the model."""
    result: str = "logits = model(**batch).logits"
    """The line that runs it."""
    given: str = ""
    """What its tokenizer takes there, in place of a text or two."""
    commands: Sequence[str] = ()
    """What `filbert` does with the model beside `predict`, {} standing for the folder."""
    long_texts: str = ""
    """How long texts are read, as a sentence, where they are not cut."""


def scored_card(report: Report, log: Log, parts: CardParts) -> str:
    """Return the model card in Markdown."""
    name = report.get("name") or "model"
    sections = [
        front_matter(report, parts.pipeline, parts.metrics, "" if parts.code else "filbert"),
        f"# {escaped(name)}",
        _what(report, parts),
        _scores(report, parts.metrics),
        _data(report),
        _reading(report, parts.long_texts),
        _use(report, name, parts),
        _limits(report, parts.limits),
        how_made(report),
    ]
    return "\n\n".join(part for part in sections if part) + "\n"


def labels_line(kind: str, labels: Sequence[str]) -> str:
    """Return the line that lists labels, the first fifty.

    >>> labels_line("Classes", ["a", "b"])
    '**Classes:** a, b'
    """
    shown = ", ".join(escaped(label) for label in labels[:LABELS_SHOWN])
    more = f" and {len(labels) - LABELS_SHOWN:,} more" if len(labels) > LABELS_SHOWN else ""
    return f"**{kind}:** {shown}{more}"


def _what(report: Report, parts: CardParts) -> str:
    model, split, main = report.get("model") or {}, main_split(report), parts.metrics[0]
    start = f", fine-tuned from {escaped(model['base'])}" if model.get("base") else ""
    lines = [f"{parts.what}{start}, made with Filbert."]
    scores = report["scores"][split]
    if scores.get(main.key):
        on = counted(scores["n"], f"{split} {example_of(report)}")
        lines.append(f"On {on}: {main.name} {with_interval(scores[main.key], main.percent)}.")
    sentence = against_baseline(report, split, main)
    if sentence:
        lines.append(f"That is {escaped(sentence)}.")
    return " ".join(lines) + f"\n\n{parts.labels}"


def _scores(report: Report, metrics: Sequence[Metric]) -> str:
    columns: list[tuple[str, Mapping[str, Any]]] = []
    for split in ("test", "validation"):
        beside = {"BERT alone": bert_alone(report, split), "baseline": (report.get("baseline") or {}).get(split)}
        for system, scores in {"model": report["scores"].get(split), **beside}.items():
            if scores:
                columns.append((f"{split}, {system}", scores))
    rows: list[Sequence[str]] = [("", *(name for name, _ in columns))]
    for metric in metrics:
        if any(metric.key in each for _, each in columns):
            rows.append((metric.name, *(with_interval(each.get(metric.key), metric.percent) for _, each in columns)))
    rows.append((f"{example_of(report)}s", *(f"{each['n']:,}" for _, each in columns)))
    notes = [f"In brackets: 95 % intervals over {example_of(report)}s."]
    if report["scores"].get("validation"):
        notes.append(chosen_on(report))
    if joined := blend_line(report, metrics[0]):
        notes.append(joined)
    baseline_name = (report.get("baseline") or {}).get("name")
    if baseline_name:
        notes.append(f"The baseline is {escaped(baseline_name)}, trained on the same {example_of(report)}s.")
    lines = ["## Scores", "", *table(rows, range(1, len(rows[0]))), "", " ".join(notes)]
    return "\n".join([*lines, "", "Details and mistakes: `report.html` in this folder."])


def _data(report: Report) -> str:
    data = report.get("data") or {}
    lines = [f"- Source: {escaped(data['source'])}"] if data.get("source") else []
    counts = [f"{number:,} {escaped(split)}" for split, number in (data.get("counts") or {}).items() if number]
    lines += [f"- {example_of(report).capitalize()}s: {', '.join(counts)}"] if counts else []
    lines += [f"- Quarantined rows: {data['quarantined']:,}"] if data.get("quarantined") else []
    lines += [f"- Warning: {escaped(warning)}" for warning in data.get("warnings") or []]
    lines += [f"- Fingerprint: `{code(data['fingerprint'])}`"] if data.get("fingerprint") else []
    return "\n".join(["## Data", "", *lines]) if lines else ""


def _reading(report: Report, whole: str) -> str:
    """Return the sections on truncation, calibration and the cascade."""
    longest = (report.get("model") or {}).get("max_length")
    cut = [
        f"- {truncation_line(escaped(split), each, example_of(report))}"
        for split, each in (report.get("truncation") or {}).items()
        if each
    ]
    parts = []
    if whole:
        parts.append(f"## Long texts\n\n{whole}")
    elif longest and (report.get("long_texts") or {}).get("way") == "windows":
        parts.append("\n".join(["## Long texts", "", WINDOWS.format(longest=longest), "", *cut]))
    elif longest or cut:
        head_only = (report.get("long_texts") or {}).get("way") == "head"
        sentence = f"Texts longer than {longest:,} tokens are truncated" if longest else "Long texts are truncated"
        if (report.get("data") or {}).get("inputs") == 2:
            sentence = sentence.replace("Texts", "Pairs of texts").replace("Long texts", "Long pairs")
            sentence += ", the longer text first, at its end."
        elif head_only:
            sentence += ": their head is read, as a transformers tokenizer keeps it."
        else:
            sentence += ": Filbert keeps their head and tail, a transformers tokenizer only the head."
        parts += ["\n".join(["## Long texts", "", sentence, *([""] if cut else []), *cut])]
    if sentence := calibration_line(report.get("calibration") or {}, example_of(report)):
        parts.append(f"## Calibration\n\n{sentence}")
    if report.get("cascade") and report["cascade"]["share"]:
        sentence = f"{cascade_line(report['cascade'])} `transformers` and `--no-cascade` use BERT alone."
        parts.append(f"## Cascade\n\n{sentence}")
    if sentence := few_shot_line(report.get("few_shot")):
        parts.append(f"## Few labels\n\n{sentence}")
    if sentence := unknown_line(report.get("unknown")):
        parts.append(
            f"## None of the known classes\n\n{sentence} `transformers` and `--unknown 0` give the nearest one."
        )
    return "\n\n".join(parts)


def _use(report: Report, name: str, parts: CardParts) -> str:
    folder, path = shlex.quote(code(name)), json.dumps(code(name), ensure_ascii=False)
    pair = (report.get("data") or {}).get("inputs") == 2
    given = parts.given or ('["a text"], ["the other text"]' if pair else '["a text"]')
    one = [] if pair else [f'filbert predict {folder} "a text"']
    one += [f"filbert {command.format(folder)}" for command in parts.commands]
    lines = [
        "## Use",
        "",
        "With Filbert, beside this folder:",
        "",
        "```sh",
        f"filbert predict {folder} new.csv",
        *one,
        "```",
    ]
    if not parts.code:
        return "\n".join([*lines, "", "`transformers` opens its encoder, as `AutoModel`."])
    blended = " — BERT alone, without the linear model of the blend" if (report.get("blend") or {}).get("kept") else ""
    lines += [
        "",
        f"With transformers{blended}:",
        "",
        "```python",
        *parts.imports,
        f"from transformers import {parts.auto}, AutoTokenizer",
        "",
        f"folder = {path}",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {parts.auto}.from_pretrained(folder)",
        f'batch = tokenizer({given}, truncation=True, padding=True, return_tensors="pt")',
        parts.result,
        *parts.code,
        "```",
    ]
    return "\n".join(lines)


def _limits(report: Report, limits: Sequence[str]) -> str:
    split = main_split(report)
    lines = [
        f"- The scores hold for texts like those of the {split} split. Other sources, years, dialects or "
        "languages need a new measurement before the model decides anything about people.",
        *(f"- {each}" for each in limits),
        "- It reproduces its training data, with their mistakes and prejudices.",
    ]
    return "\n".join(["## Limits", "", *lines])
