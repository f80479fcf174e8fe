"""The model card of a model that gives a number."""

from __future__ import annotations

from filbert.language import N_
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.score_card import CardParts, scored_card

METRICS = (
    Metric("pearson", N_("Pearson"), percent=False, hub="pearsonr"),
    Metric("spearman", N_("Spearman"), percent=False, hub="spearmanr"),
    Metric("mae", N_("mean absolute error"), percent=False, hub="mae"),
    Metric("rmse", N_("root mean squared error"), percent=False),
)
MORE = (Metric("r2", "R²", percent=False),)


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "stars", "low": 1.0, "high": 5.0, "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# stars'
    """
    low, high, half = (report.get(key) for key in ("low", "high", "half_width"))
    known = low is not None and high is not None
    labels = f"**Range of the training texts:** {low:g} to {high:g}" if known else ""
    if half:
        labels += f"; nine of ten answers are at most {half:.3g} off, measured on the validation texts"
    parts = CardParts(
        pipeline="text-classification",
        what="A BERT model that gives a number for a text, in the unit of its training file",
        labels=labels,
        metrics=(*METRICS, *MORE),
        code=("print(float(logits))",),
        limits=("Outside the range of its training texts its numbers mean little.",),
    )
    return scored_card(report, log, parts)
