"""Texts of none of the known classes: from which distance on the model gives them no answer.

The head gets outputs more, the pooled vector in the detector's directions, so that whatever scores the texts gives both
at once: C++, onnxruntime or torch.

"unknown": {"rate": 0.05 or null}      in filbert.json; the detector itself is unknown.safetensors

Shapes: N texts, O outputs of the task, K directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from filbert.errors import ConfigError, ModelError, shown
from filbert.inference.model import Model
from filbert.linear.detector import Array, Detector

KEY = "unknown"


def told(rate: float) -> dict[str, Any]:
    """Return what filbert.json says.

    >>> told(0.05)
    {'unknown': {'rate': 0.05}}
    """
    return {KEY: {"rate": rate}}


def farthest_of(info: Mapping[str, Any], detector: Detector | None, rate: float | None) -> float | None:
    """Return the largest distance of a text that gets an answer; None where each gets one.

    `rate` is the share of texts of known classes that may be taken for unknown ones; 0: none is, None: what the model
    was fitted for. Raises ConfigError where the model has no detector, ModelError where filbert.json is damaged.

    >>> farthest_of({}, None, None), farthest_of(told(0.05), Detector(np.eye(2), np.eye(2), np.arange(1.0, 100)), None)
    (None, 95.0)
    """
    if detector is None:
        if rate:
            todo = "fit it again with --unknown"
            raise ConfigError(f"--unknown — this model has nothing that tells unknown texts — {todo}")
        return None
    found = info.get(KEY)
    allowed = found.get("rate") if rate is None and isinstance(found, dict) else rate
    if not isinstance(allowed, (int, float)) or not 0 <= allowed < 1:
        raise ModelError(f"filbert.json {KEY} — is {shown(found)} — restore the file")
    if not allowed:
        return None
    farthest = detector.threshold(allowed)
    if not np.isfinite(farthest):
        texts = len(detector.levels_L)
        raise ConfigError(
            f"--unknown {100 * allowed:g}% — {texts:,} validation texts are too few for it — "
            f"allow {100 / (texts + 1):.1f}% or more, or fit with more --validation texts"
        )
    return farthest


def with_vectors(model: Model, directions_KD: Array) -> Model:
    """Return the model with K outputs more: the pooled vector in these directions.

    >>> with_vectors(model, np.eye(384, dtype=np.float32)).head.outputs  # doctest: +SKIP
    386
    """
    weight_OD, bias_O = model.arrays["last.weight"], model.arrays["last.bias"]
    arrays = {
        **model.arrays,
        "last.weight": np.concatenate((weight_OD, directions_KD)),
        "last.bias": np.concatenate((bias_O, np.zeros(len(directions_KD), np.float32))),
    }
    return replace(model, head=replace(model.head, outputs=len(arrays["last.bias"])), arrays=arrays)
