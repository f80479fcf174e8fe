"""The C++ parts of Filbert, compiled at installation where there is a compiler.

    scoring/    the encoder for inference            → filbert._native
    training/   AdamW; what is between the products  → filbert._adamw, filbert._training, filbert._training_fp32
    shared/     headers of both

Each is a faster equal of Python code, which does the work where `library` returns None.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache


@cache
def built(name: str) -> str | None:
    """Return the file of a C++ part, or None where it was not built.

    >>> built("_no_such_part") is None
    True
    """
    found = importlib.util.find_spec(f"filbert.{name}")
    return None if found is None else found.origin


@cache
def library(name: str, asked: str, interface: int) -> ctypes.CDLL | None:
    """Open a C++ part whose function `asked` says `interface`; None where it was not built or does not say so.

    >>> library("_no_such_part", "filbert_supported", 1) is None
    True
    """
    path = built(name)
    if path is None:
        return None
    try:
        native = ctypes.CDLL(path)
        said = getattr(native, asked)()
    except (OSError, AttributeError):  # another system's C++ runtime; a library of another version
        return None
    return native if said == interface else None
