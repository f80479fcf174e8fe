"""A closer look at the errors of a finished model, for the report: where it errs, what it leaves unanswered.

errors by length, class and column · the risk–coverage curve and --abstain · training texts like those of mistakes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from filbert.finetuning.abstention import learn_abstention
from filbert.finetuning.prepare import Run
from filbert.finetuning.similar import add_similar
from filbert.inference.slices import sliced
from filbert.progress import Watcher
from filbert.records import Prediction
from filbert.tasks.task import Json

Predictions = Mapping[str, Sequence[Prediction]]  # by split


def look_closer(
    out: Path,
    run: Run,
    known: Predictions,
    mistakes: list[Json],
    *,
    abstain: float | None,
    cascade: bool,
    columns: Sequence[str],
    watch: Watcher,
) -> Json:
    """Return what the report says of errors, and add similar training texts to `mistakes`.

    `known` is what the model answered to the held-out texts, `columns` those of the input to slice by.
    """
    last = list(known)[-1]
    task, examples = run.data.task, run.data.splits.parts[last]
    errors = task.errors(examples, known[last], run.data.settings)
    tokens = [sum(len(window) + window.cut for window in each) for each in run.features[last]]
    add_similar(out, run, examples, mistakes, watch)
    return {
        "slices": sliced(task, examples, errors, columns, tokens=tokens),
        "abstention": learn_abstention(out, run, known, abstain, cascade=cascade),
    }
