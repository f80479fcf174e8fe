"""The section on where a model errs: its error by length, class and column, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.language import N_, _, retold
from filbert.report.charts import interval_bar
from filbert.report.figures import with_interval
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report

TOLD = (N_("length"), N_("score"), N_("answers"))  # slices that are told in words of ours …
GATHERED = ("(others)", "(empty)")  # … and values that are
OURS = (*TOLD, N_("label"), N_("labels"))  # … and that have a name of ours; the others are columns


def slices_section(report: Report, log: Log) -> Html | None:
    """Return a table for each way of slicing, or None.

    >>> slices_section({}, []) is None
    True
    """
    found = report.get("slices")
    if not found or not found["by"]:
        return None
    whole = with_interval(found["all"], found["share"])
    lines = [tag("li", line) for line in worse_lines(found)]
    note = _("Of many slices some stand out by chance: an interval above the figure of all texts is a hint, no proof.")
    first = _("{share} of all texts are {error}.") if found["share"] else _("Mean {error}: {share}.")
    return tag(
        "div",
        tag("p", first.format(share=whole, error=retold(found["error"]))),
        [tag("p", _("More than of all texts:")), tag("ul", lines)] if lines else None,
        tag("div", [_table(found, each) for each in found["by"]], class_="panels"),
        tag("p", note, class_="note"),
    )


def worse_lines(found: Mapping[str, Any]) -> list[str]:
    """Return a sentence on each slice whose interval lies above the figure of all texts.

    >>> rows = [{"value": "long", "texts": 40, "error": {"value": 0.5, "low": 0.35, "high": 0.65}}]
    >>> said = {"error": "wrong", "share": True, "all": {"value": 0.1}, "by": [{"name": "length", "rows": rows}]}
    >>> worse_lines(said)
    ['length “long”: 50.0 % (35.0–65.0) of 40 texts']
    """
    return [
        _(
            "{name} “{value}”: {share} of {texts:,} texts",
            name=named(each),
            value=valued(each, row),
            share=with_interval(row["error"], found["share"]),
            texts=row["texts"],
        )
        for each in found["by"]
        for row in each["rows"]
        if _worse(row, found)
    ]


def named(each: Mapping[str, Any]) -> str:
    """Return what texts are sliced by: length, the target, or the name of a column, which is not translated."""
    return _(each["name"]) if each["name"] in OURS else str(each["name"])


def valued(each: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return a slice, in the language that is spoken where it is told in words of ours."""
    value = str(row["value"])
    return retold(value) if each["name"] in TOLD or value in GATHERED else value


def _worse(row: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return row["error"]["low"] is not None and row["error"]["low"] > found["all"]["value"]


def _table(found: Mapping[str, Any], each: Mapping[str, Any]) -> Html:
    share = found["share"]
    rows = []
    for row in each["rows"]:
        figure = tag("td", with_interval(row["error"], share), class_="wrong" if _worse(row, found) else None)
        bar = tag("td", interval_bar(row["error"], 0.0, found["all"]["value"]), class_="bar") if share else None
        rows.append(tag("tr", tag("th", valued(each, row), scope="row"), tag("td", f"{row['texts']:,}"), figure, bar))
    names = [(named(each), "text"), (_("texts"), ""), (retold(found["error"]), "")]
    heads = [tag("th", name, scope="col", class_=kind or None) for name, kind in names]
    head = tag("tr", heads, tag("th", _("0 to 1"), scope="col", class_="text") if share else None)
    caption = _("By {name}; the dashed line is the share of all texts.") if share else _("By {name}.")
    return table(caption.format(name=named(each)), head, rows)
