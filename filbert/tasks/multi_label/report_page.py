"""The page of a model for several labels a text: each label beside the others, model beside baseline.

    header · summary · labels · mistakes · calibration · lengths · curves · data · training · reproduce

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.
"""

from __future__ import annotations

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.figures import in_percent
from filbert.report.html import Html
from filbert.report.kind import Kind
from filbert.report.page import Log, Report, Section
from filbert.report.scores import class_table, missing_scores, scored_heading, summary_section, text_table
from filbert.report.sections import run_sections
from filbert.report.words import main_split
from filbert.tasks.multi_label.report_card import METRICS, MORE, card


def missing(report: Report) -> str:
    """Return what the report of a classifier lacks, as the end of a message, or an empty string.

    >>> missing({"labels": ["a"], "scores": {"test": {"n": 1}}})
    ''
    """
    return missing_scores(report) or ("" if report.get("labels") else "has no labels — evaluate the model again")


def heading(report: Report) -> Html:
    """Return the top of the page.

    >>> "1 label, none or several a text" in heading({"labels": ["a"], "scores": {"test": {"n": 1}}})
    True
    """
    first = _("{labels}, none or several a text", labels=counted(len(report["labels"]), "label"))
    return scored_heading(N_("multi-label classification"), report, first)


def _labels(report: Report, log: Log) -> Html | None:
    found = report["scores"][main_split(report)].get("per_label")
    if not found:
        return None
    known = dict(zip(report["labels"], report.get("thresholds") or (), strict=False))
    rows = [{**each, "threshold": known.get(each["label"])} for each in found]
    return class_table(
        rows, more=[("average_precision", N_("average precision"))], plain=[("threshold", N_("given from"))]
    )


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    caption = _(
        "Where the model was surest of a label that is not there, or of the lack of one that is: read them first."
    )
    rows = [
        {
            "text": each["text"],
            "text_pair": each.get("text_pair"),
            "place": each.get("place"),
            "true": ", ".join(each["labels"]) or _("(none)"),
            "said": ", ".join(each["predicted"]) or _("(none)"),
            "worst": f"{each['label']}, {in_percent(100 * each['probability'])}",
        }
        for each in found
    ]
    columns = (
        ("true", N_("labels in the data"), "text"),
        ("said", N_("model says"), "text wrong"),
        ("worst", N_("surest mistake, its probability"), "text"),
    )
    return text_table(caption, rows, columns)


SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), summary_section(METRICS, MORE)),
    ("classes", N_("Label by label"), _labels),
    ("mistakes", N_("Surest mistakes"), _mistakes),
    *run_sections([("map", N_("mean average precision")), ("micro_f1", N_("micro-F1 at a half"))]),
)
KIND = Kind(missing, heading, SECTIONS, card, METRICS)
