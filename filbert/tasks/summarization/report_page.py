"""The page of a model that summarizes: how near its summaries come to people's, beside those that need no model.

    header · summary · systems · worst · places · calibration · lengths · curves · data · training · reproduce

The frame is report/page.py's; what every task's page has is in report/scores.py and sections.py. No numbers are
computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _, retold
from filbert.report.charts import histogram
from filbert.report.figures import with_interval
from filbert.report.html import Html, table, tag
from filbert.report.kind import Kind
from filbert.report.page import Log, Report, Section
from filbert.report.scores import missing_scores, scored_heading, summary_section
from filbert.report.sections import run_sections
from filbert.report.words import main_split
from filbert.tasks.summarization.report_card import METRICS, card, told_length


def heading(report: Report) -> Html:
    """Return the top of the page.

    >>> "3 sentences of a text" in heading({"length": 3.0, "unit": "sentences", "scores": {"test": {"n": 1}}})
    True
    """
    length = told_length(report)
    share = report.get("unit") == "share"
    first = (_("summaries of {length}") if share else _("summaries of {length} of a text")).format(
        length=retold(length)
    )
    return scored_heading(N_("extractive summaries"), report, first)


def _systems(report: Report, log: Log) -> Html | None:
    found = report["scores"][main_split(report)]
    if not found.get("beside"):
        return None
    rows = [(N_("model"), found), *found["beside"].items()]
    head = tag("tr", tag("td"), [tag("th", _(metric.name), scope="col") for metric in METRICS])
    body = [
        tag(
            "tr",
            tag("th", retold(name), scope="row"),
            [tag("td", with_interval(each.get(metric.key), metric.percent)) for metric in METRICS],
        )
        for name, each in rows
    ]
    caption = _(
        "The model beside summaries that need none. The oracle knows the reference: it takes, one after the other, the "
        "sentence that adds most, and no choice of sentences is much better."
    )
    return tag("div", table(caption, head, body), _choice(report))


def _choice(report: Report) -> Html | None:
    """Say by what sentences are ranked, and how each way that was tried did on the validation texts."""
    found = (report.get("calibration") or {}).get("choice") or {}
    tried = found.get("tried") or {}
    if not tried:
        return None
    best = max(tried, key=lambda name: tried[name])
    head = tag(
        "tr",
        tag("th", _("sentences ranked by"), scope="col", class_="text"),
        tag("th", "ROUGE-1 + ROUGE-2", scope="col"),
    )
    rows = [
        tag("tr", tag("th", retold(name), scope="row"), tag("td", f"{100 * each:.1f}")) for name, each in tried.items()
    ]
    caption = _(
        "How sentences are ranked was chosen on {texts}: {best}. Each text is judged by weights that were fitted on "
        "others.",
        texts=counted(found["texts"], "validation text"),
        best=retold(best),
    )
    return table(caption, head, rows)


def highlighted(text: str, places: Sequence[Sequence[int]], chosen: Sequence[int]) -> list[Html | str]:
    """Return a text in which the chosen sentences are marked.

    >>> highlighted("A b. C d.", [(0, 4), (5, 9)], [1])
    ['A b. ', '<mark>C d.</mark>']
    """
    parts: list[Html | str] = []
    at = 0
    for begin, end in (places[i] for i in chosen):
        if begin >= len(text):
            break
        parts += [text[at:begin], tag("mark", text[begin:end])]
        at = min(end, len(text))
    return [part for part in (*parts, text[at:]) if part]


def _worst(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    rows = [_case(each) for each in found]
    names = (
        *(_("text, chosen sentences marked"), _("reference, and the sentences most like it"), "ROUGE-1"),
        *(_("oracle"), _("place")),
    )
    kinds = ("text", "text", None, None, "text")
    head = tag("tr", [tag("th", name, scope="col", class_=kind) for name, kind in zip(names, kinds, strict=True)])
    return table(
        _("Furthest below what their own sentences allow, worst first."), head, rows, tall=True, kind="mistakes"
    )


def _case(each: Mapping[str, Any]) -> Html:
    parts = highlighted(each["text"], each["places"], each["chosen"])
    text = tag("td", tag("div", tag("bdi", parts)), class_="passage")
    wanted = tag("ul", [tag("li", tag("bdi", sentence)) for sentence in each["wanted"]])
    reference = tag("td", tag("div", tag("bdi", each["summary"])), wanted, class_="passage")
    figures = [tag("td", f"{100 * each[key]:.1f}") for key in ("rouge1", "oracle")]
    return tag("tr", text, reference, figures, tag("td", each.get("place") or "", class_="text place"))


def _places(report: Report, log: Log) -> Html | None:
    found = (report.get("data") or {}).get("summaries")
    if not found:
        return None
    counts = found["places"]
    label = _(
        "{sentences} of the training summaries by where in their text they stand, in percent",
        sentences=counted(sum(counts), "sentence"),
    )
    chart = tag("div", histogram([10 * i for i in range(11)], counts, label, "sentence"), class_="chart")
    of, taken, text, summary = found["medians"]
    said = _(
        "{label}. A text has {of:g} sentences and {text:,.0f} characters (medians), its summary {taken:g} and "
        "{summary:,.0f}.",
        **{"label": label, "of": of, "text": text, "taken": taken, "summary": summary},
    )
    return tag("figure", chart, tag("figcaption", said))


NEXT = (N_("one text"), "summarize {model} article.txt")
SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), summary_section(METRICS)),
    ("systems", N_("Beside what needs no model"), _systems),
    ("mistakes", N_("Worst summaries"), _worst),
    ("places", N_("Where the summaries stand in their texts"), _places),
    *run_sections([("rouge1", N_("ROUGE-1 without stems")), ("rouge2", N_("ROUGE-2 without stems"))], NEXT),
)
KIND = Kind(missing_scores, heading, SECTIONS, card, METRICS, NEXT)
