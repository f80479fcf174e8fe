"""The scores of model and baseline for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.blend import bert_alone
from filbert.report.figures import with_interval
from filbert.report.kind import Metric
from filbert.report.words import example_of, main_split


def summary_rows(report: Mapping[str, Any], metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    """Return the summary as table rows, the header first: metric, model, BERT alone in a blend, and the baseline.

    >>> known = {"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}}
    >>> summary_rows(known, [Metric("accuracy", "accuracy")])
    [('test, 4 texts', 'model'), ('accuracy', '75.0 % (30.0–95.0)')]
    """
    split = main_split(report)
    model = report["scores"][split]
    beside = {N_("BERT alone"): bert_alone(report, split), N_("baseline"): (report.get("baseline") or {}).get(split)}
    known = {N_("model"): model, **{name: found for name, found in beside.items() if found}}
    first = _("{split}, {texts}", split=_(split), texts=counted(model["n"], example_of(report)))
    rows: list[tuple[str, ...]] = [(first, *map(_, known))]
    for metric in metrics:
        if metric.key in model:
            cells = (with_interval(each.get(metric.key), metric.percent) for each in known.values())
            rows.append((_(metric.name), *cells))
    return rows
