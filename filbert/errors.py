"""Every error Filbert raises on purpose, and the one shape its messages have.

    FilbertError
     ├─ DataError     (ValueError)    the texts or labels are wrong; carries a list of Problem
     ├─ ConfigError   (ValueError)    an option is wrong, or two do not go together
     ├─ ModelError    (ValueError)    a model folder, checkpoint or hub model cannot be used
     └─ TrainingError (RuntimeError)  training cannot go on (loss is NaN, the folder is locked, …)

Each message answers three questions: what was expected, what came, what to do next. `assert` is for our own bugs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 20  # problems printed in a message; the rest is counted, and all are in the rejects file


class FilbertError(Exception):
    """Base of every error raised on purpose: catching it catches them all."""


class ConfigError(FilbertError, ValueError):
    """An option has a value that cannot work, or two options contradict each other."""


class ModelError(FilbertError, ValueError):
    """A model folder, checkpoint or hub model is missing, damaged, foreign or inconsistent."""


class TrainingError(FilbertError, RuntimeError):
    """Training cannot go on, and nothing was lost: the newest checkpoint is complete."""


@dataclass(frozen=True)
class Place:
    """Where something stands: a file and, where known, a line (from 1).

    >>> str(Place("reviews.csv", 17))
    'reviews.csv:17'
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong at one place: `file:line field — what is wrong — what to do`.

    >>> print(Problem(Place("a.csv", 3), "label", "is empty", "give it a label or drop the row"))
    a.csv:3 label — is empty — give it a label or drop the row
    """

    place: Place
    field: str
    wrong: str
    todo: str

    def __str__(self) -> str:
        return f"{self.place} {self.field} — {self.wrong} — {self.todo}"


class Refusal(ValueError):
    """A cell that is no target: what is wrong with it and what to do; who reads the row adds its place.

    >>> Refusal("is empty", "give it a label").wrong
    'is empty'
    """

    def __init__(self, wrong: str, todo: str) -> None:
        super().__init__(f"{wrong} — {todo}")
        self.wrong, self.todo = wrong, todo


class DataError(FilbertError, ValueError):
    """Texts or labels are wrong; `problems` holds every one found in the pass, the message the first 20."""

    def __init__(self, problems: Sequence[Problem], total: int | None = None) -> None:
        self.problems = list(problems)
        self.total = len(self.problems) if total is None else total
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if self.total > len(lines):
            lines.append(f"… and {self.total - len(lines):,} more")
        super().__init__("\n".join(lines))


def shown(value: object, width: int = 80) -> str:
    r"""Render a value for a message: escaped, quoted, at most `width` characters.

    >>> shown("a\x00b")
    "'a\\x00b'"
    """
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
