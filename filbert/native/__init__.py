"""Open the C++ libraries of Filbert, which are compiled at installation where there is a compiler.

    scoring/    the encoder for inference                          → filbert._native
    training/   AdamW; the operations between matrix products      → filbert._adamw, _training, _training_fp32
    shared/     headers of both

Each does the same as Python code, which is the fallback where `library` returns None.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache


@cache
def built(name: str) -> str | None:
    """Return the file of a C++ library, or None where it was not built.

    >>> built("_no_such_part") is None
    True
    """
    found = importlib.util.find_spec(f"filbert.{name}")
    return None if found is None else found.origin


@cache
def library(name: str, version: str, interface: int) -> ctypes.CDLL | None:
    """Open a C++ library whose function `version` returns `interface`; None where it was not built or returns another.

    >>> library("_no_such_part", "filbert_supported", 1) is None
    True
    """
    path = built(name)
    if path is None:
        return None
    try:
        native = ctypes.CDLL(path)
        found = getattr(native, version)()
    except (OSError, AttributeError):  # another C++ runtime, or a library of another version
        return None
    return native if found == interface else None
