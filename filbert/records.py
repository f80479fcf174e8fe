"""The nouns: what a text is called at each step from a file to a prediction.

    Example → Encoding → Features → PackedBatch → Prediction
     readers   tokenizer   task       packing       task

Shapes: T tokens in the batch (all texts end to end, no padding), B texts, C classes, M masked tokens. No torch here:
arrays are numpy until the model takes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from filbert.errors import Place

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

BREAK = "\u2029"  # parts a text that was put together of several: no answer runs across it
UNREADABLE = 0.3  # from this share of [UNK] on a text is said to be beyond the vocabulary


class JsonCell(str):
    """A cell of JSON that is no string: the text it is read as, and `json`, what stood there.

    >>> cell = JsonCell("", "null")
    >>> cell == "", cell.json, JsonCell("1.0").json
    (True, 'null', '1.0')
    """

    json: str

    def __new__(cls, text: str, json: str | None = None) -> JsonCell:
        """Make a cell; of a number both are the same."""
        made = super().__new__(cls, text)
        made.json = text if json is None else json
        return made


@dataclass(frozen=True)
class Example:
    """One row as it stood in its file: its text, or its two; the target as its task reads it; the way back to its line.

    >>> Example(("A man sleeps.", "A man is awake."), "contradiction").text
    'A man sleeps.'
    """

    inputs: tuple[str, ...]
    target: Any = None  # a label, labels, a number, …; None where there is none
    place: Place = field(default_factory=lambda: Place("memory"))
    columns: Mapping[str, str] = field(default_factory=dict)  # the whole row; JsonCell where JSON has no text

    @property
    def text(self) -> str:
        """The first input."""
        return self.inputs[0]


@dataclass(frozen=True)
class Encoding:
    """One text as WordPiece ids, without [CLS] and [SEP]; `offsets` (n × 2) count code points of the original text."""

    ids: IntArray
    offsets: IntArray
    text: str = ""


@dataclass(frozen=True)
class Features:
    """One window of a text, or a text whole, ready for the model: special tokens added, at most the longest length."""

    ids: IntArray
    segments: IntArray
    target: Any = None  # a number, or an array of them; None where there is none
    cut: int = 0  # tokens left out because the text was too long
    source: Encoding | None = None  # of a text in several windows: the whole text …
    begin: int = 0  # … and which of its word pieces stands first in this window
    marks: IntArray | None = None  # rows of this window that are read each for itself: the [CLS] of every sentence …
    marked: int = 0  # … and how many of them the text has before this window
    end: int = 0  # of a text in several windows that are averaged: the word piece after the last of this window
    texts: tuple[str, ...] = ()  # the texts that were given, for a linear model beside the encoder

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Marks:
    """The marked rows of a packed batch: those of text b are `rows_M[starts_B[b]:starts_B[b + 1]]`."""

    rows_M: IntArray
    starts_B: IntArray
    places_M: IntArray  # the number of each in its whole text, of which this may be one window


@dataclass(frozen=True)
class PackedBatch:
    """B texts end to end: text b is `ids_T[starts_B[b]:starts_B[b + 1]]`; the last of the B + 1 starts is T."""

    ids_T: IntArray
    positions_T: IntArray
    segments_T: IntArray
    starts_B: IntArray
    order_B: IntArray  # for each text of the batch, its place in the list that was packed
    targets_B: npt.NDArray[Any] | None = None  # one number a text, or a row of them; with marks a number for each mark
    marks: Marks | None = None
    masked_M: IntArray | None = None  # pre-training: the rows of T to be predicted …
    originals_M: IntArray | None = None  # … and the ids that stood there
    texts_B: IntArray | None = None  # where texts are several windows each: of which of `order_B` each window is


@dataclass(frozen=True)
class Evidence:
    """One of the windows that a long text was read in, and how much it decided."""

    part: int
    """0 in the first text, 1 in the second."""
    start: int
    end: int
    """Where it stands in its text, in code points."""
    weight: float
    """Its share in the mean that is the answer: those of all windows sum to 1."""
    answer: float
    """The weight times what is explained of the answer (a logit, or its lead over the next): they sum to the text's."""

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        rounded = {"weight": round(self.weight, 4), "answer": round(self.answer, 4)}
        return {"text": self.part + 1, "start": self.start, "end": self.end, **rounded}


class Numbers(Sequence[float]):
    """Numbers that read as a tuple of floats and take 8 bytes each, where a tuple takes 32: a row of an array.

    >>> Numbers(np.array([0.25, 0.75])), Numbers(np.array([0.25, 0.75])) == (0.25, 0.75)
    ((0.25, 0.75), True)
    """

    __slots__ = ("_row",)

    def __init__(self, row: FloatArray) -> None:
        self._row = row

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[float, ...]: ...
    def __getitem__(self, place: int | slice) -> float | tuple[float, ...]:
        """Return a number, or a tuple of some."""
        return tuple(self._row[place].tolist()) if isinstance(place, slice) else float(self._row[place])

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self._row)

    def __iter__(self) -> Iterator[float]:
        """Yield them as Python's floats."""
        return iter(self._row.tolist())

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return them as an array of their own."""
        return np.array(self._row, dtype=dtype)

    def __eq__(self, other: object) -> bool:
        """Say whether they are those of another sequence."""
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the tuple."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Return them as a tuple is shown."""
        return repr(tuple(self))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What every task says of a text; each adds its own answer."""

    confidence: float | None = None
    """How probable it is, 0 to 1, that the answer is right; None where the task has no such number, or no answer."""
    truncated: bool = False
    """Whether the text was cut to fit."""
    unk_ratio: float = 0.0
    """Share of its tokens that the vocabulary has no piece for: at 1 nothing of the text was read."""
    by_linear: bool = False
    """Whether the linear model of a cascade answered."""
    abstained: bool = False
    """Whether the confidence is below what the model needs to answer: its answer is then not given."""
    unknown: bool = False
    """Whether the text is of none of the known classes; its answer is then not given."""
    error: str | None = None
    """Why a row could not be scored ("empty_text"); then there is no answer."""
    evidence: tuple[Evidence, ...] = ()
    """Of a text that was read in several windows, whose outputs are averaged: the windows, what decided most first."""

    @property
    def withheld(self) -> bool:
        """Whether there is an answer that is not given."""
        return self.abstained or self.unknown

    @property
    def unreadable(self) -> bool:
        """Whether so much of the text is beyond the vocabulary that the answer means little."""
        return self.unk_ratio >= UNREADABLE
