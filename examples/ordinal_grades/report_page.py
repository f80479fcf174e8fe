"""The page and the model card: what is said of grades; everything else is report/'s."""

from __future__ import annotations

from filbert.report.html import Html
from filbert.report.kind import Kind, Metric
from filbert.report.page import Log, Report, Section
from filbert.report.score_card import CardParts, labels_line, scored_card
from filbert.report.scores import missing_scores, scored_heading, summary_section, text_table
from filbert.report.sections import run_sections

METRICS = (
    Metric("pearson", "Pearson", percent=False),
    Metric("mae", "mean absolute error in grades", percent=False),
    Metric("accuracy", "accuracy"),
)


def heading(report: Report) -> Html:
    """Return the top of the page."""
    return scored_heading("ordinal grades", report, " < ".join(report["labels"]))


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    columns = (("grade", "grade in the data", "text"), ("predicted", "model says", "text wrong"))
    return text_table("The grades that are furthest off.", found, columns) if found else None


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown."""
    parts = CardParts(
        pipeline="text-classification",
        what="A BERT model that grades texts",
        labels=labels_line("Grades, lowest first", report["labels"]),
        metrics=METRICS,
        code=("level = float(logits.sigmoid().sum())  # 0 is the lowest grade", "print(level)"),
        limits=("It always gives one of its grades, also to a text of another kind.",),
    )
    return scored_card(report, log, parts)


SECTIONS: tuple[Section, ...] = (
    ("summary", "Summary", summary_section(METRICS)),
    ("mistakes", "Furthest off", _mistakes),
    *run_sections([("accuracy", "accuracy")]),
)
KIND = Kind(missing_scores, heading, SECTIONS, card, METRICS)
