"""One label a text, of two or more: sentiment, topic, intent, and with two texts entailment and paraphrase.

The names of tasks/task.py, in its order: what a column says (settings.py), the five verbs and what people see
(outputs.py), the loss (objective.py, which alone needs torch), the page and the card (report_page.py, report_card.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from filbert.model.head import Head
from filbert.records import Encoding, Features, PackedBatch
from filbert.report.kind import Kind
from filbert.tasks.framing import framed
from filbert.tasks.single_label.outputs import (
    baseline,
    calibrate,
    columns,
    compare,
    decode,
    empty,
    mistakes,
    row,
    score,
    show,
    sureness,
    tally,
    validate,
)
from filbert.tasks.single_label.settings import (
    Settings,
    balanced,
    claim,
    described,
    read,
    reopen,
    saved,
    settle,
    strata,
    target_of,
    unknown,
)
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "BALANCE",
    "CASCADE",
    "HUB",
    "NAME",
    "TARGET",
    "balanced",
    "baseline",
    "calibrate",
    "claim",
    "columns",
    "compare",
    "decode",
    "described",
    "empty",
    "features",
    "head",
    "loss",
    "mistakes",
    "page",
    "read",
    "reopen",
    "row",
    "saved",
    "score",
    "settle",
    "show",
    "strata",
    "sureness",
    "tally",
    "target_of",
    "unknown",
    "validate",
]

NAME = "single-label"
TARGET = "label"
HUB = ("BertForSequenceClassification", "text-classification")
BALANCE = ""
CASCADE = ""


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the text, or two, in one window, and the number of its label."""
    number = None if target is None else settings.labels.index(target)
    return [framed(encodings, tokenizer, length, number)]


def head(settings: Settings) -> Head:
    """Return pooler and one linear layer on [CLS]."""
    return Head(outputs=len(settings.labels))


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the summed cross-entropy."""
    import torch

    from filbert.tasks.single_label.objective import cross_entropy

    return cross_entropy(outputs, torch.as_tensor(batch.targets_B, device=outputs.device), settings.weights)


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.single_label.report_page import KIND

    return KIND
