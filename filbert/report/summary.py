"""The scores as a few lines for a terminal: model and baseline beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.report.words import METRICS, against_baseline, main_split, with_interval


def summary_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the summary as table rows, the header first: metric, model and, where there is one, baseline.

    >>> summary_rows({"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}})
    [('test, 4 texts', 'model'), ('accuracy', '75.0 % (30.0–95.0)')]
    """
    split = main_split(report)
    model = report["scores"][split]
    beside = (report.get("baseline") or {}).get(split)
    rows = [(f"{split}, {model['n']:,} texts", "model", *(["baseline"] if beside else []))]
    for key, name, percent in METRICS:
        if key in model:
            rows.append((name, *(with_interval(each.get(key), percent) for each in (model, beside) if each)))
    return rows


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the summary as aligned lines for a terminal, and what the difference to the baseline shows.

    >>> summary_lines({"scores": {"test": {"n": 4, "accuracy": {"value": 0.75, "low": 0.3, "high": 0.95}}}})
    ['test, 4 texts  model', 'accuracy       75.0 % (30.0–95.0)']
    """
    rows = summary_rows(report)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = against_baseline(report, main_split(report))
    return [*lines, said] if said else lines
