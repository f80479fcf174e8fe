"""Filbert: BERT in a nutshell — from a file of labelled texts to a classifier in production.

>>> from filbert import TextClassifier, load            # doctest: +SKIP
>>> model = TextClassifier(base="minilm").fit(texts, labels)  # doctest: +SKIP
>>> load("runs/reviews").predict(["What a film!"])       # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filbert.engine import Engine, load
    from filbert.estimator import TextClassifier

__all__ = ["Engine", "TextClassifier", "__version__", "load"]
__version__ = "0.1.0"

_HOMES = {"TextClassifier": "filbert.estimator", "load": "filbert.engine", "Engine": "filbert.engine"}


def __getattr__(name: str) -> Any:
    """Import the public names when first used, so that `import filbert` loads neither torch nor scikit-learn."""
    if name not in _HOMES:
        raise AttributeError(f"module 'filbert' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
