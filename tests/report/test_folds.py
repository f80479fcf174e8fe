"""What the page says of cross-validation and of doubtful targets; a text is never read as HTML."""

from __future__ import annotations

from filbert.report.folds import cross_validation, folds_lines, suspects

ACCURACY = {"value": 0.958, "low": 0.917, "high": 0.992}
REPORT = {
    "cross_validation": {
        "folds": 2,
        "n": 120,
        "metrics": [["accuracy", "accuracy", True], ["mcc", "MCC", False]],
        "scores": {"accuracy": ACCURACY, "mcc": {"value": 0.9, "low": 0.8, "high": 1.0}},
        "by_fold": [{"accuracy": 0.967, "mcc": 0.93}, {"accuracy": 0.95, "mcc": None}],
    },
    "suspects": {
        "count": 7,
        "shown": [
            {"text": "<b>好</b>", "place": "a.csv:3", "given": "neg", "suggested": "pos", "probability": 0.91},
            {"text": "fine", "place": "a.csv:9", "given": "1", "suggested": "9", "probability": None},
        ],
    },
}


def test_all_texts_and_each_fold_have_a_row():
    page = str(cross_validation(REPORT, []))
    assert page.count("<tr>") == 4
    for wanted in ("all 120 texts", "95.8 % (91.7–99.2)", "fold 2", "96.7 %", "0.930", "—", "the 2 folds"):
        assert wanted in page


def test_doubtful_targets_stand_side_by_side():
    page = str(suspects(REPORT, []))
    assert "The 2 most doubtful of 7 texts" in page
    assert "&lt;b&gt;好&lt;/b&gt;" in page
    for wanted in (">neg<", ">pos<", "91.0 %", "a.csv:3", "--corrections suspects.csv"):
        assert wanted in page
    few = {"suspects": {**REPORT["suspects"], "count": 2}}
    assert "most doubtful of" not in str(suspects(few, []))


def test_the_terminal_says_it_in_two_lines():
    assert folds_lines(REPORT, "runs/a") == [
        "Cross-validation in 2 folds, 120 texts: accuracy 95.8 % (91.7–99.2), MCC 0.900 (0.800–1.000).",
        "7 targets are doubtful: runs/a/suspects.csv, the worst first.",
    ]
