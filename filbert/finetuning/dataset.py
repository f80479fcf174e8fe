"""From files, or from Python values, to a task and its settings and the texts to train, choose and test with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filbert import tasks
from filbert.data.doctor import quick
from filbert.data.findings import WARNING
from filbert.data.groups import check_group
from filbert.data.shortcuts import unused_columns
from filbert.data.splits import Splits, make_splits
from filbert.errors import DataError, Place, Problem, Refusal, counted
from filbert.finetuning.corrections import corrected
from filbert.finetuning.rare import without_rare
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.options import ReadOptions
from filbert.readers.sources import Source, open_source
from filbert.records import Example, FloatArray, Prediction
from filbert.tasks.task import Json, Reading, Task
from filbert.text.same import same_key
from filbert.text.visible import visible

Parts = Mapping[str, Sequence[Example]]


@dataclass(frozen=True)
class Soft:
    """What teachers say of the texts, for a student to learn (finetuning/distil.py)."""

    targets_N: FloatArray
    """Of each training text: a row of probabilities at `temperature`, or a number."""
    temperature: float
    identity: str
    """A digest of the teachers and their answers, by which a run to be resumed knows them."""
    answers: Mapping[str, Sequence[Prediction]]
    """What the teachers answer to the texts of the parts that are held out."""
    drawn: Sequence[Example] = ()
    """The validation texts with targets drawn by the teachers' probabilities, where nobody has labelled them."""
    facts: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """What a model is fitted on."""

    task: Task
    settings: Any  # of the task
    splits: Splits
    found: list[str] = field(default_factory=list)
    """What was found while reading, a line each; warnings begin with "warning:"."""
    facts: Json = field(default_factory=dict)
    """On the targets, for the report."""
    columns: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    """The columns that were read, "inputs" and "target", for those who read files for this model later."""
    quarantined: int = 0
    """Bad rows that were left out."""
    group: str | None = None
    """The column whose values stay on one side of a split."""
    soft: Soft | None = None
    """What a student learns in place of the training texts' targets."""


def read_dataset(
    path: str | Path,
    options: ReadOptions | None = None,
    *,
    task: str | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    seed: int = 0,
    rejects: Path | None = None,
    group: str | None = None,
    corrections: str | Path | None = None,
    rare: str = "error",
) -> Dataset:
    """Read everything there is to train on, checked and divided; the task is found from the targets, or given.

    Rows with one value in the column `group` stay on one side of a split. `corrections` is a file of suspects with
    corrected targets, `rare` what becomes of labels with too few texts (rare.py). Raises DataError for bad rows
    (unless quarantined), for targets that could be of two tasks, and where nothing can be learned from the texts;
    ConfigError for an unknown task.

    >>> read_dataset("reviews.csv").settings.labels  # doctest: +SKIP
    ('neg', 'pos')
    """
    options = options or ReadOptions()
    inputs = (path, validation, test)
    ledger = Ledger(quarantine=options.on_bad_rows == "quarantine", rejects=rejects, inputs=inputs)
    read = read_parts(path, options, ledger, task=task, held_out={"validation": validation, "test": test})
    ledger.finish()
    if corrections is not None:
        read = replace(read, parts=corrected(read.parts, corrections, read.reading))
    parts, lines = without_rare(read.task, read.parts, rare)
    read = replace(read, parts=parts)
    train = read.train
    if not train:
        rest = ", ".join(f"{count:,} {what}" for what, count in sorted(ledger.notes.items()))
        wrong = "has no labelled texts to train on" + (f" ({rest})" if rest else "")
        raise fatal(str(path), "split", wrong, "name the training part train, or give another file")
    found = [*read.found, "rows: " + ", ".join(f"{count:,} {name}" for name, count in ledger.counts().items())]
    found += [f"{what}: {count:,}" for what, count in sorted(ledger.notes.items())]
    found += [*read.reading.notes(), *lines]
    if ledger.quarantined:
        found.append(f"warning: {counted(ledger.quarantined, 'bad row')} left out, kept in {ledger.rejects}")
    held = read.parts["validation"], read.parts["test"]
    made = settled(read.task, train, *held, seed=seed, name=str(path), group=group, columns=read.columns)
    return replace(made, found=found + made.found, columns=read.columns, quarantined=ledger.quarantined)


@dataclass(frozen=True)
class Read:
    """What stands in the files: the task of their targets, and the examples of each part, in order."""

    task: Task
    reading: Reading
    parts: Mapping[str, list[Example]]
    """`train`, `validation`, `test`, and `all` where the source does not say."""
    found: list[str]
    columns: Mapping[str, Sequence[Sequence[str]]]

    @property
    def train(self) -> list[Example]:
        """What is for training, or for dividing."""
        return [*self.parts["train"], *self.parts["all"]]


def read_parts(
    path: str | Path,
    options: ReadOptions,
    ledger: Ledger,
    *,
    task: str | None = None,
    held_out: Mapping[str, str | Path | None],
) -> Read:
    """Read a source, and those of parts that are given apart; bad rows are in `ledger`, which the caller finishes.

    >>> read_parts("reviews.csv", ReadOptions(), Ledger(), held_out={}).task.NAME  # doctest: +SKIP
    'single-label'
    """
    source = open_source(path, options)
    chosen, reading = reading_of(source, options, task)
    found = [*source.found, reading.how]
    parts: dict[str, list[Example]] = defaultdict(list, {name: [] for name in ("train", "validation", "test", "all")})
    for split, example in source.tagged(ledger, parse=reading.parse, locate=reading.locate):
        parts[split].append(example)
    for name, given in held_out.items():
        if given is not None:
            sheet = options.sheet if Path(given).suffix.lower() == Path(path).suffix.lower() else None
            more = open_source(given, replace(options, columns=columns_of(source), sheet=sheet))
            found += [f"{name} — {line}" for line in more.found]
            rows = more.tagged(ledger, parse=reading.parse, locate=reading.locate)
            parts[name] = [example for _, example in rows]
    return Read(chosen, reading, parts, found, columns_of(source))


def reading_of(source: Source, options: ReadOptions, task: str | None) -> tuple[Task, Reading]:
    """Return the task of a source's targets and how its cells are read. Raises ConfigError and DataError."""
    cells, merges = source.sample_targets(), options.merge_labels
    if task is not None:
        chosen = tasks.named(task)
        return chosen, chosen.read(cells, merges)
    return tasks.found(cells, Place(str(source.path)), merges, (*source.input_names, *source.target_names))


def columns_of(source: Source) -> dict[str, list[list[str]]]:
    """Return the columns of a source that are read, as a model's folder remembers them; empty where it has none.

    >>> columns_of(open_source("reviews.csv"))  # doctest: +SKIP
    {'inputs': [['text']], 'target': [['label']]}
    """
    if source.roles is None:
        return {}
    target = source.roles.indicators or ((source.roles.target,) if source.roles.target else ())
    return {"inputs": [list(columns) for columns in source.roles.inputs], "target": [list(target)]}


def dataset_of(inputs: Iterable[Sequence[str]], targets: Iterable[Any], task: Task, *, seed: int = 0) -> Dataset:
    """Make a data set of Python values: the texts of each example, and its target. Raises DataError by row.

    >>> texts = [(f"text {n}",) for n in range(40)]
    >>> dataset_of(texts, ["pos", "neg"] * 20, tasks.named("single-label")).settings.labels
    ('neg', 'pos')
    """
    examples, wrong = [], []
    reading = task.read((), {})
    for row, (texts, value) in enumerate(zip(inputs, targets, strict=True)):
        if not all(map(visible, texts)):
            wrong.append(Problem(Place("X", row), "text", "is empty", "drop it"))
        try:
            target = task.target_of(value)
            if reading.locate is not None:
                target = reading.locate(target, tuple(texts))
            examples.append(Example(tuple(texts), target, Place("X", row)))
        except Refusal as refusal:
            wrong.append(Problem(Place("y", row), task.TARGET, refusal.wrong, refusal.todo))
    if wrong:
        raise DataError(wrong)
    made = settled(task, examples, (), (), seed=seed, name="memory")
    return replace(made, found=[*reading.notes(), *made.found]) if reading.locate is not None else made


def last_text(example: Example) -> bytes:
    """Return what examples on one text have in common, however their files write it.

    >>> last_text(Example(("Who?", "A text."))) == last_text(Example(("When?", "A  text.")))
    True
    """
    return same_key(example.inputs[-1:])


def settled(
    task: Task,
    train: Sequence[Example],
    validation: Sequence[Example],
    test: Sequence[Example],
    *,
    seed: int,
    name: str,
    group: str | None = None,
    columns: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> Dataset:
    """Settle the task on these texts and divide them. Raises DataError where held-out targets are unknown to it."""
    if group is not None:
        check_group(group, train, name)
    settings = task.settle(train, {"validation": validation, "test": test}, name)
    strange = task.unknown([*validation, *test], settings)
    if strange:
        raise DataError(strange)
    whole = last_text if task.WINDOWS else None  # a long text, asked several times, stays on one side
    splits = make_splits(
        train,
        task.strata,
        seed,
        whole=whole,
        group=group,
        validation=validation,
        test=test,
        name=name,
        each=task.EXAMPLE,
    )
    lines, facts = task.described(splits.parts, settings)
    given = {"train": train, "validation": validation, "test": test}
    seen = quick(
        {part: texts for part, texts in given.items() if texts},
        task.classes(train),
        unused_columns(train, columns or {}),
        group,
    )
    said = [*splits.found, *lines, *(f"warning: {found.sentence}" for found in seen if found.level == WARNING)]
    warnings = [line for line in said if line.startswith("warning:")]
    plain = [line for line in said if not line.startswith("warning:")]
    return Dataset(task, settings, splits, [*plain, *warnings], facts, group=group)
