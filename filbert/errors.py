"""Every error Filbert raises on purpose, and the one shape its messages have.

    FilbertError
     ├─ DataError     (ValueError)    the texts or labels are wrong; carries a list of Problem
     ├─ ConfigError   (ValueError)    an option is wrong, or two do not go together
     ├─ ModelError    (ValueError)    a model folder, checkpoint or hub model cannot be used
     └─ TrainingError (RuntimeError)  training cannot go on (loss is NaN, the folder is locked, …)

    Stopped           (KeyboardInterrupt)  a signal asked for the end; nothing is wrong

Each message answers three questions: what was expected, what came, what to do next. `assert` is for our own bugs.
"""

from __future__ import annotations

import errno
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from filbert.language import noun

RUN = 3  # lines one after the other with the same problem, from which on they are said in one
SHOWN = 20  # problems printed in a message; the rest is counted, and all are in the rejects file


class FilbertError(Exception):
    """Base of every error raised on purpose: catching it catches them all."""


class ConfigError(FilbertError, ValueError):
    """An option has a value that cannot work, or two options contradict each other."""


class ModelError(FilbertError, ValueError):
    """A model folder, checkpoint or hub model is missing, damaged, foreign or inconsistent."""


class TrainingError(FilbertError, RuntimeError):
    """Training cannot go on, and nothing was lost: the newest checkpoint is complete."""


class Stopped(KeyboardInterrupt):
    """A signal asked for the end; `number` is the signal's.

    >>> Stopped(15).number
    15
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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


class LeftOut(Refusal):
    """A target that a person asked to leave out: its row is no problem, and counted under this sentence.

    >>> str(LeftOut("'nan'"))
    "rows left out, as --merge-labels says: 'nan'"
    """

    def __init__(self, label: str) -> None:
        super().__init__(label, "")
        self.args = (f"rows left out, as --merge-labels says: {label}",)


class DataError(FilbertError, ValueError):
    """Texts or labels are wrong; `problems` holds every one found in the pass, the message the first 20."""

    def __init__(self, problems: Sequence[Problem], total: int | None = None) -> None:
        self.problems = list(problems)
        self.total = len(self.problems) if total is None else total
        said = runs(self.problems)
        lines = [line for line, _ in said[:SHOWN]]
        if (left := self.total - sum(count for _, count in said[:SHOWN])) > 0:
            lines.append(f"… and {left:,} more")
        super().__init__("\n".join(lines))


def runs(problems: Sequence[Problem]) -> list[tuple[str, int]]:
    """Return the problems as they are said, with how many each is: the same on lines one after the other is one.

    >>> empty = [Problem(Place("a.csv", line), "text", "is empty", "fill it in") for line in (3, 4, 5, 9)]
    >>> for line, count in runs(empty):
    ...     print(count, line)
    3 a.csv:3–5 text — is empty (3 rows) — fill it in
    1 a.csv:9 text — is empty — fill it in
    """
    groups: list[list[Problem]] = []
    for problem in problems:
        before, line = groups[-1][-1] if groups else None, problem.place.line
        if before is not None and line and before == replace(problem, place=Place(problem.place.file, line - 1)):
            groups[-1].append(problem)
        else:
            groups.append([problem])
    found: list[tuple[str, int]] = []
    for group in groups:
        first, last, count = group[0], group[-1], len(group)
        if count < RUN:
            found += [(str(problem), 1) for problem in group]
            continue
        places = f"{first.place}–{last.place.line}"
        found.append((f"{places} {first.field} — {first.wrong} ({count:,} rows) — {first.todo}", count))
    return found


EXTRAS = {  # packages that not every installation has → the extra that has them
    **dict.fromkeys(("torch", "sklearn", "scipy", "threadpoolctl", "datasketch"), "train"),
    "pyarrow": "parquet",
}


def missing(error: BaseException, what: str) -> ConfigError | None:
    """Return what is to be said where `what` needs a package that is not installed; None where that is not the error.

    >>> print(missing(ModuleNotFoundError(name="no_such.module"), "fit"))
    None
    >>> EXTRAS["no_such"] = "train"
    >>> print(missing(ModuleNotFoundError(name="no_such.module"), "fit"), EXTRAS.pop("no_such"))
    fit — needs no_such — pip install 'filbert[train]' train
    """
    package = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in EXTRAS or (package not in sys.modules and importlib.util.find_spec(package) is not None):
        return None
    return ConfigError(f"{what} — needs {package} — pip install 'filbert[{EXTRAS[package]}]'")


def shown(value: object, width: int = 80) -> str:
    r"""Render a value for a message: quoted, what cannot be seen escaped, at most `width` characters.

    >>> print(shown("a\x00b"), shown("\u597d\u8bc4\u3000"))
    'a\x00b' '好评\u3000'
    """
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, or with a phrase: `many` is the plural where it is not `one` and an s.

    >>> counted(1, "text"), counted(1_200, "bad row"), counted(1, "class is", "classes are")
    ('1 text', '1,200 bad rows', '1 class is')
    """
    if known := noun(one):
        return f"{count:,} {''.join(known)}"
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def safe(text: str) -> str:
    r"""Return text with control, bidirectional and other invisible characters spelled out; line breaks stay.

    >>> print(safe("a\x1b[31m\u202eb\u3000中"))
    a\x1b[31m\u202eb　中
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\u3000\u00a0" else ascii(c)[1:-1] for c in text)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, of the GPU or of the machine; torch is not needed to know.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("std::bad_alloc")), out_of_memory(ValueError("no"))
    (True, True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    signs = (
        "DefaultCPUAllocator",
        "bad_alloc",
        "CUDA out of memory",
        "Cannot allocate memory",
        "can't start new thread",
    )
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
