"""What a report says of a blend: whether a linear model is added to BERT, why, and what BERT alone gets.

No numbers are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.language import _
from filbert.report.figures import with_interval
from filbert.report.kind import Metric
from filbert.report.words import example_of, main_split


def bert_alone(report: Mapping[str, Any], split: str) -> dict[str, Any] | None:
    """Return the scores of BERT alone on a split, where the model is a blend.

    >>> bert_alone({"blend": {"kept": False}}, "test") is None
    True
    """
    found: dict[str, Any] | None = ((report.get("blend") or {}).get("bert") or {}).get("scores", {}).get(split)
    return found


def blend_line(report: Mapping[str, Any], metric: Metric) -> str:
    """Return the sentence on a blend, with the main figure of BERT alone; "" where none was tried.

    >>> gain = {"value": 0.08, "low": 0.04, "high": 0.12}
    >>> tried = {"kept": False, "texts": 500, "loss": 0.61, "gain": gain}
    >>> blend_line({"scores": {"test": {"n": 1}}, "blend": {**tried, "kept": True}}, Metric("accuracy", "accuracy"))
    'Blend: the answers are those of BERT and the linear model together: the loss of 500 validation texts falls by \
13.1 % (6.6 to 19.7).'
    >>> blend_line({"blend": {**tried, "gain": {"value": 0.0, "low": -0.01, "high": 0.01}}}, Metric("mae", "MAE"))
    "No blend: of 500 validation texts the loss of BERT and the linear model together is not 2 % below BERT's."
    """
    found, each = report.get("blend") or {}, example_of(report)
    if "texts" not in found:
        return ""
    texts = counted(found["texts"], f"validation {each}")
    if found.get("balance", "none") != "none":
        return _("No blend with the linear model: training weighed the classes (balance {how}).", how=found["balance"])
    if "gain" not in found:
        return _("No blend: {texts} are too few to see whether the linear model helps.", texts=texts)
    if not found["kept"]:
        return _(
            "No blend: of {texts} the loss of BERT and the linear model together is not 2 % below BERT's.",
            texts=texts,
        )
    value, low, high = (100 * found["gain"][key] / max(found["loss"], 1e-12) for key in ("value", "low", "high"))
    told = {"texts": texts, "value": value, "low": low, "high": high}
    if found.get("linear_alone"):
        sentence = _(
            "The answers are those of the linear model alone, to which BERT adds nothing: the loss of {texts} is "
            "{value:.1f} % ({low:.1f} to {high:.1f}) below BERT's.",
            **told,
        )
    else:
        sentence = _(
            "Blend: the answers are those of BERT and the linear model together: the loss of {texts} falls by "
            "{value:.1f} % ({low:.1f} to {high:.1f}).",
            **told,
        )
    alone = (bert_alone(report, main_split(report)) or {}).get(metric.key)
    if not alone:
        return sentence
    shown = _("BERT alone: {name} {value}.", name=_(metric.name), value=with_interval(alone, metric.percent))
    return _("{one} {two}", one=sentence, two=shown)
