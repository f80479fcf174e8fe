"""What cross-validation says: the scores of the recipe, and the targets that its models doubt. No numbers are computed.

In the report and, as `folds_lines`, in the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.figures import in_percent, value_of, with_interval
from filbert.report.html import Html, table, tag
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.scores import text_table

SUSPECTS = "suspects.csv"


def cross_validation(report: Report, log: Log) -> Html | None:
    """Return the table of scores over all texts and of each fold, or None without cross-validation.

    >>> cross_validation({}, []) is None
    True
    """
    found = report.get("cross_validation")
    if not found:
        return None
    metrics = [Metric(*each) for each in found["metrics"]]
    head = tag("tr", tag("td"), [tag("th", _(metric.name), scope="col") for metric in metrics])
    cells = [tag("td", with_interval(found["scores"][metric.key], metric.percent)) for metric in metrics]
    rows = [tag("tr", tag("th", _("all {n:,} texts", n=found["n"]), scope="row"), cells)]
    for number, each in enumerate(found["by_fold"], 1):
        values = [dict.fromkeys(("value", "low", "high"), each[metric.key]) for metric in metrics]
        cells = [tag("td", value_of(*one)) for one in zip(values, (metric.percent for metric in metrics), strict=True)]
        rows.append(tag("tr", tag("th", _("fold {number}", number=number), scope="row"), cells))
    note = _(
        "Each text was answered by a model that was trained on the other folds. The intervals are over texts; "
        "the {folds} folds show how much the scores change with what is trained on.",
        folds=found["folds"],
    )
    return tag("div", tag("p", note, class_="note"), table(_("All texts together, and each fold."), head, rows))


def suspects(report: Report, log: Log) -> Html | None:
    """Return the table of doubtful targets side by side with what is suggested, or None where none were looked for.

    >>> suspects({"suspects": {"count": 0, "shown": []}}, [])
    '<p>No model that had not seen a text suggests another target for it.</p>'
    """
    found = report.get("suspects")
    if found is None:
        return None
    if not found["shown"]:
        return tag("p", _("No model that had not seen a text suggests another target for it."))
    rows = [{**each, "chance": "" if each["probability"] is None else _share(each)} for each in found["shown"]]
    columns = (
        ("given", N_("target in the data"), "text"),
        ("suggested", N_("suggested"), "text wrong"),
        ("chance", N_("sure"), ""),
    )
    texts = counted(found["count"], "text")
    if len(rows) < found["count"]:
        texts = _("The {shown:,} most doubtful of {texts}", shown=len(rows), texts=texts)
    caption = _(
        "{texts} for which a model that never saw them suggests another target, the most doubtful first. All of them "
        "are in {file}: write the right target into the column “corrected”, or anything into “leave_out”, and fit "
        "again with --corrections {file}.",
        texts=texts,
        file=SUSPECTS,
    )
    return text_table(caption, rows, columns)


def _share(suspect: Mapping[str, Any]) -> str:
    return in_percent(100 * suspect["probability"])


def folds_lines(report: Report, folder: str) -> list[str]:
    """Return what a terminal says of cross-validation; nothing without it.

    >>> folds_lines({}, "runs/a")
    []
    """
    found = report.get("cross_validation")
    if not found:
        return []
    metrics = [Metric(*each) for each in found["metrics"]]
    scores = _(", ").join(
        _("{name} {value}", name=_(each.name), value=with_interval(found["scores"][each.key], each.percent))
        for each in metrics
    )
    lines = [
        _(
            "Cross-validation in {folds} folds, {n:,} texts: {scores}.",
            folds=found["folds"],
            n=found["n"],
            scores=scores,
        )
    ]
    if doubtful := (report.get("suspects") or {}).get("count"):
        lines.append(f"{counted(doubtful, 'target is', 'targets are')} doubtful: {folder}/{SUSPECTS}, the worst first.")
    return lines
