"""Filbert: BERT in a nutshell — from a file of labelled texts to a classifier in production.

>>> from filbert import TextClassifier, load            # doctest: +SKIP
>>> model = TextClassifier(base="minilm").fit(texts, labels)  # doctest: +SKIP
>>> load("runs/reviews").predict(["What a film!"])       # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from filbert.version import __version__

if TYPE_CHECKING:
    from filbert.estimator import QuestionAnswerer, Summarizer, TextClassifier, TextRegressor
    from filbert.finetuning.distil import distil
    from filbert.inference.engine import Engine, load

__all__ = [
    "Engine",
    "QuestionAnswerer",
    "Summarizer",
    "TextClassifier",
    "TextRegressor",
    "__version__",
    "distil",
    "load",
]

_HOMES = {
    "QuestionAnswerer": "filbert.estimator",
    "TextClassifier": "filbert.estimator",
    "TextRegressor": "filbert.estimator",
    "Summarizer": "filbert.estimator",
    "distil": "filbert.finetuning.distil",
    "load": "filbert.inference.engine",
    "Engine": "filbert.inference.engine",
}


# OpenMP's threads wait for each other asleep: spinning, one other busy process slows training several times over
# (bench/RESULTS.md). It is read as torch is loaded, and what the user has set stays.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def __getattr__(name: str) -> Any:
    """Import the public names when first used, so that `import filbert` loads neither torch nor scikit-learn."""
    if name not in _HOMES:
        raise AttributeError(f"module 'filbert' has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from filbert.errors import missing

        raise missing(error, name) or error from None


def __dir__() -> list[str]:
    """List the public names beside those that are loaded already: for tab completion and `help`."""
    return sorted({*globals(), *__all__})
