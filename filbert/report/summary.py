"""The scores of model and baseline as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.report.blend import bert_alone
from filbert.report.figures import with_interval
from filbert.report.kind import Metric
from filbert.report.words import against_baseline, example_of, main_split


def summary_rows(report: Mapping[str, Any], metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    """Return the summary as table rows, the header first: metric, model, BERT alone in a blend, and the baseline.

    >>> known = {"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}}
    >>> summary_rows(known, [Metric("accuracy", "accuracy")])
    [('test, 4 texts', 'model'), ('accuracy', '75.0 % (30.0–95.0)')]
    """
    split = main_split(report)
    model = report["scores"][split]
    beside = {"BERT alone": bert_alone(report, split), "baseline": (report.get("baseline") or {}).get(split)}
    known = {"model": model, **{name: found for name, found in beside.items() if found}}
    rows: list[tuple[str, ...]] = [(f"{split}, {counted(model['n'], example_of(report))}", *known)]
    for metric in metrics:
        if metric.key in model:
            cells = (with_interval(each.get(metric.key), metric.percent) for each in known.values())
            rows.append((metric.name, *cells))
    return rows


def summary_lines(report: Mapping[str, Any], metrics: Sequence[Metric]) -> list[str]:
    """Return the summary as aligned lines, and a sentence on the difference to the baseline.

    >>> known = {"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}}
    >>> summary_lines(known, [Metric("accuracy", "accuracy")])
    ['test, 4 texts  model', 'accuracy       75.0 % (30.0–95.0)']
    """
    rows = summary_rows(report, metrics)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    sentence = against_baseline(report, main_split(report), metrics[0])
    return [*lines, sentence] if sentence else lines
