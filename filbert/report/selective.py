"""The section on what a model gets wrong of the texts it is surest of, and the sentence on a model that abstains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.language import _, retold
from filbert.report.charts import curves
from filbert.report.figures import in_percent, with_interval
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import main_split

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
        return _(
            "warning: {texts:,} validation texts do not show, for any share of the texts, that at most {rate:g} % of "
            "the answers are wrong: every text gets an answer. The least they show is {least:.1f} %: allow that with "
            "--abstain, or give more texts with --validation.",
            texts=found["texts"],
            rate=100 * rate,
            least=100 * found["least"],
        )
    answers = _("It answers every text")
    if level["threshold"]:
        answers = _(
            "It answers where its confidence is at least {threshold:.3f}, and abstains elsewhere",
            threshold=level["threshold"],
        )
    sentence = _(
        "{answers}: with 95 % confidence at most {rate:g} % of its answers are wrong (validation: {wrong:,} of "
        "{answered:,} answers, of {texts:,} texts).",
        answers=answers,
        rate=100 * rate,
        wrong=level["wrong"],
        answered=level["answered"],
        texts=level["texts"],
    )
    return _(" ").join([sentence, *(measured_line(*each) for each in (found.get("measured") or {}).items())])


def measured_line(split: str, found: Mapping[str, Any]) -> str:
    """Return the sentence on the texts of a split that were answered.

    >>> share = {"value": 0.5, "low": 0.25, "high": 0.75}
    >>> measured_line("test", {"coverage": share, "risk": share})
    'On test it answered 50.0 % (25.0–75.0) of the texts; 50.0 % (25.0–75.0) of these answers are wrong.'
    """
    answered, wrong = (with_interval(found[key], True) for key in ("coverage", "risk"))
    return _(
        "On {split} it answered {answered} of the texts; {wrong} of these answers are wrong.",
        split=_(split),
        answered=answered,
        wrong=wrong,
    )


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
    error = retold(found["error"])
    label = _(
        "Answers that are {error}, in percent, where only the surest texts of {split} are answered",
        error=error,
        split=_(split),
    )
    level = found.get("level")
    mark = 100 * level["answered"] / level["texts"] if level else None
    picture = curves([("faint", lines["low"]), ("faint", lines["high"]), ("model", lines["value"])], label, mark=mark)
    rows = []
    for each in _rows(points):
        share = in_percent(100 * each["share"], ".0f")
        cells = (share, f"{each['threshold']:.3f}", with_interval(each["risk"], True))
        rows.append(tag("tr", [tag("td", cell) for cell in cells]))
    head = tag("tr", [tag("th", name, scope="col") for name in (_("answered"), _("confidence from"), error)])
    todo = None
    if not found.get("rate"):
        todo = tag(
            "p", _("To answer only what it is sure of: filbert predict … --abstain 2%, or fit with it."), class_="note"
        )
    sentence = abstention_line(found)
    return tag(
        "div",
        tag("p", sentence) if sentence else None,
        tag(
            "figure",
            tag("div", picture, class_="chart"),
            tag("figcaption", _("{label}, by their share; thin: 95 % intervals.", label=label)),
        )
        if picture
        else None,
        table(_("The surest texts first."), head, rows),
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
