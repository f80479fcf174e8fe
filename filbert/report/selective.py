"""The section on what a model gets wrong of the texts it is surest of, and the sentence on a model that abstains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.report.charts import curves
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import main_split, with_interval

STEPS = 10  # rows of the table


def abstention_line(found: Mapping[str, Any]) -> str:
    """Return sentences on which texts are answered, and how many of the answers are wrong; "" where all are answered.

    >>> level = {"threshold": 0.9312, "texts": 500, "answered": 410, "wrong": 3}
    >>> abstention_line({"rate": 0.02, "level": level})
    'It answers where its confidence is at least 0.931, and abstains elsewhere: with 95 % confidence at most 2 % of \
its answers are wrong (validation: 3 of 410 answers, of 500 texts).'
    """
    rate, level = found.get("rate"), found.get("level")
    if not rate:
        return ""
    if not level:
        return (
            f"warning: {found['texts']:,} validation texts do not show, for any share of the texts, that at most "
            f"{100 * rate:g} % of the answers are wrong: every text gets an answer. The least they show is "
            f"{100 * found['least']:.1f} %: allow that with --abstain, or give more texts with --validation."
        )
    sentence = (
        f"It answers where its confidence is at least {level['threshold']:.3f}, and abstains elsewhere"
        if level["threshold"]
        else "It answers every text"
    )
    sentence += (
        f": with 95 % confidence at most {100 * rate:g} % of its answers are wrong (validation: {level['wrong']:,} of "
        f"{level['answered']:,} answers, of {level['texts']:,} texts)."
    )
    for split, each in (found.get("measured") or {}).items():
        sentence += f" {measured_line(split, each)}"
    return sentence


def measured_line(split: str, found: Mapping[str, Any]) -> str:
    """Return the sentence on the texts of a split that were answered.

    >>> share = {"value": 0.5, "low": 0.25, "high": 0.75}
    >>> measured_line("test", {"coverage": share, "risk": share})
    'On test it answered 50.0 % (25.0–75.0) of the texts; 50.0 % (25.0–75.0) of these answers are wrong.'
    """
    answered, wrong = (with_interval(found[key], True) for key in ("coverage", "risk"))
    return f"On {split} it answered {answered} of the texts; {wrong} of these answers are wrong."


def selective_section(report: Report, log: Log) -> Html | None:
    """Return the risk–coverage curve with its numbers, or None.

    >>> selective_section({}, []) is None
    True
    """
    found = report.get("abstention")
    if not found:
        return None
    split = main_split(report)
    points = found["curves"][split]
    lines = {
        key: [(100 * each["share"], 100 * each["risk"][key]) for each in points] for key in ("low", "value", "high")
    }
    label = f"Answers that are {found['error']}, in percent, where only the surest texts of {split} are answered"
    level = found.get("level")
    mark = 100 * level["answered"] / level["texts"] if level else None
    picture = curves([("faint", lines["low"]), ("faint", lines["high"]), ("model", lines["value"])], label, mark=mark)
    rows = []
    for each in _rows(points):
        cells = (f"{100 * each['share']:.0f} %", f"{each['threshold']:.3f}", with_interval(each["risk"], True))
        rows.append(tag("tr", [tag("td", cell) for cell in cells]))
    head = tag("tr", [tag("th", name, scope="col") for name in ("answered", "confidence from", found["error"])])
    todo = None
    if not found.get("rate"):
        todo = tag(
            "p", "To answer only what it is sure of: filbert predict … --abstain 2%, or fit with it.", class_="note"
        )
    sentence = abstention_line(found)
    return tag(
        "div",
        tag("p", sentence) if sentence else None,
        tag(
            "figure",
            tag("div", picture, class_="chart"),
            tag("figcaption", f"{label}, by their share; thin: 95 % intervals."),
        )
        if picture
        else None,
        table("The surest texts first.", head, rows),
        todo,
    )


def _rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return some of the points, evenly by share; the last one is all texts."""
    found: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        reached = next(each for each in points if each["share"] >= step / STEPS - 1e-9)
        if not found or reached is not found[-1]:
            found.append(reached)
    return found
