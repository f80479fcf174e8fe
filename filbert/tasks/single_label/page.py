"""The page of a text classifier: what it gets right and wrong, class by class, beside the baseline.

    header · summary · confusion · classes · mistakes · calibration · lengths · curves · data · training · reproduce

The frame is page.py's; the run behind the scores is in facts.py. No numbers are computed here.

Shapes: C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.report.charts import interval_bar, whiskers
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report, Section, header
from filbert.report.sections import FACT_SECTIONS
from filbert.report.words import (
    CHOSEN_ON,
    METRICS,
    MORE_METRICS,
    against_baseline,
    difference_of,
    interval_of,
    main_split,
    points,
    share_of,
    span,
    value_of,
    verdict,
    with_interval,
)

MATRIX_CLASSES = 30  # more do not fit a page: then the most confused pairs
PAIRS = 30
SHADES = 10
MISTAKE_CHARACTERS = 600  # shown of one text


def lacks(report: Report) -> str:
    """Say what the report of a classifier needs and does not have, or nothing.

    >>> lacks({"labels": ["a"], "scores": {"test": {"n": 1}}})
    ''
    """
    splits = report.get("scores") if isinstance(report.get("scores"), dict) else {}
    known = report.get("labels") and any((splits or {}).get(split) for split in ("test", "validation"))
    return "" if known else "has no labels, or no scores for test or validation — evaluate the model again"


def heading(report: Report) -> Html:
    """Return the top of the page: the name, how many classes, from what, on how many texts.

    >>> "1 classes" in heading({"labels": ["a"], "scores": {"test": {"n": 1}}})
    True
    """
    split, model, data = main_split(report), report.get("model") or {}, report.get("data") or {}
    score = report["scores"][split]
    trained = (data.get("counts") or {}).get("train")
    parts = [f"{len(report['labels']):,} classes"]
    if model.get("base"):
        parts.append(f"fine-tuned from {model['base']}")
    if trained:
        parts.append(f"trained on {trained:,} texts")
    parts.append(f"measured on {score['n']:,} {split} texts")
    return header("text classification", report, parts)


def _summary(report: Report, log: Log) -> Html | None:
    split = main_split(report)
    score, beside = report["scores"][split], (report.get("baseline") or {}).get(split) or {}
    cards = [_card(name, score[key], beside.get(key), percent) for key, name, percent in METRICS if key in score]
    difference = difference_of(report, split)
    banner = None
    if difference:
        said = against_baseline(report, split)
        banner = tag("p", said[0].upper() + said[1:], class_=f"verdict {verdict(difference).split()[0]}")
        cards.append(_difference_card(difference))
    notes = [f"All figures are for the {split} split, with 95 % intervals over its {score['n']:,} texts."]
    if split == "validation":
        notes.append(f"There is no test split. {CHOSEN_ON}")
    return tag(
        "div",
        banner,
        tag("div", cards, class_="cards"),
        tag("p", " ".join(notes), class_="note"),
        _all_scores(report),
    )


def _card(name: str, found: Mapping[str, Any], beside: Mapping[str, Any] | None, percent: bool) -> Html:
    picture, label = None, f"{name}: model {with_interval(found, percent)}"
    if beside:
        label += f", baseline {with_interval(beside, percent)}"
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
            "baseline ",
            value_of(beside, percent),
            " ",
            tag("span", f"({interval_of(beside, percent)})"),
            class_="beside",
        )
        if beside
        else None,
        class_="card",
    )


def _difference_card(difference: Mapping[str, Any]) -> Html:
    paired = None
    if "first_only" in difference:
        paired = tag(
            "p",
            f"Right where the baseline is wrong on {difference['first_only']:,} texts, "
            f"wrong where it is right on {difference['second_only']:,}.",
            class_="beside",
        )
    return tag(
        "div",
        tag("h3", "Accuracy over baseline"),
        tag("p", points(difference["value"]), tag("small", " points"), class_="big"),
        tag("p", span(difference), class_="interval"),
        paired,
        class_="card",
    )


def _all_scores(report: Report) -> Html:
    """Return every metric of every split, model and baseline beside each other."""
    columns: list[tuple[str, Mapping[str, Any]]] = []
    for split in ("test", "validation"):
        for who, scores in (("model", report["scores"]), ("baseline", report.get("baseline") or {})):
            if scores.get(split):
                columns.append((f"{split}, {who}", scores[split]))
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            [tag("td", with_interval(each.get(key), percent)) for _, each in columns],
        )
        for key, name, percent in MORE_METRICS
        if any(key in each for _, each in columns)
    ]
    losses = [tag("td", f"{each['log_loss']:.3f}" if "log_loss" in each else "—") for _, each in columns]
    rows.append(tag("tr", tag("th", "log-loss", scope="row"), losses))
    head = tag("tr", tag("td"), [tag("th", name, scope="col") for name, _ in columns])
    name = (report.get("baseline") or {}).get("name")
    caption = f"All scores. The baseline is {name}, on the same texts." if name else "All scores."
    return table(caption, head, rows)


def _confusion(report: Report, log: Log) -> Html | None:
    counts_CC = report["scores"][main_split(report)].get("confusion")
    if not counts_CC:
        return None
    labels = report["labels"]
    if len(labels) > MATRIX_CLASSES:
        return _pairs(counts_CC, labels)
    head = [
        tag("tr", tag("td"), tag("th", "predicted →", colspan=len(labels), scope="colgroup", class_="axis")),
        tag("tr", tag("th", "true ↓", scope="col", class_="axis"), [_column(label, len(labels)) for label in labels]),
    ]
    rows = []
    for i, (label, counts_C) in enumerate(zip(labels, counts_CC, strict=True)):
        cells = [_cell(count, sum(counts_C), i == j) for j, count in enumerate(counts_C)]
        rows.append(tag("tr", tag("th", label, scope="row"), cells))
    caption = "Texts by true label (rows) and predicted label (columns); the shade is the share of the row."
    top = _most_confused(counts_CC, labels)[:1]
    said = None
    if top:
        true, predicted, count, _ = top[0]
        said = tag(
            "p",
            "Most often: ",
            tag("b", true),
            " taken for ",
            tag("b", predicted),
            f", {count:,} {'text' if count == 1 else 'texts'}.",
        )
    return tag("div", table(caption, head, rows, kind="matrix"), said)


def _column(label: str, classes: int) -> Html:
    return tag("th", tag("span", label), scope="col", class_="upright" if classes > 6 else None)


def _cell(count: int, whole: int, hit: bool) -> Html:
    """Return one cell; the shade follows the square root of the share, so that 1 % of a row can still be seen."""
    shade = max(1, round(SHADES * (count / whole) ** 0.5)) if count else 0
    return tag("td", f"{count:,}", class_=f"{'hit' if hit else 'miss'} s{shade}" if count else "none")


def _most_confused(counts_CC: Sequence[Sequence[int]], labels: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """Return the confused pairs, most frequent first: true label, predicted label, texts, share of the true label's."""
    found = []
    for i, counts_C in enumerate(counts_CC):
        for j, count in enumerate(counts_C):
            if i != j and count:
                found.append((labels[i], labels[j], count, count / sum(counts_C)))
    return sorted(found, key=lambda pair: (-pair[2], -pair[3]))


def _pairs(counts_CC: Sequence[Sequence[int]], labels: Sequence[str]) -> Html:
    found = _most_confused(counts_CC, labels)
    wrong = sum(count for _, _, count, _ in found)
    shown = sum(count for _, _, count, _ in found[:PAIRS])
    rows = [
        tag(
            "tr",
            tag("td", true, class_="text"),
            tag("td", predicted, class_="text"),
            tag("td", f"{count:,}"),
            tag("td", f"{100 * share:.0f} %"),
        )
        for true, predicted, count, share in found[:PAIRS]
    ]
    names = ("true label", "taken for", "texts", "of the label")
    head = tag("tr", [tag("th", name, scope="col", class_="text" if i < 2 else None) for i, name in enumerate(names)])
    caption = (
        f"The {len(rows)} most confused pairs of {len(labels):,} classes: {shown:,} of the {wrong:,} mistakes "
        f"({share_of(shown, wrong)})."
    )
    return table(caption, head, rows)


def _classes(report: Report, log: Log) -> Html | None:
    found = report["scores"][main_split(report)].get("per_class")
    if not found:
        return None
    lows = [each["f1"]["low"] for each in found if each["f1"]["value"] is not None]
    lowest = min(0.9, math.floor(10 * min(lows, default=0)) / 10)
    weakest = sorted(found, key=lambda each: (each["f1"]["value"] is None, each["f1"]["value"] or 0))
    rows = []
    for each in weakest:
        cells = [tag("td", _number_and_span(each[key])) for key in ("precision", "recall", "f1")]
        bar = tag("td", interval_bar(each["f1"], lowest), class_="bar")
        rows.append(tag("tr", tag("th", each["label"], scope="row"), tag("td", f"{each['support']:,}"), cells, bar))
    names = ("label", "texts", "precision", "recall", "F1")
    head = tag(
        "tr",
        [tag("th", name, scope="col") for name in names],
        tag("th", f"F1, {lowest:g} to 1", scope="col", class_="text"),
    )
    return table("Each class in percent with its 95 % interval, lowest F1 first.", head, rows, tall=True)


def _number_and_span(found: Mapping[str, Any]) -> list[Html | str]:
    if found.get("value") is None:
        return ["—"]
    return [f"{100 * found['value']:.1f} ", tag("small", f"{100 * found['low']:.1f}–{100 * found['high']:.1f}")]


def _mistakes(report: Report, log: Log) -> Html | None:
    found = report.get("mistakes")
    if not found:
        return None
    rows = []
    for each in found:
        text = each["text"]
        text = text if len(text) <= MISTAKE_CHARACTERS else text[:MISTAKE_CHARACTERS].rstrip() + " …"
        rows.append(
            tag(
                "tr",
                tag("td", tag("bdi", text), class_="passage"),
                tag("td", each["label"], class_="text"),
                tag("td", each["predicted"], class_="text wrong"),
                tag("td", f"{100 * each['probability']:.1f} %"),
                tag("td", each.get("place") or "", class_="text place"),
            )
        )
    names = ("text", "label in the data", "model says", "probability", "place")
    head = tag("tr", [tag("th", name, scope="col", class_="text" if i != 3 else None) for i, name in enumerate(names)])
    caption = "The wrong answers given with most confidence. Read them first: some are wrong labels in the data."
    return table(caption, head, rows, tall=True, kind="mistakes")


SECTIONS: tuple[Section, ...] = (
    ("summary", "Summary", _summary),
    ("confusion", "What is taken for what", _confusion),
    ("classes", "Class by class", _classes),
    ("mistakes", "Most confident mistakes", _mistakes),
    *FACT_SECTIONS,
)
