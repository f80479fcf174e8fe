"""The page of a model for several labels a text: each label beside the others, model beside baseline.

    header · summary · labels · mistakes · calibration · lengths · curves · data · training · reproduce

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.
"""

from __future__ import annotations

from filbert.errors import counted
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
    first = f"{counted(len(report['labels']), 'label')}, none or several a text"
    return scored_heading("multi-label classification", report, first)


def _labels(report: Report, log: Log) -> Html | None:
    found = report["scores"][main_split(report)].get("per_label")
    if not found:
        return None
    known = dict(zip(report["labels"], report.get("thresholds") or (), strict=False))
    rows = [{**each, "threshold": known.get(each["label"])} for each in found]
    return class_table(rows, more=[("average_precision", "average precision")], plain=[("threshold", "given from")])


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    caption = "Where the model was surest of a label that is not there, or of the lack of one that is: read them first."
    rows = [
        {
            "text": each["text"],
            "text_pair": each.get("text_pair"),
            "place": each.get("place"),
            "true": ", ".join(each["labels"]) or "(none)",
            "said": ", ".join(each["predicted"]) or "(none)",
            "worst": f"{each['label']}, {100 * each['probability']:.1f} %",
        }
        for each in found
    ]
    columns = (
        ("true", "labels in the data", "text"),
        ("said", "model says", "text wrong"),
        ("worst", "surest mistake, its probability", "text"),
    )
    return text_table(caption, rows, columns)


SECTIONS: tuple[Section, ...] = (
    ("summary", "Summary", summary_section(METRICS, MORE)),
    ("classes", "Label by label", _labels),
    ("mistakes", "Surest mistakes", _mistakes),
    *run_sections([("map", "mean average precision"), ("micro_f1", "micro-F1 at a half")]),
)
KIND = Kind(missing, heading, SECTIONS, card, METRICS)
