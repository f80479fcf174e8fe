"""The tasks there are, and which of them a column of targets is for. A task more is a package and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import ConfigError, DataError, ModelError, Place, Problem, shown
from filbert.tasks import multi_label, question_answering, regression, single_label, summarization
from filbert.tasks.summarization.length import resized as resized
from filbert.tasks.summarization.length import untrained as untrained
from filbert.tasks.task import Json, Reading, Task

TASKS: dict[str, Task] = {  # of two that claim a column surely the first has it: names say more than cells
    single_label.NAME: single_label,
    question_answering.NAME: question_answering,
    multi_label.NAME: multi_label,
    regression.NAME: regression,
    summarization.NAME: summarization,
}
USUAL = single_label.NAME
"""What a column is for that no task claims."""


def named(name: str) -> Task:
    """Return the task of a name; ConfigError lists those there are.

    >>> named("single-label").TARGET
    'label'
    """
    if name not in TASKS:
        raise ConfigError(f"task {shown(name)} is unknown — choose one of {', '.join(TASKS)}")
    return TASKS[name]


def found(
    cells: Sequence[str], place: Place, merges: Mapping[str, str] | None = None, names: Sequence[str] = ()
) -> tuple[Task, Reading]:
    """Return the task whose targets a sample of cells looks like, and how it reads them.

    `names` are the columns: those of the texts, then the target's. Raises DataError where the cells look like two
    tasks' and a person has to say which.

    >>> found(["pos", "neg"] * 20, Place("a.csv"))[0].NAME, found(["0.5", "2.25", "1.75"], Place("a.csv"))[0].NAME
    ('single-label', 'regression')
    """
    claims = {name: claim for name, task in TASKS.items() if (claim := task.claim(cells, names))}
    sure = [name for name, claim in claims.items() if claim.sure]
    if claims and not sure:
        why = "; ".join(claim.why for claim in claims.values())
        todo = " or ".join(f"--task {name}" for name in (*claims, USUAL))
        raise DataError([Problem(place, "label", f"can be read in two ways: {why}", f"say which: {todo}")])
    chosen = TASKS[sure[0] if sure else USUAL]
    return chosen, chosen.read(cells, merges or {})


def better(task: Task, cells: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
    """Return the name of a task that these targets are surely for, and why, where this one does not claim them.

    >>> better(TASKS["single-label"], ["a|b", "b", "a"], ["text", "labels"])[0]
    'multi-label'
    """
    if (mine := task.claim(cells, names)) is not None and mine.sure:
        return None
    claims = {name: each.claim(cells, names) for name, each in TASKS.items()}
    return next(((name, claim.why) for name, claim in claims.items() if claim is not None and claim.sure), None)


def of_values(values: Sequence[Any], *, numbers: bool = False) -> Task:
    """Return the task of Python values, as an estimator gets them: lists or sets of labels, labels, or numbers.

    >>> of_values(["pos", "neg"]).NAME, of_values([["a", "b"], []]).NAME, of_values([1, 2.5], numbers=True).NAME
    ('single-label', 'multi-label', 'regression')
    """
    if numbers:
        return regression
    return multi_label if any(isinstance(value, (list, tuple, set, frozenset)) for value in values) else single_label


def of_answers() -> Task:
    """Return the task whose answers are pieces of a text.

    >>> of_answers().TARGET
    'answers'
    """
    return question_answering


def of_summaries() -> Task:
    """Return the task that summarizes texts.

    >>> of_summaries().TARGET
    'summary'
    """
    return summarization


def of_folder(info: Json, config: Json, where: str) -> Task:
    """Return the task of a saved model: of its filbert.json, else of other people's config.json. Raises ModelError.

    >>> of_folder({}, {"architectures": ["BertForSequenceClassification"], "problem_type": "regression"}, "m").NAME
    'regression'
    """
    if info:
        name = info.get("task")
        if str(name) not in TASKS:
            raise ModelError(
                f"{where}/filbert.json task — is {shown(name)}, this version knows {', '.join(TASKS)} — update Filbert"
            )
        return TASKS[str(name)]
    for task in TASKS.values():
        try:
            task.reopen({}, config)
        except ValueError:
            continue
        return task
    raise ModelError(
        f"{where}/config.json — is of no kind known here (architectures {shown(config.get('architectures'))}, "
        f"problem_type {shown(config.get('problem_type'))}) — choose a model for {', '.join(TASKS)}"
    )
