"""The scores on a terminal: model and baseline beside each other, and what the difference shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from filbert.cli.console import table
from filbert.report.kind import Metric
from filbert.report.summary import summary_rows
from filbert.report.words import advice, against_baseline, main_split
from filbert.tasks import TASKS

METRICS = TASKS["single-label"].page().metrics


def at(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def summary_lines(report: dict[str, Any], metrics: Sequence[Metric]) -> list[str]:
    """What `filbert fit` prints first."""
    compared = against_baseline(report, main_split(report), metrics[0])
    return [*table(summary_rows(report, metrics)), *([compared] if compared else [])]


def test_summary_sets_the_baseline_beside() -> None:
    report = {
        "scores": {"validation": {"n": 1200, "accuracy": at(0.9), "mcc": at(0.8)}},
        "baseline": {
            "validation": {"n": 1200, "accuracy": at(0.88), "mcc": at(0.76)},
            "difference": {"validation": {"value": 0.02, "low": -0.001, "high": 0.041}},
        },
    }
    assert summary_rows(report, METRICS)[1] == ("accuracy", "90.0 % (89.0–91.0)", "88.0 % (87.0–89.0)")
    assert summary_lines(report, METRICS) == [
        "validation, 1,200 texts  model                baseline",
        "accuracy                 90.0 % (89.0–91.0)   88.0 % (87.0–89.0)",
        "MCC                      0.800 (0.790–0.810)  0.760 (0.750–0.770)",
        "no clear difference to the linear baseline: accuracy +2.0 points (−0.1 to +4.1)",
    ]


def test_the_test_texts_speak_where_there_are_some_and_numbers_are_no_percent() -> None:
    report: dict[str, Any] = {"scores": {"validation": {"n": 9, "mae": at(2.0)}, "test": {"n": 7, "mae": at(3.0)}}}
    metrics = [Metric("pearson", "Pearson", percent=False), Metric("mae", "mean absolute error", percent=False)]
    assert summary_lines(report, metrics) == [
        "test, 7 texts        model",
        "mean absolute error  3.000 (2.990–3.010)",
    ]


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_figures_and_the_first_is_compared(name: str) -> None:
    metrics = TASKS[name].page().metrics
    scores = {metric.key: at(0.5) for metric in metrics}
    report = {
        "scores": {"test": {"n": 4, **scores}},
        "baseline": {"test": {"n": 4, **scores}, "difference": {"test": {"value": 0.3, "low": 0.2, "high": 0.4}}},
    }
    lines = summary_lines(report, metrics)
    assert len(lines) == 2 + len(metrics)
    assert lines[-1].startswith(f"better than the linear baseline: {metrics[0].name} +")


def test_a_report_says_what_was_counted() -> None:
    scores = {"scores": {"test": {"n": 1}}}
    assert summary_rows({**scores, "data": {"inputs": 2, "example": "question"}}, [])[0][0] == "test, 1 question"
    assert summary_rows({**scores, "data": {"inputs": 2, "example": "text"}}, [])[0][0] == "test, 1 pair"
    assert summary_rows(scores, [])[0][0] == "test, 1 text"


def test_one_statement_on_a_small_set() -> None:
    """With four texts neither is said to be the better choice, whichever is ahead."""
    for value in (-0.25, 0.0, 0.25):
        said = advice({"value": value, "low": value - 0.5, "high": value + 0.5}, "4 validation texts")
        assert said.startswith("4 validation texts cannot tell")
    assert advice({"value": -0.2, "low": -0.3, "high": -0.1}, "90 test texts").startswith("So far the linear model")
    assert advice({"value": 0.0, "low": -0.02, "high": 0.01}, "9,000 test texts", linear=False).startswith(
        "The baseline"
    )
