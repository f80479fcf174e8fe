"""Write ONNX without the `onnx` package: nodes and weights → the bytes of a model file.

The file format is protocol buffers (onnx.proto3): a field is its number and wire type in one varint, then a varint,
four bytes, or a length and that many bytes. It is written here because scoring needs no more of `onnx` than this, and
with what that package needs it is 33 MB. Weights are never copied: a model is a list of buffers, to be written one
after the other. A test reads what is written here with `onnx` and its checker.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET, IR = 17, 8  # LayerNormalization came with opset 17, of which IR 8 is
TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float16": 10}  # TensorProto.DataType

Buffer = bytes | memoryview
Axis = str | int  # of a shape: a name where it is dynamic


class Graph:
    """A graph under construction: `add` and `constant` return the names of what they add.

    >>> graph = Graph()
    >>> graph.add("Add", "a", graph.constant(np.float32(1), "one"), name="sum")
    'sum'
    >>> [name for name in graph.constants]
    ['one']
    """

    def __init__(self) -> None:
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self._nodes: list[list[Buffer]] = []
        self._domains = [("", OPSET)]
        self._known: dict[bytes, str] = {}

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output and return its name; "com.microsoft.X" is an operator of onnxruntime's own."""
        return self.split(op, *inputs, count=1, name=name, **attributes)[0]

    def split(self, op: str, *inputs: str, count: int, name: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        name = name or f"{op.rpartition('.')[2]}_{len(self._nodes)}"
        outputs = [name] if count == 1 else [f"{name}_{i}" for i in range(count)]
        domain, _, kind = op.rpartition(".")
        node = [*_texts(1, inputs), *_texts(2, outputs), *_texts(3, [name]), *_texts(4, [kind])]
        if domain:
            node += _texts(7, [domain])
            self._domains += [(domain, 1)] * ((domain, 1) not in self._domains)
        for key, value in attributes.items():
            node += _field(5, _attribute(key, value))
        self._nodes.append(node)
        return outputs

    def constant(self, value: npt.ArrayLike, name: str = "") -> str:
        """Add a weight, or a small constant, which stands in the graph once, and return its name."""
        array = np.asarray(value)
        if name:
            self.constants[name] = array
            return name
        key = str(array.dtype).encode() + str(array.shape).encode() + array.tobytes()
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self.constants[self._known[key]] = array
        return self._known[key]

    def model(
        self,
        inputs: Mapping[str, Sequence[Axis]],
        outputs: Mapping[str, Sequence[Axis]],
        *,
        producer: str = "filbert",
        apart: Sequence[str] = (),
    ) -> list[Buffer]:
        """Return the file of a model with whole-number inputs and fp32 outputs of these shapes, in pieces.

        The values of the constants named in `apart` are left out: the runtime is given them in memory.
        """
        graph: list[Buffer] = []
        for node in self._nodes:
            graph += _field(1, node)
        graph += _texts(2, ["bert"])
        for name, array in self.constants.items():
            graph += _field(5, _tensor(name, array, apart=name in apart))
        for number, kind, values in ((11, "int64", inputs), (12, "float32", outputs)):
            for name, shape in values.items():
                graph += _field(number, [*_texts(1, [name]), *_field(2, _type(kind, shape))])
        model = [*_number(1, IR), *_texts(2, [producer]), *_field(7, graph)]
        for domain, version in self._domains:
            model += _field(8, [*_texts(1, [domain]), *_number(2, version)])
        return model


def _varint(value: int) -> bytes:
    """Return a whole number in seven bits a byte; a negative one as its 64 bits."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(number: int, value: int) -> list[Buffer]:
    return [_varint(number << 3) + _varint(value)]


def _field(number: int, parts: Sequence[Buffer]) -> list[Buffer]:
    """Return a field of bytes, or a message in a message."""
    return [_varint(number << 3 | 2) + _varint(size(parts)), *parts]


def _texts(number: int, values: Sequence[str]) -> list[Buffer]:
    return [piece for value in values for piece in _field(number, [value.encode()])]


def size(parts: Sequence[Buffer]) -> int:
    """Return the bytes of a file in pieces.

    >>> size([b"ab", memoryview(b"c")])
    3
    """
    return sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)


def _attribute(name: str, value: Any) -> list[Buffer]:
    """Return an AttributeProto: a float, a whole number, or several of these."""
    parts = _texts(1, [name])
    if isinstance(value, float):
        return [*parts, _varint(2 << 3 | 5) + struct.pack("<f", value), *_number(20, 1)]
    if isinstance(value, int):
        return [*parts, *_number(3, value), *_number(20, 2)]
    return [*parts, *(piece for each in value for piece in _number(8, each)), *_number(20, 7)]


def _tensor(name: str, array: npt.NDArray[Any], *, apart: bool) -> list[Buffer]:
    """Return a TensorProto; `apart`: without its values, which are said to lie elsewhere."""
    parts = [piece for length in array.shape for piece in _number(1, length)]
    parts += [*_number(2, TYPES[str(array.dtype)]), *_texts(8, [name])]
    if apart:
        return [*parts, *_field(13, [*_texts(1, ["location"]), *_texts(2, ["memory"])]), *_number(14, 1)]
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return [*parts, *_field(9, [memoryview(little.reshape(-1).view(np.uint8).data)])]


def _type(kind: str, shape: Sequence[Axis]) -> list[Buffer]:
    axes: list[Buffer] = []
    for axis in shape:
        axes += _field(1, _texts(2, [axis]) if isinstance(axis, str) else _number(1, axis))
    return _field(1, [*_number(1, TYPES[kind]), *_field(2, axes)])
