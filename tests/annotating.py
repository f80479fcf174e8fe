"""For tests of labelling: texts in two groups, whose vectors say which, and answers to questions about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from filbert.labelling.session import Session
from filbert.records import FloatArray

N = 60


class Vectors:
    """In place of a base: texts with an even number point one way, the others the other way."""

    def __init__(self, *args: object, **options: object) -> None: ...

    def __call__(self, inputs: Sequence[Sequence[str]]) -> FloatArray:
        rng = np.random.default_rng(0)
        numbers = [int(each[0].split()[1]) for each in inputs]
        return np.array([[1.0 if n % 2 else -1.0, 0.3] for n in numbers]) + 0.2 * rng.normal(size=(len(numbers), 2))


def truth(text: str) -> str:
    return "odd" if int(text.split()[1]) % 2 else "even"


Opened = Callable[..., Session]


def answer(session: Session, times: int = 1, of: Callable[[str], str] = truth) -> list[str]:
    """Answer so many questions rightly; return why each was asked."""
    why = []
    for _ in range(times):
        asked = session.state()["asked"]
        why.append(asked["why"])
        session.answer(asked["id"], of(asked["texts"][0]["text"]))
    return why


def until(session: Session, done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for the session's thread."""
    end = time.monotonic() + seconds
    while not done():
        assert not session.wrong, session.wrong
        assert time.monotonic() < end
        time.sleep(0.02)
