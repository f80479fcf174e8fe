"""A question and a text: the answer is a piece of the text, or that there is none.

The names of tasks/task.py, in its order: what a column says (settings.py), how a long text is cut (windows.py), which
spans may be the answer (candidates.py), answers, scores and what people see (outputs.py), what is fitted on validation
(fitting.py), the loss (objective.py, which alone needs torch), the baseline, the page and the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from filbert.model.head import Head
from filbert.records import Encoding, Features, PackedBatch
from filbert.report.kind import Kind
from filbert.tasks.question_answering.baseline import baseline as baseline
from filbert.tasks.question_answering.explained import quantities as quantities
from filbert.tasks.question_answering.fitting import calibrate as calibrate
from filbert.tasks.question_answering.fitting import sureness as sureness
from filbert.tasks.question_answering.fitting import validate as validate
from filbert.tasks.question_answering.outputs import asked as asked
from filbert.tasks.question_answering.outputs import columns as columns
from filbert.tasks.question_answering.outputs import compare as compare
from filbert.tasks.question_answering.outputs import constant as constant
from filbert.tasks.question_answering.outputs import decode as decode
from filbert.tasks.question_answering.outputs import doubts as doubts
from filbert.tasks.question_answering.outputs import empty as empty
from filbert.tasks.question_answering.outputs import errors as errors
from filbert.tasks.question_answering.outputs import hub as hub
from filbert.tasks.question_answering.outputs import mistakes as mistakes
from filbert.tasks.question_answering.outputs import row as row
from filbert.tasks.question_answering.outputs import rule as rule
from filbert.tasks.question_answering.outputs import score as score
from filbert.tasks.question_answering.outputs import show as show
from filbert.tasks.question_answering.outputs import tally as tally
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.question_answering.settings import balanced as balanced
from filbert.tasks.question_answering.settings import claim as claim
from filbert.tasks.question_answering.settings import classes as classes
from filbert.tasks.question_answering.settings import described as described
from filbert.tasks.question_answering.settings import read as read
from filbert.tasks.question_answering.settings import reopen as reopen
from filbert.tasks.question_answering.settings import saved as saved
from filbert.tasks.question_answering.settings import settle as settle
from filbert.tasks.question_answering.settings import strata as strata
from filbert.tasks.question_answering.settings import target_of as target_of
from filbert.tasks.question_answering.settings import unknown as unknown
from filbert.tasks.question_answering.windows import QUESTION, windows
from filbert.tasks.question_answering.windows import settle_pieces as settle_pieces
from filbert.tasks.task import answered as answered
from filbert.tasks.task import averaged as averaged
from filbert.tasks.task import prior as prior
from filbert.tasks.task import soften as soften
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

NAME = "question-answering"
EXAMPLE = "question"
TARGET = "answers"
HUB = ("BertForQuestionAnswering", "question-answering")
WINDOWS = True
LONG = "long texts are read whole, in windows, as an answer stands in one place"
TRUNCATED = f"the question is too long: at most its first {QUESTION} tokens were read"
PLAIN = """\
tokenizer.enable_truncation(told["max_length"], strategy="only_second")  # Filbert reads all of a long text, in windows
text = tokenizer.encode(*sys.argv[1:])  # a question, and a text
start, end = logits(text.ids, text.type_ids).T
of_text = [i for i, part in enumerate(text.sequence_ids) if part == 1]
settings = told["settings"]
pairs = [(i, j) for i in of_text for j in of_text if i <= j < i + settings["longest"]]
first, last = max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])
none = start[0] + end[0] - start[first] - end[last] > settings["threshold"]
print("" if none and settings["unanswerable"] else sys.argv[2][text.offsets[first][0] : text.offsets[last][1]])
"""
BALANCE = "answers are no classes to balance"
DISTIL = "its answers are places in a text, which teacher and student cut into different word pieces"
ABSTAIN = ""
FEW_SHOT = "its answer is a place in a text, not a label"
UNKNOWN = "its answer stands in the text that it is given"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"
BLEND = "a linear model of a question and a text finds no place in it"


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the question with each window of the text, and where the answer starts and ends in it."""
    return windows(encodings, target, tokenizer, settings, length)


def head(settings: Settings) -> Head:
    """Return one linear layer on every token: how likely the answer starts there, and ends there."""
    return Head(outputs=2, rows="tokens", pooled=False, last="qa_outputs")


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the cross-entropy of start and end, the mean of both, summed over the windows."""
    import torch

    from filbert.tasks.question_answering.objective import span_loss

    starts_B, targets_B2 = (
        torch.as_tensor(each, device=outputs.device).long() for each in (batch.starts_B, batch.targets_B)
    )
    return span_loss(outputs, starts_B, targets_B2)


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.question_answering.report_page import KIND

    return KIND
