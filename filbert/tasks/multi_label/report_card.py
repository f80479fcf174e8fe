"""The model card of a classifier of several labels a text."""

from __future__ import annotations

import json

from filbert.errors import counted
from filbert.language import N_
from filbert.report.card import code
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.score_card import CardParts, labels_line, scored_card

METRICS = (
    Metric("macro_f1", N_("macro-F1"), hub="f1"),
    Metric("micro_f1", N_("micro-F1"), hub="f1"),
    Metric("map", N_("mean average precision")),
    Metric("subset_accuracy", N_("subset accuracy")),
)
MORE = (
    Metric("samples_f1", N_("samples-F1")),
    Metric("micro_precision", N_("micro-precision")),
    Metric("micro_recall", N_("micro-recall")),
    Metric("hamming_loss", N_("Hamming loss")),
    Metric("ece", N_("calibration error")),
)


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "tags", "labels": ["a"], "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# tags'
    """
    alone = ((report.get("blend") or {}).get("bert") or {}).get("settings") or report  # `transformers` opens BERT alone
    thresholds = [round(each, 4) for each in alone.get("thresholds") or [0.5] * len(report["labels"])]
    labels = counted(len(report["labels"]), "label")
    parts = CardParts(
        pipeline="text-classification",
        what=f"A BERT text classifier with {labels}, of which a text has none, one or several",
        labels=labels_line("Labels", report["labels"]),
        metrics=(*METRICS, *MORE),
        code=(
            "probabilities = logits.sigmoid()[0]",
            f"thresholds = torch.tensor({code(json.dumps(thresholds))})  # tuned on the validation texts",
            "print([model.config.id2label[int(i)] for i in (probabilities >= thresholds).nonzero()])",
        ),
        limits=("Its thresholds serve the F1 of each label; where a miss costs more than a false alarm, lower them.",),
        imports=("import torch",),
    )
    return scored_card(report, log, parts)
