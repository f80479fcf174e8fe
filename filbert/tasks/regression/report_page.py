"""The page of a model that gives a number: how near it comes, where it is furthest off, model beside baseline.

    header · summary · numbers · mistakes · range · lengths · curves · data · training · reproduce

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.
"""

from __future__ import annotations

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.charts import histogram
from filbert.report.html import Html, tag
from filbert.report.kind import Kind
from filbert.report.page import Log, Report, Section
from filbert.report.scores import missing_scores, scored_heading, summary_section, text_table
from filbert.report.sections import run_sections
from filbert.tasks.regression.report_card import METRICS, MORE, card


def heading(report: Report) -> Html:
    """Return the top of the page.

    >>> "a number from 1 to 5" in heading({"low": 1.0, "high": 5.0, "scores": {"test": {"n": 1}}})
    True
    """
    low, high = report.get("low"), report.get("high")
    known = low is not None and high is not None
    first = _("a number from {low:g} to {high:g}", low=low, high=high) if known else _("a number")
    return scored_heading(N_("regression"), report, first)


def _range(report: Report, log: Log) -> Html | None:
    found = report.get("calibration") or {}
    if not found.get("half_width"):
        return None
    said = _(
        "Nine of ten true numbers lie within {half:.3g} of the answer. That half width of the range which each answer "
        "comes with was fitted on the validation texts, of which it holds {inside:.1f} %.",
        half=found["half_width"],
        inside=100 * found["inside"],
    )
    return tag("p", said)


def _numbers(report: Report, log: Log) -> Html | None:
    found = (report.get("data") or {}).get("numbers")
    if not found:
        return None
    edges, counts = found["edges"], found["counts"]["train"]
    label = _(
        "{texts} by their number, from {low:g} to {high:g}",
        texts=counted(sum(counts), "training text"),
        low=edges[0],
        high=edges[-1],
    )
    chart = tag("div", histogram(edges, counts, label), class_="chart")
    return tag("figure", chart, tag("figcaption", _("{sentence}.", sentence=label)))


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    rows = [{**each, **{key: f"{each[key]:.4g}" for key in ("score", "predicted", "off")}} for each in found]
    columns = (
        ("score", N_("number in the data"), ""),
        ("predicted", N_("model says"), "wrong"),
        ("off", N_("off by"), ""),
    )
    return text_table(
        _("The answers that are furthest off. Read them first: some are wrong numbers in the data."), rows, columns
    )


SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), summary_section(METRICS, MORE, [("rmse_of_mean", N_("RMSE of always the mean"))])),
    ("range", N_("How far off it is"), _range),
    ("mistakes", N_("Furthest off"), _mistakes),
    ("numbers", N_("The numbers it learned from"), _numbers),
    *(
        section
        for section in run_sections([("pearson", "Pearson"), ("spearman", "Spearman")])
        if section[0] != "calibration"
    ),
)
KIND = Kind(missing_scores, heading, SECTIONS, card, METRICS)
