"""The page of a model that answers questions: EM and F1, the worst answers in their texts, model beside baseline.

    header · summary · worst answers · right answers · confidence · questions · the run

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.figures import in_percent
from filbert.report.html import Html, table, tag
from filbert.report.kind import Kind
from filbert.report.page import Log, Report, Section
from filbert.report.scores import missing_scores, scored_heading, summary_section
from filbert.report.sections import run_sections
from filbert.report.words import calibration_line
from filbert.tasks.question_answering.report_card import METRICS, MORE, card


def heading(report: Report) -> Html:
    """Return the top of the page.

    >>> "answers out of texts" in heading({"scores": {"test": {"n": 1}}})
    True
    """
    return scored_heading(N_("question answering"), report, _("answers out of texts"))


def highlighted(context: str, marks: Mapping[str, Sequence[int]]) -> Html:
    """Return a text in which the given answer is marked and the right one is bold.

    >>> highlighted("In Paris.", {"given": [3, 8]})
    '<bdi>In <mark>Paris</mark>.</bdi>'
    """
    cuts = sorted({0, len(context), *(at for place in marks.values() for at in place)})
    parts: list[Html | str] = []
    for begin, end in itertools.pairwise(cuts):
        piece: Html | str = context[begin:end]
        for key, name in (("true", "b"), ("given", "mark")):
            if key in marks and marks[key][0] <= begin and end <= marks[key][1]:
                piece = tag(name, piece)
        parts.append(piece)
    return tag("bdi", parts)


def _answers(found: Sequence[Mapping[str, Any]], caption: str) -> Html | None:
    if not found:
        return None
    rows = []
    for each in found:
        sure = each.get("confidence")
        told = tag("td", each["answer"] or _("no answer"), class_="text wrong" if each["f1"] < 1 else "text")
        true = tag("td", " | ".join(each["right"]) or _("no answer"), class_="text")
        asked = tag("p", tag("bdi", each["question"]))
        passage = tag("td", asked, highlighted(each["context"], each["marks"]), class_="passage")
        shares = ("—" if share is None else in_percent(100 * share, ".0f") for share in (sure, each["f1"]))
        numbers = [tag("td", share) for share in shares]
        place = tag("td", each["place"], class_="text place")
        rows.append(tag("tr", passage, told, true, numbers, place))
    names = (_("question and text"), _("model says"), _("in the data"), _("confidence"), "F1", _("place"))
    kinds = ("text", "text", "text", None, None, "text")
    head = tag("tr", [tag("th", name, scope="col", class_=kind) for name, kind in zip(names, kinds, strict=True)])
    return table(caption, head, rows, tall=True, kind="mistakes")


def _mistakes(report: Report, log: Log) -> Html | None:
    caption = _(
        "The worst answers, those given with most confidence first: what the model says is marked, what the data says "
        "is bold. Read them: some are right answers that the data does not list."
    )
    return _answers([each for each in report.get("mistakes") or () if each["f1"] < 1], caption)


def _right(report: Report, log: Log) -> Html | None:
    caption = _("Right answers given with most confidence.")
    return _answers([each for each in report.get("mistakes") or () if each["f1"] == 1], caption)


def _confidence(report: Report, log: Log) -> Html | None:
    found = report.get("calibration") or {}
    if "confidence_after" not in found:
        return None
    said = []
    if found["temperature"] == 1.0:
        said.append(_("The validation questions are too few to calibrate on: confidences only rank the answers."))
    else:
        said.append(calibration_line({"temperature": found["temperature"]}, "question"))
    said.append(
        _(
            "On {questions} {exact:.1f} % of the answers match exactly; the mean confidence is {after:.1f} %, before "
            "calibration {before:.1f} %.",
            questions=counted(found["questions"], "validation question"),
            exact=100 * found["exact"],
            after=100 * found["confidence_after"],
            before=100 * found["confidence_before"],
        )
    )
    if report.get("unanswerable"):
        said.append(
            _(
                "“No answer” is given where it scores more than the best span by over {threshold:.2f}: that gives the "
                "best F1 on the validation questions.",
                threshold=found["threshold"],
            )
        )
    return tag("p", _(" ").join(said))


def _questions(report: Report, log: Log) -> Html | None:
    found = (report.get("data") or {}).get("questions")
    if not found:
        return None
    names = ("questions", "texts", "unanswerable")
    rows = [
        tag("tr", tag("th", _(split), scope="row"), [tag("td", f"{counts[name]:,}") for name in names])
        for split, counts in found.items()
    ]
    heads = (_("split"), _("questions"), _("texts"), _("without an answer"))
    head = tag("tr", [tag("th", name, scope="col") for name in heads])
    return table(_("Questions, the texts they are asked of, and how many have no answer."), head, rows)


NEXT = (N_("one question"), 'ask {model} "a question" --context FILE_OR_FOLDER')
SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), summary_section(METRICS, MORE)),
    ("mistakes", N_("Worst answers"), _mistakes),
    ("right", N_("Right answers"), _right),
    ("confidence", N_("Can its confidence be trusted?"), _confidence),
    ("questions", N_("Questions and texts"), _questions),
    *(
        section
        for section in run_sections([("f1", "F1"), ("em", N_("exact match"))], NEXT)
        if section[0] != "calibration"
    ),
)
KIND = Kind(missing_scores, heading, SECTIONS, card, METRICS, NEXT)
