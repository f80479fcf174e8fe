"""The page of a model for one label a text: what it gets right and wrong, class by class, beside the baseline.

    header · summary · confusion · classes · mistakes · calibration · lengths · curves · data · training · reproduce

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.

Shapes: C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.figures import in_percent, share_of
from filbert.report.html import Html, table, tag
from filbert.report.kind import Kind
from filbert.report.page import Log, Report, Section
from filbert.report.scores import class_table, missing_scores, scored_heading, summary_section, text_table
from filbert.report.sections import run_sections
from filbert.report.words import main_split
from filbert.tasks.single_label.report_card import METRICS, MORE, card

MATRIX_CLASSES = 30  # more do not fit a page: then the most confused pairs
PAIRS = 30
EXAMPLES, CHARACTERS = 2, 160  # of a pair, and shown of each
SHADES = 10


def missing(report: Report) -> str:
    """Return what the report of a classifier lacks, as the end of a message, or an empty string.

    >>> missing({"labels": ["a"], "scores": {"test": {"n": 1}}})
    ''
    """
    return missing_scores(report) or ("" if report.get("labels") else "has no labels — evaluate the model again")


def heading(report: Report) -> Html:
    """Return the top of the page.

    >>> "1 class" in heading({"labels": ["a"], "scores": {"test": {"n": 1}}})
    True
    """
    return scored_heading(N_("text classification"), report, counted(len(report["labels"]), "class", "classes"))


def _confusion(report: Report, log: Log) -> Html | None:
    scores, labels = report["scores"][main_split(report)], report["labels"]
    counts_CC = scores.get("confusion")
    filled = scores.get("confusion_cells") or [
        (i, j, count) for i, counts_C in enumerate(counts_CC or ()) for j, count in enumerate(counts_C) if count
    ]
    if not filled:
        return None
    pairs = _pairs(filled, labels, report.get("mistakes") or ())
    if not counts_CC or len(labels) > MATRIX_CLASSES:
        return pairs
    head = [
        tag("tr", tag("td"), tag("th", _("predicted →"), colspan=len(labels), scope="colgroup", class_="axis")),
        tag(
            "tr", tag("th", _("true ↓"), scope="col", class_="axis"), [_column(label, len(labels)) for label in labels]
        ),
    ]
    rows = []
    for i, (label, counts_C) in enumerate(zip(labels, counts_CC, strict=True)):
        cells = [_cell(count, sum(counts_C), i == j) for j, count in enumerate(counts_C)]
        rows.append(tag("tr", tag("th", label, scope="row"), cells))
    caption = _("Texts by true label (rows) and predicted label (columns); the shade is the share of the row.")
    top = _most_confused(filled, labels)[:1]
    said = None
    if top:
        true, predicted, count = top[0][:3]
        said = tag(
            "p",
            _("Most often: "),
            tag("b", true),
            _(" taken for "),
            tag("b", predicted),
            _(", {texts}.", texts=counted(count, "text")),
        )
    return tag("div", table(caption, head, rows, kind="matrix"), said, pairs if top else None)


def _column(label: str, classes: int) -> Html:
    return tag("th", tag("span", label), scope="col", class_="upright" if classes > 6 else None)


def _cell(count: int, whole: int, hit: bool) -> Html:
    """Return one cell; the shade follows the square root of the share, so that 1 % of a row can still be seen."""
    shade = max(1, round(SHADES * (count / whole) ** 0.5)) if count else 0
    return tag("td", f"{count:,}", class_=f"{'hit' if hit else 'miss'} s{shade}" if count else "none")


def _most_confused(cells: Sequence[Sequence[int]], labels: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """Return the confused pairs, most frequent first: true label, predicted label, texts, share of the true label's."""
    whole: Counter[int] = Counter()
    for i, _predicted, count in cells:
        whole[i] += count
    found = [(labels[i], labels[j], count, count / whole[i]) for i, j, count in cells if i != j]
    return sorted(found, key=lambda pair: (-pair[2], -pair[3]))


def _pairs(cells: Sequence[Sequence[int]], labels: Sequence[str], mistakes: Sequence[Mapping[str, Any]]) -> Html:
    """Return a table of the most confused pairs, each with the texts that are kept of it, the surest mistake first."""
    found = _most_confused(cells, labels)
    wrong = sum(pair[2] for pair in found)
    shown = sum(pair[2] for pair in found[:PAIRS])
    rows = [
        tag(
            "tr",
            tag("td", true, class_="text"),
            tag("td", predicted, class_="text"),
            tag("td", f"{count:,}"),
            tag("td", in_percent(100 * share, ".0f")),
            tag("td", _examples(true, predicted, mistakes), class_="passage"),
        )
        for true, predicted, count, share in found[:PAIRS]
    ]
    names = (
        (_("true label"), "text"),
        (_("taken for"), "text"),
        (_("texts"), None),
        (_("of the label"), None),
        (_("for example"), "text"),
    )
    head = tag("tr", [tag("th", name, scope="col", class_=kind) for name, kind in names])
    caption = _(
        "The {pairs} most confused pairs of {classes:,} classes: {shown:,} of the {wrong:,} mistakes ({share}).",
        pairs=len(rows),
        classes=len(labels),
        shown=shown,
        wrong=wrong,
        share=share_of(shown, wrong),
    )
    return table(caption, head, rows, tall=True)


def _examples(true: str, predicted: str, mistakes: Sequence[Mapping[str, Any]]) -> list[Html]:
    texts = [each["text"] for each in mistakes if (each["label"], each["predicted"]) == (true, predicted)][:EXAMPLES]
    short = [text if len(text) <= CHARACTERS else text[:CHARACTERS].rstrip() + " …" for text in texts]
    return [tag("div", tag("bdi", text)) for text in short]


def _classes(report: Report, log: Log) -> Html | None:
    found = report["scores"][main_split(report)].get("per_class")
    return class_table(found) if found else None


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    caption = _("The wrong answers given with most confidence. Read them first: some are wrong labels in the data.")
    shown = [each for each in found if not each.get("as_example")]
    rows = [{**each, "chance": in_percent(100 * each["probability"])} for each in shown]
    columns = (
        ("label", N_("label in the data"), "text"),
        ("predicted", N_("model says"), "text wrong"),
        ("chance", N_("probability"), ""),
    )
    return text_table(caption, rows, columns)


SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), summary_section(METRICS, MORE, [("log_loss", N_("log-loss"))])),
    ("confusion", N_("Confusion matrix"), _confusion),
    ("classes", N_("Class by class"), _classes),
    ("mistakes", N_("Most confident mistakes"), _mistakes),
    *run_sections([("accuracy", N_("accuracy")), ("macro_f1", N_("macro-F1"))]),
)
KIND = Kind(missing, heading, SECTIONS, card, METRICS)
