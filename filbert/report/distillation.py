"""What a student kept of its teacher, and how fast it is beside it. No numbers are computed.

In the report, in the model card and, as `distilled_lines`, in the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _, retold
from filbert.report.figures import with_interval
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import main_split

AGREEMENT = N_(
    "Nobody has labelled the texts that were measured on: all figures of this report say how far the student agrees "
    "with its teacher, not how often it is right. Give labelled texts with --test."
)


def distillation(report: Report, log: Log) -> Html | None:
    """Return student and teacher side by side, or None where a model had no teacher.

    >>> distillation({}, []) is None
    True
    """
    found = report.get("distillation")
    if not found:
        return None
    metric, percent = retold(found["metric"][1]), found["metric"][2]
    rows: list[tuple[str, ...]] = []
    for split, each in found["splits"].items():
        texts = counted(each["n"], f"{split} text")
        if "student" in each:
            figures = (with_interval(each[side], percent) for side in ("student", "teacher"))
            rows.append((_("{metric} on {texts}", metric=metric, texts=texts), *figures))
        agreement = _("{metric} by the teacher's answers to {texts}", metric=metric, texts=texts)
        rows.append((agreement, with_interval(each["agreement"], percent), ""))
    for what, name in (("texts", _("texts a second, in turns")), ("tokens", _("tokens a second, in turns"))):
        rows.append((name, *(f"{found['speed'][side][what]:,.0f}" for side in ("student", "teacher"))))
    head = tag("tr", tag("td"), [tag("th", side, scope="col") for side in (_("student"), _("teacher"))])
    body = [tag("tr", tag("th", row[0], scope="row"), [tag("td", cell) for cell in row[1:]]) for row in rows]
    lines = [tag("p", line) for line in (*distilled_from(report), *([] if _labelled(report) else [_(AGREEMENT)]))]
    return tag("div", lines, table(_("The student beside its teacher, on the same texts."), head, body))


def distilled_from(report: Report) -> list[str]:
    """Return what a model was distilled from, as a sentence; nothing where it had no teacher.

    >>> distilled_from({})
    []
    """
    found = report.get("distillation")
    if not found:
        return []
    teachers = [f"{Path(each['folder']).name} ({each['layers']} × {each['hidden']})" for each in found["teachers"]]
    told = {"teachers": _(", ").join(teachers), "texts": counted(found["texts"], "text"), "heat": found["temperature"]}
    if len(teachers) > 1:
        said = _(
            "Distilled from {teachers}: it learned the mean of what these models answer to {texts}, at temperature "
            "{heat:g} (Hinton et al. 2015).",
            **told,
        )
        return [said]
    said = _(
        "Distilled from {teachers}: it learned what this model answers to {texts}, at temperature {heat:g} (Hinton et "
        "al. 2015).",
        **told,
    )
    return [said]


def distilled_lines(report: Report) -> list[str]:
    """Return what a terminal says of student and teacher; nothing where a model had no teacher.

    >>> distilled_lines({})
    []
    """
    found = report.get("distillation")
    if not found:
        return []
    split, (name, percent) = main_split(report), found["metric"][1:]
    each, speed = found["splits"][split], found["speed"]
    lines, name = distilled_from(report), retold(name)
    agreement = f"{name} by the teacher's answers {with_interval(each['agreement'], percent)}"
    if "student" in each:
        of = counted(each["n"], f"{split} text")
        kept = f"{with_interval(each['student'], percent)} for the teacher's {with_interval(each['teacher'], percent)}"
        lines.append(f"On {of} its {name} is {kept}; {agreement}.")
    else:
        lines.append(f"{agreement[0].upper()}{agreement[1:]}. {AGREEMENT}")
    texts = f"{speed['student']['texts']:,.0f} texts a second for {speed['teacher']['texts']:,.0f}"
    tokens = f"{speed['student']['tokens']:,.0f} tokens for {speed['teacher']['tokens']:,.0f}"
    return [*lines, f"In turns on this machine: {texts} ({tokens}), {speed['times']:.3g} ×."]


def _labelled(report: Mapping[str, Any]) -> bool:
    return "student" in report["distillation"]["splits"][main_split(report)]
