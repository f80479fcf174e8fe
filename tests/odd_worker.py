"""A model's process that does what it is told by a text: dies, stalls, raises, gives NaN, takes its time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from filbert.inference.engine import Engine
from filbert.server import worker

SLOW = 0.05  # seconds that a text with "slow" takes
EACH = float(os.environ.get("ODD_EACH", "0"))  # and any text

encode, bert = Engine.encode, Engine.bert


def odd_encode(self: Engine, inputs: Sequence[tuple[str, ...]]) -> Any:
    words = {word for each in inputs for text in each for word in text.split()}
    if "die" in words:
        os._exit(9)
    if "stall" in words:
        time.sleep(60)
    if "raise" in words:
        raise RuntimeError("a secret text")
    time.sleep(EACH * len(inputs))
    time.sleep(SLOW * sum("slow" in text.split() for each in inputs for text in each))
    self.nan = "nan" in words  # type: ignore[attr-defined]
    return encode(self, inputs)


def odd_bert(self: Engine, windows: Any, *rest: Any, **more: Any) -> Any:
    if getattr(self, "nan", False):
        self._scorer = _Nan(self._scorer)  # type: ignore[assignment]
    try:
        return bert(self, windows, *rest, **more)
    finally:
        if isinstance(self._scorer, _Nan):
            self._scorer = self._scorer.inner


class _Nan:
    """A scorer whose every number is NaN."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def outputs(self, *given: Any) -> Any:
        return np.full_like(self.inner.outputs(*given), np.nan)


Engine.encode, Engine.bert = odd_encode, odd_bert  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    worker.main()
