"""Ordinal grades, A < B < C < D: a whole task as docs/how-it-works.md explains it, name by name.

The head asks one question less than there are grades, "is the grade above A?", "above B?", …; the sum of the answers'
probabilities is the expected grade, counted from 0 (Frank & Hall 2001; Li & Lin 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from filbert.model.head import Head
from filbert.records import Encoding, Features, PackedBatch
from filbert.report.kind import Kind
from filbert.tasks.asking import asked as asked
from filbert.tasks.framing import framed
from filbert.tasks.task import averaged as averaged
from filbert.tasks.task import prior as prior
from filbert.tasks.task import rule as rule
from filbert.tasks.task import settle_pieces as settle_pieces
from filbert.text.tokenizer import Tokenizer
from ordinal_grades.outputs import answered as answered
from ordinal_grades.outputs import baseline as baseline
from ordinal_grades.outputs import calibrate as calibrate
from ordinal_grades.outputs import columns as columns
from ordinal_grades.outputs import compare as compare
from ordinal_grades.outputs import constant as constant
from ordinal_grades.outputs import decode as decode
from ordinal_grades.outputs import doubts as doubts
from ordinal_grades.outputs import empty as empty
from ordinal_grades.outputs import errors as errors
from ordinal_grades.outputs import hub as hub
from ordinal_grades.outputs import mistakes as mistakes
from ordinal_grades.outputs import quantities as quantities
from ordinal_grades.outputs import row as row
from ordinal_grades.outputs import score as score
from ordinal_grades.outputs import show as show
from ordinal_grades.outputs import soften as soften
from ordinal_grades.outputs import sureness as sureness
from ordinal_grades.outputs import tally as tally
from ordinal_grades.outputs import validate as validate
from ordinal_grades.settings import Settings
from ordinal_grades.settings import balanced as balanced
from ordinal_grades.settings import claim as claim
from ordinal_grades.settings import classes as classes
from ordinal_grades.settings import described as described
from ordinal_grades.settings import read as read
from ordinal_grades.settings import reopen as reopen
from ordinal_grades.settings import saved as saved
from ordinal_grades.settings import settle as settle
from ordinal_grades.settings import strata as strata
from ordinal_grades.settings import target_of as target_of
from ordinal_grades.settings import unknown as unknown

if TYPE_CHECKING:
    from torch import Tensor

NAME = "ordinal"
EXAMPLE = "text"
TARGET = "grade"
HUB = ("BertForSequenceClassification", "text-classification")
WINDOWS = False
LONG = "a grade is read off one window"
PLAIN = """\
text = tokenizer.encode(*sys.argv[1:])
level = (1 / (1 + np.exp(-logits(text.ids, text.type_ids)))).sum()
print(told["settings"]["labels"][int(level + 0.5)])
"""
BALANCE = "the questions of grades overlap, and have no classes to weigh"
ABSTAIN = ""
FEW_SHOT = "grades are more than equal or not"
UNKNOWN = "a grade lies between others, so that no text is of none of them"
DISTIL = ""
BLEND = "the linear model names a grade, where the head answers a question for each"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the text, or two, in one window, and for each question whether the grade is above."""
    above_Q = None
    if target is not None:
        above_Q = (np.arange(len(settings.labels) - 1) < settings.labels.index(target)).astype(np.float32)
    return [framed(encodings, tokenizer, length, above_Q)]


def head(settings: Settings) -> Head:
    """Return pooler and one linear layer on [CLS], with an output for each question."""
    return Head(outputs=len(settings.labels) - 1)


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the summed binary cross-entropy of the questions."""
    import torch

    from ordinal_grades.objective import binary_cross_entropy

    return binary_cross_entropy(outputs, torch.as_tensor(batch.targets_B, device=outputs.device))


def page() -> Kind:
    """Return the page and the model card."""
    from ordinal_grades.report_page import KIND

    return KIND
