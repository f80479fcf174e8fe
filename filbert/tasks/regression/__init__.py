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
from filbert.tasks.asking import asked as asked
from filbert.tasks.long_texts import ONE_WINDOW, head_of, windows
from filbert.tasks.regression.outputs import answered as answered
from filbert.tasks.regression.outputs import baseline as baseline
from filbert.tasks.regression.outputs import calibrate as calibrate
from filbert.tasks.regression.outputs import columns as columns
from filbert.tasks.regression.outputs import compare as compare
from filbert.tasks.regression.outputs import constant as constant
from filbert.tasks.regression.outputs import decode as decode
from filbert.tasks.regression.outputs import doubts as doubts
from filbert.tasks.regression.outputs import empty as empty
from filbert.tasks.regression.outputs import errors as errors
from filbert.tasks.regression.outputs import hub as hub
from filbert.tasks.regression.outputs import mistakes as mistakes
from filbert.tasks.regression.outputs import quantities as quantities
from filbert.tasks.regression.outputs import row as row
from filbert.tasks.regression.outputs import score as score
from filbert.tasks.regression.outputs import show as show
from filbert.tasks.regression.outputs import soften as soften
from filbert.tasks.regression.outputs import sureness as sureness
from filbert.tasks.regression.outputs import tally as tally
from filbert.tasks.regression.outputs import validate as validate
from filbert.tasks.regression.settings import Settings
from filbert.tasks.regression.settings import balanced as balanced
from filbert.tasks.regression.settings import claim as claim
from filbert.tasks.regression.settings import classes as classes
from filbert.tasks.regression.settings import described as described
from filbert.tasks.regression.settings import read as read
from filbert.tasks.regression.settings import reopen as reopen
from filbert.tasks.regression.settings import saved as saved
from filbert.tasks.regression.settings import settle as settle
from filbert.tasks.regression.settings import strata as strata
from filbert.tasks.regression.settings import target_of as target_of
from filbert.tasks.regression.settings import unknown as unknown
from filbert.tasks.task import averaged as averaged
from filbert.tasks.task import prior as prior
from filbert.tasks.task import rule as rule
from filbert.tasks.task import settle_pieces as settle_pieces
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

NAME = "regression"
EXAMPLE = "text"
TARGET = "score"
HUB = ("BertForSequenceClassification", "text-classification")
WINDOWS = False
LONG = ""
TRUNCATED = "longer than {length} tokens: the text was truncated"
PLAIN = (
    ONE_WINDOW
    + """\
print(f"{found[0]:.6g}")  # in the unit of the training texts
"""
)
BALANCE = "numbers have no classes to balance"
DISTIL = ""
ABSTAIN = "numbers are near or far, not right or wrong"
FEW_SHOT = "numbers make no pairs of one label"
UNKNOWN = "its answers are numbers, not classes"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"
BLEND = ""


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the text, or two, in its windows, with the number scaled to mean 0 and spread 1."""
    scaled = None if target is None else (target - settings.mean) / settings.spread
    return windows(encodings, scaled, tokenizer, settings.long, length)


def head(settings: Settings) -> Head:
    """Return pooler and one linear layer on [CLS], with the weight of a window where texts are read in several."""
    return head_of(1, settings.long)


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the summed squared error."""
    import torch

    from filbert.tasks.regression.objective import squared_error

    return squared_error(outputs[:, 0], torch.as_tensor(batch.targets_B, device=outputs.device))


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.regression.report_page import KIND

    return KIND
