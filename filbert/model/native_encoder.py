"""BERT's encoder in C++ (native/scoring/encoder.cpp), for scoring in int8, bf16 or fp32 without torch.

    ids, positions, segments, starts → hidden_TD, or hidden_BD of the first tokens

For processors with AVX-512 VNNI and bf16. `encode_readable` in quantized.py is the definition of int8 and bf16, and
`Encoder` that of fp32; tests compare them. The same text gets the same bits in any batch.

Shapes: T tokens in the batch, B texts, D hidden width, N × K a weight's outputs × inputs.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert import native
from filbert.config import EncoderConfig
from filbert.errors import ConfigError, ModelError
from filbert.records import IntArray

PART, INTERFACE = "_native", 4  # the C++ library, and the number that its `filbert_supported` returns
PRECISIONS = {"int8": 0, "bf16": 1, "fp32": 2}
Array = npt.NDArray[np.float32]


@cache
def library() -> ctypes.CDLL | None:
    """Return the C++ library, or None where it was not built or the processor lacks the instructions."""
    found = native.library(PART, "filbert_supported", INTERFACE)
    if found is not None:
        found.filbert_new.restype = ctypes.c_void_p
    return found


def unsupported(config: EncoderConfig) -> str | None:
    """Return why a model cannot run in C++ here, or None where it can."""
    if native.built(PART) is None:
        return "the C++ part of Filbert was not built at installation (it takes gcc 10 or clang 9, on x86-64)"
    if library() is None:
        return "this processor has no AVX-512 with VNNI and bf16"
    head = config.hidden // config.heads
    if config.hidden % 64 or config.intermediate % 64 or head % 32:
        return (
            f"layers must be multiples of 64 wide and heads of 32, and they are {config.hidden}, "
            f"{config.intermediate} and {head}"
        )
    return None


def processors() -> int:
    """Return the number of threads: OMP_NUM_THREADS, as for torch, else the processors of this process."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NativeEncoder:
    """An encoder in C++, on a CPU; it never trains.

    `weights` are those of `Encoder`, under its names. Those of the layers are copied and rounded, the embeddings are
    not copied. In int8 and bf16 it caches 6 · D bytes for each distinct token (first_layer.h), for MiniLM 70 MB at
    most. With a `head`, pooler and classifier under their names, it returns logits, too. Calls from several threads run
    one after another. Raises ConfigError with the reason of `unsupported`, ModelError for weights that are not finite.

    >>> NativeEncoder(config, weights)(ids_T, positions_T, segments_T, starts_B).shape  # doctest: +SKIP
    (7, 384)
    """

    def __init__(
        self,
        config: EncoderConfig,
        weights: Mapping[str, npt.NDArray[Any]],
        precision: str = "int8",
        threads: int | None = None,
        *,
        head: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        self.config, self.classes = config, 0
        if reason := unsupported(config):
            raise ConfigError(f"{precision} is not available: {reason} — use --precision fp32")
        found = library()
        assert found is not None
        self._native, self._lock, kind = found, threading.Lock(), PRECISIONS[precision]
        shape = (config.layers, config.hidden, config.heads, config.intermediate, ctypes.c_float(config.norm_eps))
        self._handle = ctypes.c_void_p(found.filbert_new(*shape, int(precision == "fp32"), threads or processors()))
        _check_memory(bool(self._handle))
        # not at the end of the process, when a thread may still use it
        weakref.finalize(self, found.filbert_free, self._handle).atexit = False

        def get(name: str) -> Array:
            return _floats(weights[name])

        self._tables = [get(f"embeddings.{table}.weight") for table in ("token", "position", "segment")]
        norm = [get(f"embeddings.norm.{each}") for each in ("weight", "bias")]
        counts = np.array([len(table) for table in self._tables], dtype=np.int32)
        _check_memory(found.filbert_embeddings(self._handle, *map(_address, (*self._tables, counts, *norm))))
        for number in range(config.layers):
            for part, name in enumerate(("qkv", "out", "up", "down")):
                weight_NK, bias_N = (get(f"layers.{number}.{name}.{each}") for each in ("weight", "bias"))
                place = (self._handle, number, part, _address(weight_NK), _address(bias_N))
                _check_memory(found.filbert_linear(*place, *weight_NK.shape, kind))
            for part, name in enumerate(("attention_norm", "norm")):
                weight_D, bias_D = (get(f"layers.{number}.{name}.{each}") for each in ("weight", "bias"))
                _check_memory(
                    found.filbert_norm(self._handle, number, part, *map(_address, (weight_D, bias_D)), len(weight_D))
                )

        if head is not None:
            parts = [
                _floats(head[f"{name}.{each}"]) for name in ("pooler", "classifier") for each in ("weight", "bias")
            ]
            self.classes = len(parts[-1])
            _check_memory(found.filbert_head(self._handle, *map(_address, parts), self.classes))

    def logits(self, ids_T: IntArray, positions_T: IntArray, segments_T: IntArray, starts_B: IntArray) -> Array:
        """Return logits_BC, for the same arguments as a call."""
        return self._run((ids_T, positions_T, segments_T), starts_B, 2, (len(starts_B) - 1, self.classes))

    def __call__(
        self,
        ids_T: IntArray,
        positions_T: IntArray,
        segments_T: IntArray,
        starts_B: IntArray,
        *,
        first_only: bool = False,
    ) -> Array:
        """Return hidden_TD, or hidden_BD of the [CLS] tokens; text b is `ids_T[starts_B[b]:starts_B[b + 1]]`."""
        rows = len(starts_B) - 1 if first_only else int(starts_B[-1])
        return self._run((ids_T, positions_T, segments_T), starts_B, int(first_only), (rows, self.config.hidden))

    def _run(self, given: Sequence[IntArray], starts_B: IntArray, wanted: int, shape: tuple[int, int]) -> Array:
        tokens, texts = int(starts_B[-1]), len(starts_B) - 1
        packed = [_ints(x[:tokens]) for x in given]
        for array, table in zip(packed, self._tables, strict=True):
            if len(array) != tokens or (len(array) and not 0 <= array.min() <= array.max() < len(table)):
                raise IndexError(f"an id, position or segment is outside its table of {len(table):,} rows")
        if (np.diff(starts_B) < 1).any():
            raise ValueError("a text has no tokens")
        packed.append(_ints(starts_B))
        out = np.empty(shape, dtype=np.float32)
        with self._lock:
            _check_memory(self._native.filbert_run(self._handle, *map(_address, packed), texts, wanted, _address(out)))
        return out


def _check_memory(done: bool | int) -> None:
    if not done:
        raise MemoryError("no memory for the encoder")


def _floats(x: npt.NDArray[Any]) -> Array:
    found = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(found).all():
        raise ModelError("the model has NaN or infinite weights — they are damaged; fit it again")
    return found


def _ints(x: npt.NDArray[Any]) -> IntArray:
    return np.ascontiguousarray(x, dtype=np.int32)


def _address(x: npt.NDArray[Any]) -> ctypes.c_void_p:
    return x.ctypes.data_as(ctypes.c_void_p)
