"""The linear models beside a model: that of a cascade, and that of a blend; read from the folder, and as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from filbert.errors import ModelError
from filbert.linear.blend import Blend
from filbert.linear.cascade import Cascade
from filbert.linear.counts import BUCKETS, SIMILARITIES
from filbert.linear.model import Linear
from filbert.linear.texts import TextLinear, Vectorizer
from filbert.linear.units import KINDS

CASCADE = "cascade.safetensors"  # answers in BERT's place
BLEND = "blend.safetensors"  # its outputs are added to BERT's
LINEAR_FILES = (CASCADE, BLEND)
MOST_RUN = 9  # units

Info = Mapping[str, Any]


def arrays_of(linear: Linear) -> dict[str, npt.NDArray[Any]]:
    """Return a linear model as named arrays.

    >>> one = np.ones(1, np.float32)
    >>> sorted(arrays_of(Linear(np.arange(1), one, one[:, None], one)))
    ['bias', 'buckets', 'idf', 'weights']
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "buckets": linear.buckets_F,
        "idf": linear.idf_F,
        "weights": linear.weights_FC,
        "bias": linear.bias_C,
    }
    return arrays if linear.similar_SC is None else {**arrays, "similar": linear.similar_SC}


def blend_info(blend: Blend) -> dict[str, Any]:
    """Return what the manifest says of a blend beside its arrays."""
    how = blend.linear.vectorizer
    return {"factor": blend.factor, "units": how.units, "longest": how.longest, "pairs": how.pairs}


def cascade_of(folder: Path, info: Info) -> Cascade | None:
    """Open the linear model of a cascade; None where the folder has none. Raises ModelError."""
    if CASCADE not in info.get("files", ()):
        return None
    told = info.get("cascade")
    threshold = told.get("threshold") if isinstance(told, dict) else None
    linear = _linear(folder / CASCADE)
    if linear.similar_SC is not None or not isinstance(threshold, float):
        raise _mixed(folder / CASCADE)
    return Cascade(linear, threshold)


def blend_of(folder: Path, info: Info) -> Blend | None:
    """Open the linear model of a blend; None where the folder has none. Raises ModelError."""
    if BLEND not in info.get("files", ()):
        return None
    told, linear = info.get("blend"), _linear(folder / BLEND)
    told = told if isinstance(told, dict) else {}
    factor, units, longest, pairs = (told.get(key) for key in ("factor", "units", "longest", "pairs"))
    known = units in KINDS and type(longest) is int and 1 <= longest <= MOST_RUN and type(pairs) is bool
    if not known or not isinstance(factor, float) or pairs != (linear.similar_SC is not None):
        raise _mixed(folder / BLEND)
    return Blend(TextLinear(Vectorizer(str(units), int(longest or 1), bool(pairs)), linear), factor)


def _linear(path: Path) -> Linear:
    """Read a linear model and check that its arrays fit each other."""
    try:
        found = load_file(str(path))
        linear = Linear(found["buckets"], found["idf"], found["weights"], found["bias"], found.get("similar"))
    except (SafetensorError, KeyError) as e:
        raise ModelError(f"{path} cannot be read ({str(e)[:120]}) — restore the file") from None
    features, outputs = len(linear.buckets_F), len(linear.bias_C)
    shapes = (linear.idf_F.shape, linear.weights_FC.shape, linear.bias_C.shape)
    kinds = {str(each.dtype) for name, each in arrays_of(linear).items() if name != "buckets"}
    inside = features and linear.buckets_F.min() >= 0 and linear.buckets_F.max() < BUCKETS
    inside = inside and linear.buckets_F.dtype == np.int64 and kinds == {"float32"}
    similar = linear.similar_SC is None or linear.similar_SC.shape == (SIMILARITIES, outputs)
    if shapes != ((features,), (features, outputs), (outputs,)) or not inside or not similar:
        raise _mixed(path)
    return linear


def _mixed(path: Path) -> ModelError:
    return ModelError(f"{path} — its parts do not belong together — restore the folder")
