"""The section on where a model errs: its error by length, class and column, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.report.charts import interval_bar
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import with_interval


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
    note = "Of many slices some stand out by chance: an interval above the figure of all texts is a hint, no proof."
    return tag(
        "div",
        tag(
            "p", f"{whole} of all texts are {found['error']}." if found["share"] else f"Mean {found['error']}: {whole}."
        ),
        [tag("p", "More than of all texts:"), tag("ul", lines)] if lines else None,
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
        f"{each['name']} “{row['value']}”: {with_interval(row['error'], found['share'])} of {row['texts']:,} texts"
        for each in found["by"]
        for row in each["rows"]
        if _worse(row, found)
    ]


def _worse(row: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return row["error"]["low"] is not None and row["error"]["low"] > found["all"]["value"]


def _table(found: Mapping[str, Any], each: Mapping[str, Any]) -> Html:
    share = found["share"]
    rows = []
    for row in each["rows"]:
        figure = tag("td", with_interval(row["error"], share), class_="wrong" if _worse(row, found) else None)
        bar = tag("td", interval_bar(row["error"], 0.0, found["all"]["value"]), class_="bar") if share else None
        rows.append(tag("tr", tag("th", row["value"], scope="row"), tag("td", f"{row['texts']:,}"), figure, bar))
    names = [(each["name"], "text"), ("texts", ""), (str(found["error"]), "")]
    heads = [tag("th", name, scope="col", class_=kind or None) for name, kind in names]
    head = tag("tr", heads, tag("th", "0 to 1", scope="col", class_="text") if share else None)
    return table(f"By {each['name']}" + ("; the dashed line is the share of all texts." if share else "."), head, rows)
