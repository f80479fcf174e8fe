"""Read `pytorch_model.bin` without running it: a pickle is a program, this interpreter knows what a state dict needs.

It knows 31 of pickle's 68 opcodes, and a dozen names. It builds plain values (a name stays a string, a tensor is its
offset, shape and strides) and calls nothing that the file names; anything else is refused by name. Both formats of
torch.save are read: zip (torch ≥ 1.6) and the older stream. Only convert.py may import this: models are used from
safetensors.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from filbert.errors import ModelError, shown

PICKLE_LIMIT = 1 << 18  # bytes; BERT-large needs 60 kB, and a quarter of a million opcodes take half a second
MARKS = 100  # nested; a state dict has 4
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

_DICT, _TENSOR, _PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
DTYPES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
}
_GLOBALS = {_DICT, _TENSOR, _PARAMETER, *DTYPES}
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS_AND_TEXT = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Global:
    """A name in the file; never imported, only compared."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """An array of numbers elsewhere in the file."""

    key: str
    dtype: torch.dtype
    count: int

    @property
    def size(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _View:
    """A tensor: offset, shape and strides into its storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(ValueError):
    """Why a file is refused; `read_torch_bin` adds the file's name."""


def read_torch_bin(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a file of torch.save, running nothing in it; tied tensors share memory.

    Raises ModelError, naming the file and what it asked for, where it is anything but a plain state dict, or damaged.

    >>> read_torch_bin(Path("bert/pytorch_model.bin"))["bert.pooler.dense.bias"].shape
    torch.Size([768])
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            views, numbers = (_read_zip if zipped else _read_stream)(file, size)
        return {name: _tensor_of(view, numbers[view.storage.key]) for name, view in views.items()}
    except _Refused as e:
        wrong = str(e)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing — copy the whole model folder") from None
    except (IndexError, struct.error, EOFError):
        wrong = "ends too early"
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError) as e:  # RuntimeError: zip features, passwords
        wrong = f"is damaged, or not a file of torch.save ({str(e)[:120]})"
    raise ModelError(f"{path} — {wrong} — use a model with model.safetensors, or download this one again")


def _tensor_of(view: _View, numbers_N: Tensor) -> Tensor:
    # a stride over a single element moves nothing and may be any number: 1 keeps torch's arithmetic small
    strides = [stride if size > 1 else 1 for size, stride in zip(view.shape, view.strides, strict=True)]
    return numbers_N.as_strided(view.shape, strides, view.offset)


# ---- the two formats ----

_Read = tuple[dict[str, _View], dict[str, Tensor]]


def _read_zip(file: BinaryIO, size: int) -> _Read:
    """`NAME/data.pkl` and one record `NAME/data/KEY` for each storage, none compressed."""
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type or info.compress_size != info.file_size for info in records.values()):
            raise _Refused("holds compressed records, which torch.save never writes")
        if sum(info.file_size for info in records.values()) > size:
            raise _Refused("holds records that overlap")
        roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _Refused("is a zip archive without a single data.pkl, not a file of torch.save")
        root = roots[0]
        if root + "byteorder" in records and archive.read(root + "byteorder") != b"little":
            raise _Refused("was written with the other byte order")
        if records[root + "data.pkl"].file_size > PICKLE_LIMIT:
            raise _Refused(f"has a pickle of more than {PICKLE_LIMIT >> 10} kB, too long for a state dict")
        views = _state_dict(_interpret(io.BytesIO(archive.read(root + "data.pkl"))))
        numbers: dict[str, Tensor] = {}
        for storage in _storages(views):
            name = f"{root}data/{storage.key}"
            if name not in records or records[name].file_size != storage.size:
                raise _Refused(f"has no record {shown(name)} of {storage.size} bytes")
            numbers[storage.key] = _numbers(archive.read(name), storage)
    return views, numbers


def _read_stream(file: BinaryIO, size: int) -> _Read:
    """Pickles of magic, protocol, machine, state dict and storage keys; then each storage: its count and numbers."""
    head = io.BytesIO(file.read(PICKLE_LIMIT))
    if _interpret(head) != LEGACY_MAGIC or _interpret(head) != LEGACY_PROTOCOL:
        raise _Refused("is not a file of torch.save")
    machine = _interpret(head)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _Refused("was written with the other byte order")
    views, keys = _state_dict(_interpret(head)), _interpret(head)
    wanted = {storage.key: storage for storage in _storages(views)}
    if not isinstance(keys, list) or len(keys) != len(wanted) or not all(type(key) is str for key in keys):
        raise _Refused("has a list of storages that does not fit its tensors")
    file.seek(head.tell())
    numbers: dict[str, Tensor] = {}
    for key in keys:
        if key not in wanted or key in numbers or struct.unpack("<q", file.read(8))[0] != wanted[key].count:
            raise _Refused(f"has a storage {shown(key)} that does not fit its tensors")
        if wanted[key].size > size - file.tell():
            raise EOFError
        numbers[key] = _numbers(file.read(wanted[key].size), wanted[key])
    return views, numbers


def _numbers(data: bytes, storage: _Storage) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(storage.dtype)


# ---- checks of what the pickle describes ----


def _state_dict(value: object) -> dict[str, _View]:
    if not isinstance(value, dict) or not value:
        raise _Refused(f"holds a {_kind(value)}, not a state dict (a table of names and tensors)")
    for name, view in value.items():
        if not isinstance(view, _View):
            raise _Refused(f"has {shown(name)}, a {_kind(view)}, where a state dict has tensors")
    return value


def _storages(views: dict[str, _View]) -> list[_Storage]:
    found: dict[str, _Storage] = {}
    for view in views.values():
        if found.setdefault(view.storage.key, view.storage) != view.storage:
            raise _Refused(f"describes storage {shown(view.storage.key)} in two ways")
    return list(found.values())


def _storage(value: object) -> _Storage:
    """Check a persistent id: ("storage", class, key, device, count), before torch 1.6 with a None behind it."""
    if not (isinstance(value, tuple) and len(value) in (5, 6) and value[0] == "storage" and value[5:] in ((), (None,))):
        raise _Refused("refers to something that is not a plain storage")
    _, kind, key, _, count = value[:5]
    if not isinstance(kind, _Global) or kind.name not in DTYPES or type(key) is not str:
        raise _Refused("refers to something that is not a plain storage")
    if type(count) is not int or not 0 < count < 1 << 48:
        raise _Refused("has a storage without a proper count of numbers")
    return _Storage(key, DTYPES[kind.name], count)


def _view(args: tuple[Any, ...]) -> _View:
    """Check the arguments of _rebuild_tensor_v2: storage, offset, shape, strides, and what only training needs."""
    if len(args) not in (6, 7) or not isinstance(args[0], _Storage):
        raise _Refused("has a tensor without a storage")
    storage, offset, shape, strides = args[:4]
    if not (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 8):
        raise _Refused("has a tensor without a proper shape")
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise _Refused("has a tensor whose offset, shape and strides are not whole numbers from 0")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if not 0 < math.prod(shape) <= storage.count or last >= storage.count:
        raise _Refused(f"has a tensor of shape {shown(shape)} that reaches beyond its storage of {storage.count:,}")
    return _View(storage, offset, shape, strides)


def _kind(value: object) -> str:
    """Return what kind of value it is, without the value: a hostile one may be endless when printed."""
    return f"reference to {value.name}" if isinstance(value, _Global) else type(value).__name__.lstrip("_")


# ---- the interpreter ----


def _interpret(stream: BinaryIO) -> Any:
    """Return what one pickle describes, as None, bool, int, float, str, tuple, list, dict, _Global and _View."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            return machine.pop()
        machine.step(opcode.name, argument)
    raise EOFError


class _Machine:
    """The stack, the marks in it and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks set aside at each mark
        self.memo: dict[int, Any] = {}
        self.actions: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda version: None,
            "MARK": self._mark,
            "GLOBAL": self._global,
            "EMPTY_DICT": lambda _: self._push({}),
            "EMPTY_LIST": lambda _: self._push([]),
            "TUPLE": lambda _: self._push(tuple(self._since_mark())),
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "APPEND": lambda _: self._extend([self.pop()]),
            "APPENDS": lambda _: self._extend(self._since_mark()),
            "SETITEM": lambda _: self._set([self.pop(), self.pop()][::-1]),
            "SETITEMS": lambda _: self._set(self._since_mark()),
            "BINPERSID": lambda _: self._push(_storage(self.pop())),
            "REDUCE": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
        }

    def step(self, name: str, argument: Any) -> None:
        """Run one opcode, or raise _Refused."""
        if name in _NUMBERS_AND_TEXT:
            self._push(argument)
        elif name in _LITERALS:
            self._push(_LITERALS[name])
        elif name in _TUPLES:
            self._push(tuple([self.pop() for _ in range(_TUPLES[name])][::-1]))
        elif name in self.actions:
            self.actions[name](argument)
        else:
            raise _Refused(f"uses the pickle opcode {name}, which no state dict needs; it was not run")

    def pop(self) -> Any:
        """Remove and return the top of the stack; IndexError where it is empty."""
        return self.stack.pop()

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _mark(self, _: Any) -> None:
        if len(self.below) == MARKS:
            raise _Refused("is nested too deeply for a state dict")
        self.below.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def _global(self, name: str) -> None:
        if name not in _GLOBALS:
            raise _Refused(f"names {shown(name.replace(' ', '.'))}, which no state dict needs; it was not run")
        self._push(_Global(name))

    def _put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def _get(self, number: int) -> None:
        if number not in self.memo:
            raise _Refused("refers to a value that is not in its memo")
        self._push(self.memo[number])

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _Refused(f"appends to a {_kind(self.stack[-1])}")
        self.stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        table, keys = self.stack[-1], values[::2]
        if not isinstance(table, dict) or len(values) % 2 or not all(type(key) is str for key in keys):
            raise _Refused("has a table whose keys are not text")
        table.update(zip(keys, values[1::2], strict=True))

    def _reduce(self) -> None:
        """Build the result where pickle would call a function: three functions are known, others are refused."""
        args, function = self.pop(), self.pop()
        name = function.name if isinstance(function, _Global) else ""
        if name == _DICT and args == ():
            self._push({})
        elif name == _TENSOR and isinstance(args, tuple):
            self._push(_view(args))
        elif name == _PARAMETER and isinstance(args, tuple) and len(args) == 3 and isinstance(args[0], _View):
            self._push(args[0])
        else:
            raise _Refused(f"calls a {_kind(function)} in a way no state dict does; it was not run")

    def _build(self) -> None:
        """Drop the attributes of a state dict (`_metadata`: the version of each module)."""
        attributes = self.pop()
        if not isinstance(self.stack[-1], dict) or not isinstance(attributes, dict):
            raise _Refused(f"sets the state of a {_kind(self.stack[-1])}")
