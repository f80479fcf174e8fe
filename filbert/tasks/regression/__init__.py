"""A number a text: a rating, a price, and with two texts how alike they are.

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
from filbert.tasks.regression.outputs import (
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
from filbert.tasks.regression.settings import (
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

NAME = "regression"
TARGET = "score"
HUB = ("BertForSequenceClassification", "text-classification")
BALANCE = "numbers have no classes to balance"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the text, or two, in one window, and the number scaled to mean 0 and spread 1."""
    scaled = None if target is None else (target - settings.mean) / settings.spread
    return [framed(encodings, tokenizer, length, scaled)]


def head(settings: Settings) -> Head:
    """Return pooler and one linear layer on [CLS]."""
    return Head(outputs=1)


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the summed squared error."""
    import torch

    from filbert.tasks.regression.objective import squared_error

    return squared_error(outputs[:, 0], torch.as_tensor(batch.targets_B, device=outputs.device))


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.regression.report_page import KIND

    return KIND
