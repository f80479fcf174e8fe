"""What a task is: the names that each package beside this file has. Nothing else in Filbert knows a task by name.

    cell → parse → settle → features → head → loss → decode → score        and, for people, row, show, page

A task is a module; its settings are a frozen dataclass of its own, which stands in filbert.json. The training loop, the
engine, the commands, the estimators and the report call these names and no others.

Shapes: N texts, W windows of a text, O outputs of the head, B texts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from filbert.errors import Problem
from filbert.model.head import Head
from filbert.records import Encoding, Example, Features, FloatArray, PackedBatch, Prediction
from filbert.report.kind import Kind
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from filbert.linear.baseline import LinearFit

Json = dict[str, Any]
Goal = tuple[float, ...]
Windows = Sequence[Sequence[Features]]
"""`windows[n]` are the windows of text n."""
Outputs = Sequence[Sequence[FloatArray]] | FloatArray
"""What the head gave: `outputs[n][w]` for window w of text n. Where a text is one window, an array N × 1 × O."""


@dataclass(frozen=True)
class Reading:
    """How a task reads the cells of a target column."""

    parse: Callable[[str], Any]
    """Turn a cell into a target; raises Refusal."""
    how: str
    """One line on what was found, for people."""
    notes: Callable[[], Sequence[str]] = field(default=lambda: ())
    """Lines to be said after a pass: what was merged, for instance."""
    locate: Callable[[Any, tuple[str, ...]], Any] | None = None
    """Complete a target by the texts it belongs to, where it speaks of a place in them; raises Refusal."""


@dataclass(frozen=True)
class Claim:
    """Whether a target column looks like a task's: surely, or so that a person has to be asked."""

    sure: bool
    why: str
    """What was seen in the column, as it is said to the person."""


@dataclass(frozen=True)
class Fold:
    """What becomes part of the last layer after training: outputs / divisor + shift."""

    divisor: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Calibrated:
    """What was fitted on the validation texts once the weights were there."""

    settings: Any
    fold: Fold
    facts: Json
    """For the report."""


@dataclass(frozen=True)
class Baseline:
    """What a linear model on the same texts answered."""

    name: str
    """For people: "TF-IDF (words and pairs) + logistic regression"."""
    seconds: float
    """Fitting and predicting, together."""
    predictions: Mapping[str, Sequence[Prediction]]
    """By split."""
    note: str = ""
    """What was left out to stay within memory, or nothing."""
    linear: bool = True
    """Whether it is a linear model; it is called one then."""
    fitted: LinearFit | None = None
    """The linear model with its outputs, where they are of the shape of the head's and can be blended with them."""
    losses: Callable[[Outputs, Sequence[Example]], FloatArray] | None = None
    """The loss of each text for outputs as the head gives them while it trains; where there are `fitted` ones."""


@dataclass(frozen=True)
class Doubt:
    """How far the target given to a text is from what a model says that never saw the text."""

    quality: float
    """0 (surely wrong) to 1: the lowest are looked at first."""
    given: str
    """The target, as a cell of a file has it."""
    suggested: str
    """What the model says instead; the same where it agrees."""
    probability: float | None
    """Of what is suggested, where there is one."""


@dataclass(frozen=True)
class Shown:
    """A prediction for a terminal: the answer, and a bar for each of these shares of 1."""

    answer: str
    bars: Mapping[str, float] = field(default_factory=dict)


def settle_pieces(
    train: Sequence[Example], encodings: Sequence[Sequence[Encoding]], settings: Any
) -> tuple[Any, list[str]]:
    """Return the settings as they are: the verb of a task to which word pieces tell nothing new."""
    return settings, []


def prior(train: Sequence[Example], settings: Any) -> FloatArray | None:
    """Return None: the verb of a task whose last layer starts with biases of 0."""
    return None


def rule(settings: Any) -> tuple[str, Json]:
    """Return nothing: the verb of a task whose answers are plain from their probabilities."""
    return "", {}


def averaged(outputs: Sequence[Outputs], settings: Any) -> Outputs:
    """Return the mean of what several models gave: the verb of a task whose outputs are no probabilities of their own.

    >>> averaged([np.zeros((1, 1, 2)), np.ones((1, 1, 2))], None)
    array([[[0.5, 0.5]]])
    """
    if all(isinstance(each, np.ndarray) for each in outputs):
        return np.asarray(np.mean(np.stack([np.asarray(each) for each in outputs]), axis=0))
    texts = zip(*outputs, strict=True)
    return [[np.mean(np.stack(window), axis=0) for window in zip(*each, strict=True)] for each in texts]


def soften(outputs: Outputs, settings: Any, temperature: float) -> FloatArray:
    """Return nothing: the verb of a task from which no student learns; its DISTIL says why."""
    return np.empty(0)


def answered(prediction: Prediction, settings: Any, random: np.random.Generator | None = None) -> Any:
    """Return nothing: the verb of a task from which no student learns; its DISTIL says why."""
    return None


@dataclass(frozen=True)
class Quantity:
    """A number that an explanation is of: what the head gave for one window, times `factors`, summed."""

    name: str
    """As a person asks for it: a label, "answer", "sentence 2"."""
    meaning: str
    """What the number is, as a noun phrase: "the logit of 'good'"."""
    factors: FloatArray
    """Of the shape of the window's outputs."""
    window: int = 0

    def of(self, outputs: FloatArray) -> float:
        """Return the number for the outputs of the window."""
        return float((np.asarray(outputs, dtype=np.float64) * self.factors).sum())


class Task(Protocol):
    """The names of a task's package; the constants are module constants, the verbs functions."""

    NAME: str
    """As in filbert.json, report.json and `--task`: "single-label"."""
    EXAMPLE: str
    """What one example is called in counts: "text", "question"; where it is a text, two of them are a pair."""
    TARGET: str
    """What the target is called in messages and in the columns of a result: "label"."""
    HUB: tuple[str, str]
    """Its class in `transformers`, and the hub's name for what it does."""
    WINDOWS: bool
    """Whether a long text is read whole, in several windows; else it is cut."""
    LONG: str
    """Why it cannot be chosen how long texts are read, as a sentence; empty where the settings have it as `long`."""
    TRUNCATED: str
    """What is said of a text that was not read to its end, with {length} for the tokens of a window."""
    BALANCE: str
    """Why training cannot be balanced between classes, as a sentence; empty where it can."""
    CASCADE: str
    """Why there is no cascade with a linear model, as a sentence; empty where it can."""
    DISTIL: str
    """Why no student can learn from a model's answers, as a sentence; empty where one can."""
    BLEND: str
    """Why there is no blend with a linear model, as a sentence; empty where it can: `baseline` gives one `fitted`."""
    ABSTAIN: str
    """Why no answer can be withheld for being unsure, as a sentence; empty where it can: where `errors` are 0 and 1."""
    FEW_SHOT: str
    """Why few texts are not learned from by pairs, as a sentence; empty where they can: a text is one window, and its
    target the number of its class among the outputs."""
    UNKNOWN: str
    """Why no text is told to be of none of the known classes, as a sentence; empty where it can: with one row of the
    head, `classes` of one word and no answer beside them."""

    PLAIN: str
    """The end of the program beside an exported model: with `tokenizer`, `told` (filbert.json) and `logits`, it prints
    the answer to the texts on its command line."""

    # -- from a file to settings --------------------------------------------------------------------------------------

    def claim(self, cells: Sequence[str], names: Sequence[str]) -> Claim | None:
        """Look at a sample of a target column, and the names of the columns: those of the texts, then the target's.

        Return None where it cannot be this task's, or need not be.
        """

    def read(self, cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
        """Say how cells like these are read. Raises DataError where they cannot be this task's targets."""

    def target_of(self, value: Any) -> Any:
        """Return the target of a Python value, as an estimator gets it; raises Refusal."""

    def strata(self, examples: Sequence[Example]) -> Sequence[Hashable]:
        """Return of each text what a split keeps in proportion."""

    def classes(self, examples: Sequence[Example]) -> Sequence[tuple[str, ...]]:
        """Return the classes of each text, in words: its labels; of a number the lower or the upper half; or none.

        They are what a shortcut could give away, and what is counted by class.
        """

    def settle(self, train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Any:
        """Return the settings for these texts. Raises DataError where nothing can be learned from them."""

    def settle_pieces(
        self, train: Sequence[Example], encodings: Sequence[Sequence[Encoding]], settings: Any
    ) -> tuple[Any, list[str]]:
        """Return the settings completed by what word pieces alone tell, and lines on it for people."""

    def reopen(self, info: Json, config: Json) -> Any:
        """Return the settings of a saved model: of filbert.json, or for other people's of config.json; ValueError."""

    def saved(self, settings: Any) -> Json:
        """Return the fields of config.json by which `transformers` knows the task."""

    def unknown(self, examples: Sequence[Example], settings: Any) -> list[Problem]:
        """Return a problem for each kind of target that the model cannot give, with counts."""

    def described(self, splits: Mapping[str, Sequence[Example]], settings: Any) -> tuple[list[str], Json]:
        """Return lines on the targets for people, and the facts for the report."""

    def balanced(self, train: Sequence[Example], settings: Any, how: str) -> tuple[Any, FloatArray | None]:
        """Return settings whose loss weighs by class (how: weights), or each text's chance to be drawn (sampling)."""

    # -- the five verbs -----------------------------------------------------------------------------------------------

    def prior(self, train: Sequence[Example], settings: Any) -> FloatArray | None:
        """Return outputs_O that fit the frequencies of the targets, where the last layer's biases start; None: 0."""

    def features(
        self, encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, settings: Any, length: int
    ) -> list[Features]:
        """Return the windows of one text: ids with special tokens, at most `length` of them, and the numeric target.

        With WINDOWS the encodings have offsets.
        """

    def head(self, settings: Any) -> Head:
        """Return what is read off the encoder."""

    def loss(self, outputs: Tensor, batch: PackedBatch, settings: Any) -> Tensor:
        """Return the loss summed over the batch: the training loop divides by the number of texts."""

    def decode(self, outputs: Outputs, settings: Any, windows: Windows = ()) -> list[Prediction]:
        """Return the predictions of N texts; a task without WINDOWS needs no more than the outputs."""

    def empty(self, error: str) -> Prediction:
        """Return what stands for a text that could not be scored."""

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction], settings: Any) -> Json:
        """Return every figure as {value, low, high}; "n" is the number of texts."""

    # -- around training ----------------------------------------------------------------------------------------------

    def validate(
        self, outputs: Outputs, examples: Sequence[Example], settings: Any, windows: Windows = ()
    ) -> tuple[Goal, dict[str, float]]:
        """Return what validation maximises, compared entry by entry, and figures for the log; quick, no intervals.

        The first figure is what is maximised first, or its negative, so that people see what a step was chosen by.
        """

    def calibrate(
        self, outputs: Outputs, examples: Sequence[Example], settings: Any, windows: Windows = ()
    ) -> Calibrated:
        """Fit what is fitted on the validation texts: temperature, thresholds, the unit of a number."""

    def sureness(self, outputs: Outputs, settings: Any, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
        """Return the numbers people read, N × K on a scale of 0 to 1, and how far each answer is from another one."""

    def baseline(
        self, train: Sequence[Example], asked: Mapping[str, Sequence[Example]], settings: Any
    ) -> Baseline | None:
        """Fit a linear model on the training texts and answer each split with it."""

    def constant(self, train: Sequence[Example], count: int, settings: Any) -> tuple[list[Prediction], float | None]:
        """Return the best answer for `count` texts that are not read, the same for each, and its training loss.

        No answer where there is none, and None where the loss is not known.
        """

    def compare(
        self, examples: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction], settings: Any
    ) -> Json:
        """Return the difference in the main figure, {value, low, high}, on the same texts."""

    def errors(
        self, examples: Sequence[Example], predictions: Sequence[Prediction], settings: Any
    ) -> tuple[str, FloatArray]:
        """Return what the error of an answer is called, and errors_N: 0 or 1 where an answer is right or wrong."""

    def mistakes(self, examples: Sequence[Example], predictions: Sequence[Prediction], settings: Any) -> list[Json]:
        """Return the worst answers, worst first, as the report stores them."""

    def doubts(self, examples: Sequence[Example], predictions: Sequence[Prediction], settings: Any) -> list[Doubt]:
        """Return for each text how doubtful its target is, by the prediction of a model that never saw it.

        Nothing at all where a target is not right or wrong, as a summary.
        """

    def averaged(self, outputs: Sequence[Outputs], settings: Any) -> Outputs:
        """Return outputs that are decoded into the mean of several models' answers to the same windows."""

    def soften(self, outputs: Outputs, settings: Any, temperature: float) -> FloatArray:
        """Return what a student learns of each text: a target that `loss` takes for outputs divided by `temperature`.

        A row of probabilities, or a number (Hinton et al. 2015).
        """

    def answered(self, prediction: Prediction, settings: Any, random: np.random.Generator | None = None) -> Any:
        """Return an answer as a target; with `random` one that is drawn by the probabilities."""

    # -- for people and programs --------------------------------------------------------------------------------------

    def columns(self, settings: Any) -> dict[str, str]:
        """Return the result columns and their types: string, float, bool."""

    def row(self, prediction: Prediction, settings: Any) -> Json:
        """Return the cells of these columns: the same ones in CSV, JSON lines, HTTP and the estimators."""

    def asked(self, value: Any) -> tuple[str, ...]:
        """Return the inputs that one item of a request's JSON holds; raises Refusal."""

    def hub(self, prediction: Prediction, settings: Any, outputs: FloatArray | None = None) -> Any:
        """Return what the hub's inference API answers to one item: an object, or a list of one for each item.

        With `outputs`, those of the head for the item's only window, they take the place of probabilities.
        """

    def show(self, prediction: Prediction, settings: Any) -> Shown:
        """Return a prediction for a terminal."""

    def rule(self, settings: Any) -> tuple[str, Json]:
        """Return by what an answer is chosen beside its probability, as thresholds: a line for people, and as JSON.

        Nothing where there is nothing to say.
        """

    def tally(self, prediction: Prediction) -> Sequence[str]:
        """Return what to count over many predictions: the label, the labels; nothing for a number."""

    def quantities(self, outputs: Sequence[FloatArray], settings: Any, windows: Sequence[Features]) -> list[Quantity]:
        """Return what can be explained of the answer to one text, the answer itself first; `outputs[w]` of window w.

        An empty list where no sum of outputs decides.
        """

    def page(self) -> Kind:
        """Return how a run is reported."""
