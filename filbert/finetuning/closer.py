"""A closer look at the errors of a finished model, for the report: where it errs, what it leaves unanswered.

errors by length, class and column · the risk–coverage curve and --abstain · texts of no known class, --unknown ·
training texts like those of mistakes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from filbert.finetuning.abstention import learn_abstention
from filbert.finetuning.diagnosis import diagnose
from filbert.finetuning.distilled import beside_teachers
from filbert.finetuning.prepare import Run
from filbert.finetuning.similar import add_similar, numbered
from filbert.finetuning.unknown import learn_unknown
from filbert.inference.slices import sliced
from filbert.progress import Watcher
from filbert.records import Example, Prediction
from filbert.report import read_log
from filbert.tasks.task import Json
from filbert.training.log import LOG

CHARACTERS = 600  # of a window that decided, in the report

Predictions = Mapping[str, Sequence[Prediction]]  # by split


def look_closer(
    out: Path,
    run: Run,
    known: Predictions,
    report: Json,
    *,
    abstain: float | None,
    unknown: float | None,
    cascade: bool,
    columns: Sequence[str],
    watch: Watcher,
) -> Json:
    """Return what the report says more of errors, and add similar training texts to the mistakes of `report`.

    `known` is what the model answered to the held-out texts, `columns` those of the input to slice by.
    """
    last = list(known)[-1]
    task, examples = run.data.task, run.data.splits.parts[last]
    errors = task.errors(examples, known[last], run.data.settings)
    tokens = [sum(len(window) + window.cut for window in each) for each in run.features[last]]
    add_similar(out, run, examples, report["mistakes"], watch)
    add_decided(examples, known[last], report["mistakes"])
    of_this = report["training"]["steps"] and not report.get("few_shot")  # no log of a rung that was not kept, no pairs
    losses = [line["loss"] for line in read_log(out / LOG) if "loss" in line and of_this]
    wrong = diagnose(run, report, known[last], losses)
    return {
        "diagnosis": None if wrong is None else wrong.json(report["training"]["command"]),
        "slices": sliced(task, examples, errors, columns, tokens=tokens),
        "distillation": None if run.data.soft is None else beside_teachers(out, run, known, watch),
        "abstention": learn_abstention(out, run, known, abstain, cascade=cascade),
        "unknown": learn_unknown(out, run, unknown, watch) if unknown else None,
    }


def add_decided(examples: Sequence[Example], predictions: Sequence[Prediction], mistakes: list[Json]) -> None:
    """Add to each mistake on a text that was read in several windows the one that `decided` most, and its begin.

    >>> from filbert.records import Evidence
    >>> mistakes = [{"text": "a b", "place": "memory"}]
    >>> add_decided([Example(("a b",))], [Prediction(evidence=(Evidence(0, 2, 3, 0.75, 1.5),))], mistakes)
    >>> mistakes[0]["decided"]["passage"]
    'b'
    """
    for mistake, number in numbered(examples, mistakes):
        for first in predictions[number].evidence[:1]:
            whole = examples[number].inputs[first.part][first.start : first.end]
            short = whole if len(whole) <= CHARACTERS else whole[: CHARACTERS - 1] + "…"
            mistake["decided"] = {**first.told(), "passage": short}
