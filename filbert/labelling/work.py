"""The texts to be labelled and what is known of each: read from a file, continued from the output, saved whole.

Each distinct text is asked about once. The output holds every text that has a label, in the order of the file, with all
its columns; it is a file to train on. `label_from` says where a label comes from: `file`, or an answer to a text that
was chosen at random, because the model was unsure of it, or to be reviewed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.inference.writers import open_writer
from filbert.readers.options import ReadOptions
from filbert.readers.sources import Source, open_source
from filbert.text.visible import visible

FILE, RANDOM, UNSURE, REVIEW = "file", "random", "unsure", "review"
ORIGINS = (FILE, RANDOM, UNSURE, REVIEW)
LABEL, FROM = "label", "label_from"  # columns of the output
MOST_LABELS = 60


@dataclass(frozen=True)
class Text:
    """One distinct text, or pair of texts, with its row."""

    inputs: tuple[str, ...]
    place: Place
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A label and where it comes from, one of ORIGINS."""

    label: str
    origin: str


@dataclass
class Work:
    """The texts of a file, and the answers by the number of the text; `save` after each change."""

    out: Path
    texts: list[Text]
    names: tuple[str, ...]
    """What the columns of the texts are called."""
    columns: tuple[str, ...]
    label: str = LABEL
    """The output's column of labels: the file's own, where it has one."""
    labels: list[str] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)

    def save(self) -> None:
        """Write every text that has a label; what stood there is replaced when all is on the disk."""
        kept = [name for name in self.columns if name not in (self.label, FROM)]
        with open_writer(self.out, [*kept, self.label, FROM], overwrite=True) as write:
            for i in sorted(self.answers):
                cells, answer = self.texts[i].cells, self.answers[i]
                row = {name: cells.get(name, "") for name in kept}
                write({**row, self.label: answer.label, FROM: answer.origin})

    def add_label(self, label: str) -> None:
        """Add a label to choose from. Raises ConfigError where it is empty, there already, or one too many."""
        label = label.strip()
        if not visible(label):
            raise ConfigError("the new label is empty — type its name")
        if label in self.labels:
            raise ConfigError(f"label {shown(label)} — is there already")
        if len(self.labels) >= MOST_LABELS:
            raise ConfigError(f"there are {MOST_LABELS} labels already, more than one can choose from by hand")
        self.labels.append(label)


def open_work(path: str, out: Path, labels: Sequence[str], options: ReadOptions) -> tuple[Work, list[str]]:
    """Read a file of texts, and the answers of an output that is there already → the work, and what was found.

    Raises DataError where a file cannot be read or holds no text, ConfigError where no labels are known, or `out` is no
    output of this file.
    """
    source = open_source(path, options, labelled=False)
    texts, answers = _distinct(source)
    if not texts:
        raise DataError([Problem(Place(path), "rows", "hold no text", "give a file with a column of texts")])
    target = source.target_names[0] if len(source.target_names) == 1 else LABEL
    work = Work(out, texts, source.input_names, source.columns, target)
    work.answers = answers
    found = list(source.found)
    if os.path.lexists(out):
        again = _earlier(work, options)
        work.answers |= again
        found.append(f"continued: {out} has {len(again):,} labels")
    for label in [*labels, *sorted({answer.label for answer in work.answers.values()})]:
        if label.strip() and label.strip() not in work.labels:
            work.add_label(label)
    if len(work.labels) < 2:
        known = f" (only {shown(work.labels[0])} is known)" if work.labels else ""
        raise ConfigError(f"--labels — names fewer than two labels{known} — give them all: --labels good,bad")
    return work, found


def _distinct(source: Source) -> tuple[list[Text], dict[int, Answer]]:
    """Return each text once, and the labels that the file gives already."""
    numbers: dict[tuple[str, ...], int] = {}
    texts: list[Text] = []
    answers: dict[int, Answer] = {}
    for example in source.examples():
        if not all(visible(text) for text in example.inputs):
            continue
        if example.inputs not in numbers:
            numbers[example.inputs] = len(texts)
            texts.append(Text(example.inputs, example.place, example.columns))
        if example.target is not None:
            answers.setdefault(numbers[example.inputs], Answer(str(example.target).strip(), FILE))
    return texts, answers


def _earlier(work: Work, options: ReadOptions) -> dict[int, Answer]:
    """Return the answers of an output; ConfigError where it is not one of this file."""
    numbers = {text.inputs: i for i, text in enumerate(work.texts)}
    wrong = f"{work.out} is there, and is no file of labels for these texts — give another one with -o"
    found: dict[int, Answer] = {}
    for inputs, label, origin in _rows_of(work, options):
        if inputs not in numbers or origin not in ORIGINS:
            raise ConfigError(wrong)
        found[numbers[inputs]] = Answer(label, origin)
    return found


def _rows_of(work: Work, options: ReadOptions) -> Iterator[tuple[tuple[str, ...], str, str]]:
    told = ReadOptions(text=options.text or work.names[0], label=work.label)
    if len(work.names) > 1:
        told = replace(told, text_pair=options.text_pair or work.names[1])
    try:
        for example in open_source(work.out, told).examples():
            yield example.inputs, str(example.target), example.columns.get(FROM, "")
    except DataError as error:
        raise ConfigError(f"{work.out} is there, and cannot be continued — give another one with -o\n{error}") from None
