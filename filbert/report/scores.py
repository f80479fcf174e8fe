"""The sections on scores of a report page, for all tasks: model and baseline, each metric with its interval.

A task passes its metrics (`Metric`). No numbers are computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import _, plural, retold
from filbert.report.blend import blend_line
from filbert.report.charts import interval_bar, whiskers
from filbert.report.figures import interval_of, points, signed, span, value_of, with_interval
from filbert.report.html import Html, table, tag
from filbert.report.kind import Metric
from filbert.report.page import Log, Report, header
from filbert.report.words import (
    against_baseline,
    chosen_on,
    diagnosis_line,
    difference_of,
    example_of,
    main_split,
    repeated_line,
    verdict,
)

MISTAKE_CHARACTERS = 600  # shown of one text


def missing_scores(report: Report) -> str:
    """Return a message where a report has no scores for test or validation, else an empty string.

    >>> missing_scores({"scores": {"test": {"n": 1}}})
    ''
    """
    splits = report.get("scores") if isinstance(report.get("scores"), dict) else {}
    known = any((splits or {}).get(split) for split in ("test", "validation"))
    return "" if known else "has no scores for test or validation — evaluate the model again"


def scored_heading(kicker: str, report: Report, first: str) -> Html:
    """Return the header of a page: name, outputs (`first`), base, numbers of texts.

    >>> "2 labels" in scored_heading("text classification", {"scores": {"test": {"n": 1}}}, "2 labels")
    True
    """
    split, model, data = main_split(report), report.get("model") or {}, report.get("data") or {}
    each = example_of(report)
    trained = (data.get("counts") or {}).get("train")
    parts = [first]
    parts += [_("fine-tuned from {base}", base=model["base"])] if model.get("base") else []
    parts += [_("trained on {texts}", texts=counted(trained, each))] if trained else []
    parts.append(_("measured on {texts}", texts=counted(report["scores"][split]["n"], f"{split} {each}")))
    return header(kicker, report, parts)


def summary_section(
    metrics: Sequence[Metric], more: Sequence[Metric] = (), plain: Sequence[tuple[str, str]] = ()
) -> Callable[[Report, Log], Html]:
    """Return a builder of the summary: a card for each of `metrics`, then a table of `metrics`, `more` and `plain`.

    `plain` are metrics without an interval, as (key, name).
    """

    def build(report: Report, log: Log) -> Html:
        split = main_split(report)
        score, beside = report["scores"][split], (report.get("baseline") or {}).get(split) or {}
        cards = [_card(each, score[each.key], beside.get(each.key)) for each in metrics if each.key in score]
        difference = difference_of(report, split)
        banner = None
        if difference:
            sentence = against_baseline(report, split, metrics[0])
            banner = tag("p", sentence[0].upper() + sentence[1:], class_=f"verdict {verdict(difference).split()[0]}")
            cards.append(_difference_card(difference, metrics[0]))
        over = counted(score["n"], example_of(report))
        notes = [
            _(
                "All figures are for the {split} split, with 95 % intervals over its {texts}.",
                split=_(split),
                texts=over,
            )
        ]
        if split == "validation":
            notes.append(_("There is no test split. {more}", more=chosen_on(report)))
        if joined := blend_line(report, metrics[0]):
            notes.append(joined)
        if repeated := repeated_line(report, split, metrics[0]):
            notes.append(_("{sentence}.", sentence=repeated))
        everything = _all_scores(report, [*metrics, *more], plain)
        note = tag("p", _(" ").join(notes), class_="note")
        failed = diagnosis_line(report).removeprefix(_("warning: "))
        alarm = tag("p", failed[0].upper() + failed[1:], class_="verdict worse") if failed else None
        return tag("div", alarm, banner, tag("div", cards, class_="cards"), note, everything)

    return build


def _card(metric: Metric, found: Mapping[str, Any], beside: Mapping[str, Any] | None) -> Html:
    name, percent = _(metric.name), metric.percent
    picture: Html | None = None
    label = _("{name}: model {value}", name=name, value=with_interval(found, percent))
    if beside:
        label += _(", baseline {value}", value=with_interval(beside, percent))
    if found.get("value") is not None:
        rows = [("model", dict(found)), *([("baseline", dict(beside))] if beside else [])]
        picture = whiskers(rows, label)
    return tag(
        "div",
        tag("h3", name[0].upper() + name[1:]),
        tag("p", value_of(found, percent), class_="big"),
        tag("p", interval_of(found, percent), class_="interval"),
        picture,
        tag(
            "p",
            tag("span", class_="dot"),
            _("baseline "),
            value_of(beside, percent),
            _(" "),
            tag("span", _("({interval})", interval=interval_of(beside, percent))),
            class_="beside",
        )
        if beside
        else None,
        class_="card",
    )


def _difference_card(difference: Mapping[str, Any], metric: Metric) -> Html:
    paired = None
    value, interval = points(difference["value"]), span(difference)
    if not metric.percent:
        value, interval = signed(difference["value"]), span(difference, percent=False)
    if "first_only" in difference:
        paired = tag(
            "p",
            _(
                "Right where the baseline is wrong on {texts}, wrong where it is right on {others:,}.",
                texts=counted(difference["first_only"], "text"),
                others=difference["second_only"],
            ),
            class_="beside",
        )
    name = _(metric.name)
    return tag(
        "div",
        tag("h3", _("{name} over baseline", name=f"{name[0].upper()}{name[1:]}")),
        tag("p", value, tag("small", _(" points")) if metric.percent else None, class_="big"),
        tag("p", interval, class_="interval"),
        paired,
        class_="card",
    )


def _all_scores(report: Report, metrics: Sequence[Metric], plain: Sequence[tuple[str, str]]) -> Html:
    """Return the table of every metric and split, for model and baseline."""
    columns: list[tuple[str, Mapping[str, Any]]] = []
    for split in ("test", "validation"):
        for system, scores in (("model", report["scores"]), ("baseline", report.get("baseline") or {})):
            if scores.get(split):
                columns.append((_("{split}, {system}", split=_(split), system=_(system)), scores[split]))
    rows = [
        tag(
            "tr",
            tag("th", _(metric.name), scope="row"),
            [tag("td", with_interval(each.get(metric.key), metric.percent)) for _name, each in columns],
        )
        for metric in metrics
        if any(metric.key in each for _name, each in columns)
    ]
    for key, words in plain:
        cells = [tag("td", f"{each[key]:.3f}" if key in each else "—") for _name, each in columns]
        rows.append(tag("tr", tag("th", _(words), scope="row"), cells))
    head = tag("tr", tag("td"), [tag("th", name, scope="col") for name, _scores in columns])
    caption, name, texts = _("All scores."), (report.get("baseline") or {}).get("name"), plural(example_of(report))
    if name:
        caption = _("All scores. The baseline is {name}, on the same {texts}.", name=retold(name), texts=texts)
    return table(caption, head, rows)


def class_table(
    found: Sequence[Mapping[str, Any]],
    *,
    more: Sequence[tuple[str, str]] = (),
    plain: Sequence[tuple[str, str]] = (),
) -> Html:
    """Return a table of labels, lowest F1 first: texts, precision, recall, F1.

    `more` are further metrics with an interval, as (key, name), `plain` those without.
    """
    lows = [each["f1"]["low"] for each in found if each["f1"]["value"] is not None]
    lowest = min(0.9, math.floor(10 * min(lows, default=0)) / 10)
    weakest = sorted(found, key=lambda each: (each["f1"]["value"] is None, each["f1"]["value"] or 0))
    keys = ("precision", "recall", "f1", *(key for key, _name in more))
    rows = []
    for each in weakest:
        cells = [tag("td", _number_and_span(each[key])) for key in keys]
        others = [tag("td", "—" if each.get(key) is None else f"{each[key]:.2f}") for key, _name in plain]
        bar = tag("td", interval_bar(each["f1"], lowest), class_="bar")
        rows.append(
            tag("tr", tag("th", each["label"], scope="row"), tag("td", f"{each['support']:,}"), cells, others, bar)
        )
    names = (
        *(_("label"), _("texts"), _("precision"), _("recall"), "F1"),
        *(_(name) for _key, name in (*more, *plain)),
    )
    head = tag(
        "tr",
        [tag("th", name, scope="col") for name in names],
        tag("th", _("F1, {lowest:g} to 1", lowest=lowest), scope="col", class_="text"),
    )
    return table(_("Each label in percent with its 95 % interval, lowest F1 first."), head, rows, tall=True)


def _number_and_span(found: Mapping[str, Any]) -> list[Html | str]:
    if found.get("value") is None:
        return ["—"]
    return [f"{100 * found['value']:.1f} ", tag("small", f"{100 * found['low']:.1f}–{100 * found['high']:.1f}")]


def text_table(caption: str, found: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str, str]]) -> Html:
    """Return a table of texts, as of mistakes; `columns` are (key, heading, CSS class) of the further cells."""
    rows = []
    for each in found:
        texts = [each[key] for key in ("text", "text_pair") if each.get(key)]
        shown = [t if len(t) <= MISTAKE_CHARACTERS else t[:MISTAKE_CHARACTERS].rstrip() + " …" for t in texts]
        cells = [tag("td", str(each.get(key) or ""), class_=kind or None) for key, _name, kind in columns]
        place = tag("td", each.get("place") or "", class_="text place")
        passage = (
            [tag("div", tag("bdi", t)) for t in shown],
            _decided(each.get("decided")),
            _similar(each.get("similar") or ()),
        )
        rows.append(tag("tr", tag("td", passage, class_="passage"), cells, place))
    names = [(_("text"), "text"), *((_(name), kind) for _key, name, kind in columns), (_("place"), "text")]
    head = tag("tr", [tag("th", name, scope="col", class_="text" if "text" in kind else None) for name, kind in names])
    return table(caption, head, rows, tall=True, kind="mistakes")


def _decided(found: Mapping[str, Any] | None) -> Html | None:
    """Return the window that decided most of a long text, to be opened."""
    if not found:
        return None
    places = {key: found[key] for key in ("start", "end", "weight")}
    where = _("decided by characters {start:,} to {end:,}, weight {weight:.2f}", **places)
    return tag("details", tag("summary", where), tag("p", tag("bdi", found["passage"])), class_="similar")


def _similar(found: Sequence[Mapping[str, Any]]) -> Html | None:
    """Return training texts that are like one of the table, to be opened."""
    if not found:
        return None
    items = [
        tag(
            "li",
            tag("b", each["target"]),
            f" {each['near']:.2f} ",
            tag("bdi", each["text"]),
            " ",
            tag("small", each["place"]),
        )
        for each in found
    ]
    answers = dict.fromkeys(each["target"] for each in found)
    return tag(
        "details",
        tag("summary", _("similar training texts: "), _(", ").join(answers)),
        tag("ul", items),
        class_="similar",
    )
