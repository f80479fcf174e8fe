"""A summary for each text, made of its own sentences (BertSum: Liu 2019).

The names of tasks/task.py, in its order: what a column says (settings.py), how long a summary is (length.py), the
windows of a document (sentences.py), which sentences are taken (selection.py) and by what they are ranked (signals.py),
the five verbs and what people see (outputs.py), the loss (objective.py, which alone needs torch), the page and the card
(report_page.py, report_card.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from filbert.model.head import Head
from filbert.records import Encoding, Features, PackedBatch
from filbert.report.kind import Kind
from filbert.tasks.asking import asked as asked
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.outputs import baseline as baseline
from filbert.tasks.summarization.outputs import calibrate as calibrate
from filbert.tasks.summarization.outputs import columns as columns
from filbert.tasks.summarization.outputs import compare as compare
from filbert.tasks.summarization.outputs import constant as constant
from filbert.tasks.summarization.outputs import decode as decode
from filbert.tasks.summarization.outputs import doubts as doubts
from filbert.tasks.summarization.outputs import empty as empty
from filbert.tasks.summarization.outputs import errors as errors
from filbert.tasks.summarization.outputs import hub as hub
from filbert.tasks.summarization.outputs import mistakes as mistakes
from filbert.tasks.summarization.outputs import quantities as quantities
from filbert.tasks.summarization.outputs import row as row
from filbert.tasks.summarization.outputs import rule as rule
from filbert.tasks.summarization.outputs import score as score
from filbert.tasks.summarization.outputs import show as show
from filbert.tasks.summarization.outputs import sureness as sureness
from filbert.tasks.summarization.outputs import tally as tally
from filbert.tasks.summarization.outputs import validate as validate
from filbert.tasks.summarization.selection import oracle
from filbert.tasks.summarization.sentences import alone, texts_of, windows_of
from filbert.tasks.summarization.settings import balanced as balanced
from filbert.tasks.summarization.settings import claim as claim
from filbert.tasks.summarization.settings import classes as classes
from filbert.tasks.summarization.settings import described as described
from filbert.tasks.summarization.settings import read as read
from filbert.tasks.summarization.settings import reopen as reopen
from filbert.tasks.summarization.settings import saved as saved
from filbert.tasks.summarization.settings import settle as settle
from filbert.tasks.summarization.settings import strata as strata
from filbert.tasks.summarization.settings import target_of as target_of
from filbert.tasks.summarization.settings import unknown as unknown
from filbert.tasks.task import answered as answered
from filbert.tasks.task import averaged as averaged
from filbert.tasks.task import prior as prior
from filbert.tasks.task import settle_pieces as settle_pieces
from filbert.tasks.task import soften as soften
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

NAME = "summarization"
EXAMPLE = "text"
TARGET = "summary"
HUB = ("BertModel", "summarization")
WINDOWS = True
LONG = "long texts are read whole, in windows, and their sentences ranked together"
TRUNCATED = "a sentence is longer than {length} tokens: its end was not read"
PLAIN = """\
sentences = [tokenizer.encode(sentence) for sentence in sys.argv[1:]]  # of one document; Filbert finds them itself
ids, segments, rows = [], [], []
for number, sentence in enumerate(sentences):
    rows.append(len(ids))  # each has a [CLS] of its own, from which its score is read
    ids += sentence.ids
    segments += [number % 2] * len(sentence.ids)
# BERT's score; where filbert.json has settings.weights, Filbert adds TextRank, place and length to it (signals.py)
scores = logits(ids, segments, mark_rows=rows, mark_places=range(len(rows)))[:, 0]
for sentence, score in zip(sys.argv[1:], scores):
    print(f"{1 / (1 + np.exp(-score)):.6f}\\t{sentence}")
"""
BALANCE = "summaries have no classes to balance"
DISTIL = "its answers are sentences, of which a window of the student holds others than the teacher's"
ABSTAIN = "summaries are more or less like a person's, not right or wrong"
FEW_SHOT = "summaries make no pairs of one label"
UNKNOWN = "its answers are sentences, not classes"
CASCADE = "a linear model answers in BERT's place where each text has one of several classes"
BLEND = "a linear model of a document chooses no sentence of it"


def features(
    encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Settings, length: int
) -> list[Features]:
    """Return the windows of a text, whole sentences each, and for each sentence whether the greedy oracle takes it."""
    (encoding,) = encodings
    if settings.vectors:
        return alone(encoding, tokenizer, length)
    wanted_S = None
    if target is not None:
        _, texts = texts_of(encoding)
        wanted_S = np.zeros(len(texts))
        wanted_S[list(oracle(tuple(texts), target))] = 1.0
    return windows_of(encoding, tokenizer, length, wanted_S)


def head(settings: Settings) -> Head:
    """Return one layer in which the sentences of a window see each other, and one number for each of them.

    Without training there is none: the mean of a sentence's token vectors is what is read.
    """
    if settings.vectors:
        return Head(settings.vectors, "mean", pooled=False, last="")
    return Head(1, "marks", pooled=False, last="inter_sentence.classifier", layers=1)


def loss(outputs: Tensor, batch: PackedBatch, settings: Settings) -> Tensor:
    """Return the binary cross-entropy of the sentences, their mean in each window, summed over the windows."""
    import torch

    from filbert.tasks.summarization.objective import sentence_loss

    assert batch.marks is not None
    counts_B = torch.as_tensor(np.diff(batch.marks.starts_B).astype(np.int64), device=outputs.device)
    return sentence_loss(outputs[:, 0], torch.as_tensor(batch.targets_B, device=outputs.device), counts_B)


def page() -> Kind:
    """Return the page and the model card."""
    from filbert.tasks.summarization.report_page import KIND

    return KIND
