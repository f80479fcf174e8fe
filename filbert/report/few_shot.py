"""The sentence on a model that learned few labels by pairs of texts, and the section with what was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report

HOW = {"frozen": N_("the encoder as it was"), "tuned": N_("the encoder trained by pairs")}


def few_shot_line(found: Mapping[str, Any] | None) -> str:
    """Return sentences on how few labels were learned; "" where they were not few.

    >>> few_shot_line({"chosen": "tuned", "folds": None, "texts": 16, "classes": 2})
    'Few labels, 16 texts for 2 of them: the encoder was trained so that texts of one label lie near each other, then \
a linear layer on its vectors.'
    """
    if not found:
        return ""
    told = {"texts": counted(found["texts"], "text"), "classes": found["classes"]}
    if found["chosen"] == "tuned":
        line = _(
            "Few labels, {texts} for {classes:,} of them: the encoder was trained so that texts of one label lie near "
            "each other, then a linear layer on its vectors.",
            **told,
        )
    else:
        line = _(
            "Few labels, {texts} for {classes:,} of them: a linear layer was trained on the encoder's vectors as they "
            "were, which validated better than training the encoder, too.",
            **told,
        )
    if not found["folds"]:
        return line
    more = _(
        "No text was kept for validation: what is said of validation texts, and how sure the model is, comes from "
        "models that had not seen them, in {folds} folds.",
        folds=found["folds"],
    )
    return _(" ").join([line, more])


def few_shot_section(report: Report, log: Log) -> Html | None:
    """Return these sentences and the validation figures of both ways, or None.

    >>> few_shot_section({}, []) is None
    True
    """
    found = report.get("few_shot")
    if not found:
        return None
    names = list(next(iter(found["tried"].values())))
    head = tag("tr", [tag("th", _(name.replace("_", " ")), scope="col") for name in ("", *names)])
    rows = [
        tag("tr", tag("th", _(HOW[how]), scope="row"), [tag("td", f"{figures[name]:.4f}") for name in names])
        for how, figures in found["tried"].items()
    ]
    return tag("div", tag("p", few_shot_line(found)), table(_("On the validation texts."), head, rows))
