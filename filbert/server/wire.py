"""What the server and a model's process tell each other: msgpack, its length before it, over stdin and stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from filbert.inference.pipes import framed

BYTES, SPECIAL = 4, 3  # of UTF-8 that are counted as a token, and tokens around a text
LARGEST = 1 << 28  # bytes of a message; the length is in the first four bytes, big-endian


class Setup(msgspec.Struct):
    """The first message to a worker: what to open, and how."""

    model: str
    device: str | None = None
    precision: str = "fp32"
    cascade: bool = True
    abstain: float | None = None
    """Share of wrong answers that is allowed; None: as each model was fitted."""
    unknown: float | None = None
    """Share of texts of known classes that may be told unknown, likewise."""


class Ready(msgspec.Struct, tag=True):
    """A worker's first message: the model is open."""

    version: str
    """The first hex digits of the SHA-256 of its manifest."""
    task: str
    kind: str
    """The hub's name of what it does: "text-classification"."""
    texts: int | None
    """How many texts an item has; None where the model does not say."""
    whole: bool
    """Whether long texts are read whole, in windows, and not cut at the model's length."""
    max_length: int
    columns: dict[str, list[Any]]
    """The columns it was trained on, by role."""
    types: dict[str, str]
    """Its result columns and their types."""
    saved: dict[str, Any]
    """What config.json says of the task."""
    fixed: float
    """Seconds that a batch takes however small it is, as measured when the model was opened …"""
    per_token: float
    """… and seconds for each token, as `guessed`, beside them."""
    precision: str = "fp32"


class Refused(msgspec.Struct, tag=True):
    """A worker's only message: the model cannot be opened, or answers otherwise than when it was saved."""

    message: str


class Item(msgspec.Struct, array_like=True):
    """One text, or the texts that belong together."""

    inputs: tuple[str, ...]
    raw: bool = False
    truncate: bool = True


class Answer(msgspec.Struct, array_like=True):
    """What the model says of an item, in every shape that a reply may have; or why it says nothing."""

    error: str = ""
    refused: bool = False
    """Whether the error is the request's, not the model's."""
    hub: Any = None
    row: dict[str, Any] = {}
    shown: str = ""
    bars: dict[str, float] = {}
    truncated: bool = False
    abstained: bool = False
    """Whether the answer is withheld, as the model is not sure enough."""
    unknown: bool = False
    """Whether it is withheld, as the text is of none of the known classes."""


class Batch(msgspec.Struct):
    """Items to be scored together."""

    items: list[Item]


class Answers(msgspec.Struct, tag=True):
    """The answers to a batch, in order, and the seconds it took."""

    answers: list[Answer]
    tokenize: float
    infer: float


Message = Ready | Refused | Answers


def guessed(inputs: Sequence[str]) -> int:
    """Guess how many tokens texts have, by their bytes: without a tokenizer, and quickly.

    >>> guessed(["Not a dull minute."])
    7
    """
    return sum(len(text.encode()) for text in inputs) // BYTES + SPECIAL


def packed(message: msgspec.Struct) -> bytes:
    r"""Return a message as it is written: its length in four bytes, then itself.

    >>> packed(Batch([]))[:4]
    b'\x00\x00\x00\x08'
    """
    return framed(msgspec.msgpack.encode(message))
