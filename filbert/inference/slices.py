"""The error of a model on slices of labelled texts: by length, by class, by columns of the input; fit and evaluate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filbert.errors import DataError, Place, Problem, shown
from filbert.metrics.slices import MOST, by_numbers, by_values, mean_error
from filbert.records import Example, FloatArray
from filbert.tasks.task import Json, Task


def sliced(
    task: Task,
    examples: Sequence[Example],
    errors: tuple[str, FloatArray],
    columns: Sequence[str],
    *,
    tokens: Sequence[int] = (),
) -> Json:
    """Return the mean error of all texts and of slices of them, by length in tokens, by class and by columns.

    >>> from filbert import tasks
    >>> some = [Example(("a",), "x"), Example(("b",), "y")]
    >>> found = sliced(tasks.named("single-label"), some, ("wrong", np.array([0.0, 1.0])), [])
    >>> found["error"], [each["name"] for each in found["by"]]
    ('wrong', ['label'])
    """
    name, errors_N = errors
    found = []
    if tokens:
        found.append({"name": "length", "rows": by_numbers(tokens, errors_N, " tokens")})
    classes = _by_class(task, examples, errors_N)
    if len(classes) > 1:
        found.append({"name": task.TARGET, "rows": classes})
    for column in columns:
        values = [example.columns.get(column, "") for example in examples]
        found.append({"name": column, "rows": by_values(values, errors_N)})
    binary = bool(np.isin(errors_N, (0, 1)).all())
    return {"error": name, "share": binary, "all": mean_error(errors_N, binary=binary), "by": found}


def _by_class(task: Task, examples: Sequence[Example], errors_N: FloatArray) -> list[Json]:
    """Return the error of the texts of each class, of which a text may have several; the worst of many."""
    classes = task.classes(examples)
    names = sorted({name for each in classes for name in each})
    binary = bool(np.isin(errors_N, (0, 1)).all())
    rows: list[Json] = []
    for name in names:
        has_N = np.array([name in each for each in classes])
        rows.append({"value": name, "texts": int(has_N.sum()), "error": mean_error(errors_N[has_N], binary=binary)})
    return sorted(rows, key=lambda row: -row["error"]["value"])[:MOST] if len(rows) > MOST else rows


def check_columns(columns: Sequence[str], examples: Sequence[Example], name: str) -> None:
    """Raise DataError where no text has a column that is to be sliced by.

    >>> check_columns([], [Example(("a",))], "a.csv")
    """
    known = dict.fromkeys(column for example in examples[:100] for column in example.columns)
    for column in columns:
        if not any(column in example.columns for example in examples):
            listed = ", ".join(shown(each, 30) for each in list(known)[:20]) or "none"
            wrong = f"there is no column {shown(column)}"
            raise DataError([Problem(Place(name), "--slice", wrong, f"columns: {listed}")])
