"""Score texts in onnxruntime, in fp32: where the processor lacks the C++ part's instructions, and without torch.

The graph is that of model/onnx_graph.py, built in memory from the model's weights; no file is written. It is packed:
texts of all lengths go together, and only attention sees their padding.

Shapes: N texts, B texts of a batch, L tokens of the longest, M marks of the text with most, O outputs of the head.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filbert.model.head import Head
from filbert.model.native_encoder import processors
from filbert.model.onnx_graph import IDS, MASK, NUMBERS, OUTPUT, ROWS, SEGMENTS, BertGraph, bert_graph
from filbert.model.packing import by_budget, scored
from filbert.records import Features, FloatArray

if TYPE_CHECKING:
    from filbert.inference.model import Model

TOKENS = 2048  # of a batch, at most, except for a single longer text: attention holds L × L numbers of every head
STEP = 32  # tokens: softmax adds up 32 numbers at a time, so that a text has the same bits in any company

Feed = dict[str, npt.NDArray[np.int64]]
Run = Callable[[Feed], npt.NDArray[np.float32]]


@cache
def installed(package: str) -> bool:
    """Return whether a package is installed, without importing it.

    >>> installed("numpy")
    True
    """
    return importlib.util.find_spec(package) is not None


class GraphScorer:
    """A scorer of the graph's inputs and output, whatever runs it: `run` takes a feed and returns the output.

    Texts are padded to a multiple of `step` tokens.
    """

    def __init__(self, head: Head, run: Run, step: int = 1) -> None:
        self.run, self._head, self._step = run, head, step

    def outputs(
        self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None
    ) -> FloatArray | list[FloatArray]:
        """Return the head's outputs for each text; `done` is called with the number of texts scored."""
        found: list[FloatArray] = [np.empty(0)] * len(features)
        ready = 0
        lengths = [len(each) for each in features]
        groups = by_budget(lengths, TOKENS)
        for chosen, rows in scored(groups, lambda part: self.run(feed_of([features[i] for i in part], self._step))):
            given = [features[i] for i in chosen]
            for i, row, each in zip(chosen, rows, given, strict=True):
                found[i] = np.asarray(row[: self._rows(each)] if self._rows(each) else row, dtype=np.float64)
            ready += len(chosen)
            done(ready)
        return np.array(found).reshape(len(found), self._head.width) if self._head.one_row else found

    def _rows(self, text: Features) -> int:
        """Return how many rows of outputs a text has: its marks or tokens; 0 where it has one and no list of them."""
        if self._head.one_row:
            return 0
        return len(text) if text.marks is None else len(text.marks)


class OnnxScorer(GraphScorer):
    """Encoder and head in onnxruntime, on a CPU; within 1e-5 of torch. Calls may come from several threads.

    >>> OnnxScorer(open_model("runs/reviews")).outputs(features).shape  # doctest: +SKIP
    (2, 3)
    """

    def __init__(self, model: Model) -> None:
        session = session_of(bert_graph(model.config, model.weights, model.head, model.arrays, packed=True))
        super().__init__(model.head, lambda feed: session.run([OUTPUT], feed)[0], STEP)


def session_of(graph: BertGraph) -> Any:
    """Return an onnxruntime session of a graph whose weights stay where they are."""
    from onnxruntime import OrtValue

    weights = {name: OrtValue.ortvalue_from_numpy(array) for name, array in graph.weights().items()}
    options = session_options()
    options.add_external_initializers([*weights], [*weights.values()])
    return session_of_file(b"".join(graph.file(apart=True)), options)


def session_options() -> Any:
    """Return onnxruntime's options as Filbert sets them."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = processors()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # shapes change from batch to batch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as OMP_WAIT_POLICY=PASSIVE
    return options


def session_of_file(file: str | bytes, options: Any = None) -> Any:
    """Return an onnxruntime session of a file, by its path or as its bytes."""
    from onnxruntime import InferenceSession

    return InferenceSession(file, options or session_options(), providers=["CPUExecutionProvider"])


def feed_of(features: Sequence[Features], step: int = 1) -> Feed:
    """Return the inputs of the graph for texts, padded to the longest of them, rounded up to a multiple of `step`.

    >>> feed_of([Features(np.array([2, 3]), np.array([0, 0]))])["attention_mask"].tolist()
    [[1, 1]]
    """
    shape = len(features), -(-max(map(len, features)) // step) * step
    feed: Feed = {name: np.zeros(shape, np.int64) for name in (IDS, MASK, SEGMENTS)}
    for b, each in enumerate(features):
        rows = b, slice(len(each))
        feed[IDS][rows], feed[MASK][rows], feed[SEGMENTS][rows] = each.ids, 1, each.segments
    counts = [0 if each.marks is None else len(each.marks) for each in features]
    if max(counts):
        marks = len(counts), max(counts)
        feed |= {ROWS: np.full(marks, -1, np.int64), NUMBERS: np.zeros(marks, np.int64)}
        for b, (each, count) in enumerate(zip(features, counts, strict=True)):
            feed[ROWS][b, :count] = () if each.marks is None else each.marks
            feed[NUMBERS][b, :count] = each.marked + np.arange(count)
    return feed
