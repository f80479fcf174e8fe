"""Several labels a text, or none: topics, emotions, kinds of clause, one yes or no for each label.

The names of tasks/task.py, in its order: what a column says (settings.py), the five verbs and what people see
(outputs.py), the loss (objective.py, which alone needs torch), the page and the card (report_page.py, report_card.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from filbert.model.head import Head
from filbert.records import Encoding, Features, PackedBatch
from filbert.report.kind import Kind
from filbert.tasks.asking import asked as asked
from filbert.tasks.long_texts import ONE_WINDOW, head_of, windows
from filbert.tasks.multi_label.outputs import answered as answered
from filbert.tasks.multi_label.outputs import averaged as averaged
from filbert.tasks.multi_label.outputs import baseline as baseline
from filbert.tasks.multi_label.outputs import calibrate as calibrate
from filbert.tasks.multi_label.outputs import columns as columns
from filbert.tasks.multi_label.outputs import compare as compare
from filbert.tasks.multi_label.outputs import constant as constant
from filbert.tasks.multi_label.outputs import decode as decode
from filbert.tasks.multi_label.outputs import doubts as doubts
from filbert.tasks.multi_label.outputs import empty as empty
from filbert.tasks.multi_label.outputs import errors as errors
from filbert.tasks.multi_label.outputs import flags
from filbert.tasks.multi_label.outputs import hub as hub
from filbert.tasks.multi_label.outputs import mistakes as mistakes
from filbert.tasks.multi_label.outputs import quantities as quantities
from filbert.tasks.multi_label.outputs import row as row
from filbert.tasks.multi_label.outputs import rule as rule
from filbert.tasks.multi_label.outputs import score as score
from filbert.tasks.multi_label.outputs import show as show
from filbert.tasks.multi_label.outputs import soften as soften
from filbert.tasks.multi_label.outputs import sureness as sureness
from filbert.tasks.multi_label.outputs import tally as tally
from filbert.tasks.multi_label.outputs import validate as validate
from filbert.tasks.multi_label.settings import Settings
from filbert.tasks.multi_label.settings import balanced as balanced
from filbert.tasks.multi_label.settings import claim as claim
from filbert.tasks.multi_label.settings import classes as classes
from filbert.tasks.multi_label.settings import described as described
from filbert.tasks.multi_label.settings import prior as prior
from filbert.tasks.multi_label.settings import read as read
from filbert.tasks.multi_label.settings import reopen as reopen
from filbert.tasks.multi_label.settings import saved as saved
from filbert.tasks.multi_label.settings import settle as settle
from filbert.tasks.multi_label.settings import strata as strata
from filbert.tasks.multi_label.settings import target_of as target_of
from filbert.tasks.multi_label.settings import unknown as unknown
from filbert.tasks.task import settle_pieces as settle_pieces
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

NAME = "multi-label"
EXAMPLE = "text"
TARGET = "labels"
HUB = ("BertForSequenceClassification", "text-classification")
WINDOWS = False
LONG = ""
TRUNCATED = "longer than {length} tokens: the text was truncated"
BALANCE = ""
ABSTAIN = ""
DISTIL = ""
PLAIN = (
    ONE_WINDOW
    + """\
labels, thresholds = told["settings"]["labels"], told["settings"]["thresholds"]
probabilities = 1 / (1 + np.exp(-found))
for label, probability, threshold in zip(labels, probabilities, thresholds or [0.5] * len(labels)):
    print(f"{label}\\t{probability:.6f}" + ("\\tyes" if probability >= threshold else ""))
"""
)
FEW_SHOT = "texts with several labels make no pairs of one label"
UNKNOWN = "a text without any of the labels is an answer of its own"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"
BLEND = ""


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the text, or two, in its windows, with 0 or 1 for each label."""
    flags_L = None if target is None else flags([target], settings)[0].astype(np.float32)
    return windows(encodings, flags_L, tokenizer, settings.long, length)


def head(settings: Settings) -> Head:
    """Return pooler and one linear layer on [CLS], with the weight of a window where texts are read in several."""
    return head_of(len(settings.labels), settings.long)


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the summed binary cross-entropy."""
    import torch

    from filbert.tasks.multi_label.objective import binary_cross_entropy

    return binary_cross_entropy(outputs, torch.as_tensor(batch.targets_B, device=outputs.device), settings.weights)


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.multi_label.report_page import KIND

    return KIND
