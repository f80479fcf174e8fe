"""BERT with a head as an ONNX graph, of the same weights as Network (network.py); a test compares them.

    input_ids, attention_mask, token_type_ids  (B × L; with marks also mark_rows, mark_places: B × M)  →  logits

The inputs are named as in `transformers`, and texts are padded as there. A `packed` graph takes the tokens out of the
padding at once, and puts them back for attention alone: all products are of real tokens. `first` and `mean` give
logits_BO, `tokens` logits_BLO, `marks` logits_BMO.

In int8 each 32 weights that are summed have a scale of their own, and so have the inputs that onnxruntime rounds to
multiply them: with one scale for the inputs of a batch, as onnxruntime quantises by itself, a probability changed by
0.19. Word embeddings and the weights of queries, keys and values are fp16, computed in fp32: int8 harms those most.

Shapes: B texts, L tokens of the longest, T tokens of all, M marks of the text with most, D hidden width, H heads of
width E, O outputs; of a weight N outputs, K inputs, G groups of 32 inputs. Where it is packed, hidden_BLD is hidden_TD
until a head needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.config import EncoderConfig
from filbert.model.head import PLACES, Head
from filbert.model.numpy_head import sinusoids
from filbert.model.onnx_file import Axis, Buffer, Graph

IDS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"
ROWS, NUMBERS = "mark_rows", "mark_places"  # of each mark: its row in the window, or -1; its number in the text
OUTPUT = "logits"
FAR = -1e9  # added to the scores of padding: e^FAR is 0
GROUP = 32  # weights that share a scale in int8
IN_INT8 = (".out", ".up", ".down")  # products
FLOAT = 1  # the number of fp32 in ONNX

Array = npt.NDArray[Any]


@dataclass
class BertGraph:
    """The graph of a model, and its inputs and output with their shapes.

    >>> graph = bert_graph(model.config, model.weights, model.head, model.arrays)  # doctest: +SKIP
    >>> graph.outputs  # doctest: +SKIP
    {'logits': ('batch', 2)}
    """

    inputs: dict[str, Sequence[Axis]]
    outputs: dict[str, Sequence[Axis]]
    graph: Graph = field(default_factory=Graph)

    def file(self, *, apart: bool = False) -> list[Buffer]:
        """Return the model's file in pieces; `apart`: without the values of its weights."""
        weights = self.weights() if apart else {}
        return self.graph.model(self.inputs, self.outputs, apart=[*weights])

    def weights(self) -> dict[str, Array]:
        """Return the weights of the graph: all constants but the small ones."""
        return {name: array for name, array in self.graph.constants.items() if array.size >= 64}


def bert_graph(
    config: EncoderConfig,
    weights: Mapping[str, Array],
    head: Head,
    arrays: Mapping[str, Array],
    *,
    int8: bool = False,
    packed: bool = False,
) -> BertGraph:
    """Return the graph of an encoder's weights and a head's, both under our names; `int8`: those of its layers."""
    texts: Sequence[Axis] = ("batch", "length")
    inputs = {IDS: texts, MASK: texts, SEGMENTS: texts}
    if head.rows == "marks":
        inputs |= {ROWS: ("batch", "marks"), NUMBERS: ("batch", "marks")}
    rows: Sequence[Axis] = {"tokens": ("length",), "marks": ("marks",)}.get(head.rows, ())
    made = BertGraph(inputs, {OUTPUT: ("batch", *rows, head.width)})
    _Builder(made.graph, config, {**weights, **head.joined(arrays)}, int8=int8, packed=packed).build(head)
    return made


def grouped(weight_NK: Array) -> tuple[Array, Array]:
    """Round each 32 weights of an output to whole numbers from 1 to 255, of which 128 is 0 → q_NG32, scales (N · G).

    >>> q_NG32, scales = grouped(np.array([[0.5, -1.0, 0.25]], np.float32))
    >>> q_NG32[0, 0, :4].tolist(), (scales * 127).tolist()
    ([192, 1, 160, 128], [1.0])
    """
    outputs, inputs = weight_NK.shape
    weight_NG32 = np.pad(weight_NK, ((0, 0), (0, -inputs % GROUP))).reshape(outputs, -1, GROUP)
    scale_NG1 = np.maximum(np.abs(weight_NG32).max(axis=-1, keepdims=True), 1e-20) / 127
    return (np.round(weight_NG32 / scale_NG1) + 128).astype(np.uint8), scale_NG1.astype(np.float32).reshape(-1)


class _Builder:
    """Adds the parts of a model to a graph, one after the other."""

    def __init__(
        self, graph: Graph, config: EncoderConfig, weights: Mapping[str, Array], *, int8: bool, packed: bool
    ) -> None:
        self.graph, self.config, self.weights, self.int8 = graph, config, weights, int8
        self.places_T, self.token_BL = self._places() if packed else ("", "")

    def build(self, head: Head) -> None:
        """Add the model."""
        hidden_BLD, unseen_B11L = self._embedded(), self._unseen(self._as_float(MASK))
        rows = self._rows(head)
        for i in range(self.config.layers):
            last = i == self.config.layers - 1
            hidden_BLD = self._layer(f"layers.{i}", hidden_BLD, unseen_B11L, rows if last else None)
        if rows is None:
            hidden_BLD = self._spread(hidden_BLD)
        self.places_T = ""  # from here on nothing is packed
        if head.rows == "mean":
            hidden_BLD = self._mean(hidden_BLD)
        if head.layers:
            hidden_BLD = self._between(head, hidden_BLD)
        if head.rows == "first":
            hidden_BLD = self.graph.add("Squeeze", hidden_BLD, self._whole([1]))
        if head.pooled:
            hidden_BLD = self.graph.add("Tanh", self._linear("pooler", hidden_BLD))
        if head.last:
            hidden_BLD = self._linear("last", hidden_BLD)
        self.graph.add("Identity", hidden_BLD, name=OUTPUT)

    def _places(self) -> tuple[str, str]:
        """Return the places of the tokens among those of the padded texts, and the token of each place, B × L."""
        add, flat = self.graph.add, self._whole([-1])
        mask = add("Reshape", MASK, flat)
        places_T = add("Squeeze", add("NonZero", mask), self._whole([0]))
        number = add("Sub", add("CumSum", mask, self._whole(0)), self._whole(1))
        return places_T, add("Reshape", add("Max", number, self._whole(0)), add("Shape", IDS))

    def _packed(self, x_BL: str, *more: int) -> str:
        """Return what stands at the tokens, without the padding; `more` are the sizes of what stands at each."""
        if not self.places_T:
            return x_BL
        return self.graph.add("Gather", self.graph.add("Reshape", x_BL, self._whole([-1, *more])), self.places_T)

    def _spread(self, x_TD: str) -> str:
        """Return packed vectors in their padded places, where padding has those of some token."""
        return self.graph.add("Gather", x_TD, self.token_BL) if self.places_T else x_TD

    def _embedded(self) -> str:
        """Return hidden_BLD before the first layer: the sum of three embeddings."""
        add = self.graph.add
        table = self._constant(self.weights["embeddings.token.weight"], "embeddings.token.weight", half=self.int8)
        token = add("Gather", table, self._packed(IDS))
        if self.int8:
            token = add("Cast", token, to=FLOAT)
        segment = add("Gather", self._weight("embeddings.segment.weight"), self._packed(SEGMENTS))
        length = add("Slice", add("Shape", IDS), self._whole([1]), self._whole([2]))
        table = self._weight("embeddings.position.weight")
        if self.places_T:
            position = add("Gather", table, add("Mod", self.places_T, length))
        else:
            position = add("Slice", table, self._whole([0]), length, self._whole([0]))
        return self._norm("embeddings.norm", add("Add", add("Add", token, segment), position))

    def _rows(self, head: Head) -> str | None:
        """Return the rows that the last layer is computed for, B × 1 or B × M; None for all."""
        if head.rows == "first":
            return "first"
        return self.graph.add("Max", ROWS, self._whole(0)) if head.rows == "marks" else None

    def _layer(self, name: str, hidden_BLD: str, unseen_B11L: str, rows: str | None = None) -> str:
        """Return hidden_BLD after a Transformer layer; with `rows` these alone."""
        add, width = self.graph.add, self.config.hidden
        if rows is None:
            chosen = hidden_BLD
            qkv = self._spread(self._linear(f"{name}.qkv", hidden_BLD))
            q, k, v = self.graph.split("Split", qkv, count=3, axis=-1)
        else:
            chosen = self._chosen(hidden_BLD, rows)
            q = self._linear(f"{name}.qkv", chosen, slice(0, width))
            parts = (self._linear(f"{name}.qkv", hidden_BLD, slice(i * width, (i + 1) * width)) for i in (1, 2))
            k, v = map(self._spread, parts)
        context = self._attended(q, k, v, unseen_B11L)
        if rows is None:
            context = self._packed(context, width)
        middle = self._norm(f"{name}.attention_norm", add("Add", self._linear(f"{name}.out", context), chosen))
        inner = self._gelu(self._linear(f"{name}.up", middle))
        return self._norm(f"{name}.norm", add("Add", self._linear(f"{name}.down", inner), middle))

    def _chosen(self, hidden_BLD: str, rows: str) -> str:
        """Return the first row of each text, or the rows of its marks."""
        if rows == "first" and self.places_T:
            first = self.graph.add("Slice", self.token_BL, self._whole([0]), self._whole([1]), self._whole([1]))
            return self.graph.add("Gather", hidden_BLD, first)
        hidden_BLD = self._spread(hidden_BLD)
        if rows == "first":
            return self.graph.add("Slice", hidden_BLD, self._whole([0]), self._whole([1]), self._whole([1]))
        each = self.graph.add("Unsqueeze", rows, self._whole([2]))
        return self.graph.add("GatherND", hidden_BLD, each, batch_dims=1)

    def _attended(self, q: str, k: str, v: str, unseen_B11L: str) -> str:
        """Return softmax(QKᵀ/√E)V of each head, side by side again."""
        add, heads = self.graph.add, self.config.heads
        apart = self._whole([0, 0, heads, self.config.hidden // heads])
        q = add("Mul", q, self.graph.constant(np.float32((self.config.hidden // heads) ** -0.5)))
        q, k, v = (
            add("Transpose", add("Reshape", x, apart), perm=order)
            for x, order in ((q, (0, 2, 1, 3)), (k, (0, 2, 3, 1)), (v, (0, 2, 1, 3)))
        )
        weights = add("Softmax", add("Add", add("MatMul", q, k), unseen_B11L), axis=-1)
        context = add("Transpose", add("MatMul", weights, v), perm=(0, 2, 1, 3))
        return add("Reshape", context, self._whole([0, 0, self.config.hidden]))

    def _mean(self, hidden_BLD: str) -> str:
        """Return the mean of each text's tokens, B × D."""
        add, mask = self.graph.add, self._as_float(MASK)
        seen = add("Mul", hidden_BLD, add("Unsqueeze", mask, self._whole([2])))
        sums = add("ReduceSum", seen, self._whole([1]), keepdims=0)
        return add("Div", sums, add("ReduceSum", mask, self._whole([1]), keepdims=1))

    def _between(self, head: Head, marked_BMD: str) -> str:
        """Return the marks after the head's own layers, in which those of a window see each other."""
        add = self.graph.add
        table = self.graph.constant(sinusoids(np.arange(PLACES, dtype=np.int32), self.config.hidden), "places")
        places = add("Gather", table, add("Min", NUMBERS, self._whole(PLACES - 1)))
        marked_BMD = add("Add", marked_BMD, places)
        there = add("Cast", add("GreaterOrEqual", ROWS, self._whole(0)), to=FLOAT)
        for i in range(head.layers):
            marked_BMD = self._layer(f"between.{i}", marked_BMD, self._unseen(there))
        return marked_BMD

    def _unseen(self, seen_BL: str) -> str:
        """Return what is added to the scores, B × 1 × 1 × L: 0 where a token is seen, else FAR."""
        add, one = self.graph.add, self.graph.constant(np.float32(1))
        far = add("Mul", add("Sub", one, seen_BL), self.graph.constant(np.float32(FAR)))
        return add("Unsqueeze", far, self._whole([1, 2]))

    def _as_float(self, given: str) -> str:
        return self.graph.add("Cast", given, to=FLOAT)

    def _linear(self, name: str, x: str, part: slice = slice(None)) -> str:
        """Return x Wᵀ + b; `part`: of some of the outputs."""
        suffix = "" if part == slice(None) else f".{part.start}"
        weight_NK, stored = self.weights[f"{name}.weight"][part], f"{name}.weight{suffix}"
        if self.int8 and name.endswith(IN_INT8):
            product = self._product(x, weight_NK, stored)
        else:
            half = self.int8 and name.endswith(".qkv")
            weight = self._constant(np.ascontiguousarray(weight_NK.T), stored, half=half)
            product = self.graph.add("MatMul", x, self.graph.add("Cast", weight, to=FLOAT) if half else weight)
        bias = self.graph.constant(self.weights[f"{name}.bias"][part], f"{name}.bias{suffix}")
        return self.graph.add("Add", product, bias)

    def _product(self, x: str, weight_NK: Array, stored: str) -> str:
        """Return x Wᵀ in int8."""
        outputs, inputs = weight_NK.shape
        q_NG32, scales = grouped(weight_NK)
        given = x, self.graph.constant(q_NG32, stored), self.graph.constant(scales, f"{stored}.scales")
        sizes = {"K": inputs, "N": outputs, "bits": 8, "block_size": GROUP}
        return self.graph.add("com.microsoft.MatMulNBits", *given, accuracy_level=4, **sizes)  # 4: inputs in int8, too

    def _norm(self, name: str, x: str) -> str:
        scale, bias = (self._weight(f"{name}.{kind}") for kind in ("weight", "bias"))
        return self.graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=float(self.config.norm_eps))

    def _gelu(self, x: str) -> str:
        """Return x · (1 + erf(x / √2)) / 2, written as the runtimes know it."""
        add, constant = self.graph.add, self.graph.constant
        erf = add("Erf", add("Div", x, constant(np.float32(2**0.5))))
        return add("Mul", add("Mul", x, add("Add", erf, constant(np.float32(1)))), constant(np.float32(0.5)))

    def _weight(self, name: str) -> str:
        return self._constant(self.weights[name], name)

    def _constant(self, weight: Array, name: str, *, half: bool = False) -> str:
        return self.graph.constant(np.ascontiguousarray(weight, dtype=np.float16 if half else np.float32), name)

    def _whole(self, values: Sequence[int] | int) -> str:
        return self.graph.constant(np.array(values, dtype=np.int64))
