"""The model card of a classifier of one label a text."""

from __future__ import annotations

from filbert.errors import counted
from filbert.language import N_
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.score_card import CardParts, labels_line, scored_card

METRICS = (
    Metric("accuracy", N_("accuracy"), hub="accuracy"),
    Metric("macro_f1", N_("macro-F1"), hub="f1"),
    Metric("mcc", "MCC", percent=False, hub="matthews_correlation"),
)
MORE = (Metric("auc", "AUC", percent=False), Metric("ece", N_("calibration error")))


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "mood", "labels": ["a"], "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# mood'
    """
    parts = CardParts(
        pipeline="text-classification",
        what=f"A BERT text classifier with {counted(len(report['labels']), 'class', 'classes')}",
        labels=labels_line("Classes", report["labels"]),
        metrics=(*METRICS, *MORE),
        code=(
            "probabilities = logits.softmax(-1)",
            "print(model.config.id2label[int(probabilities.argmax())])",
        ),
        limits=("It always answers with one of its classes, also where none fits.",),
    )
    return scored_card(report, log, parts)
