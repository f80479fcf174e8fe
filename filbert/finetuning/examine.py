"""Everything `filbert doctor` looks at, in order; the cleaned copy that it writes is clean.py's.

    files → rows → targets → repeats → groups, shortcuts, languages → word pieces of the base

Nothing is trained. A refusal of `fit` is a finding here, and the other checks go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np

from filbert.bases.find import find_base
from filbert.data.doctor import FIX, nearly_repeated, quick, repeated
from filbert.data.duplicates import Repeats, repeats
from filbert.data.findings import NOTE, REFUSED, WARNING, Finding, places
from filbert.data.groups import check_group
from filbert.data.shortcuts import unused_columns
from filbert.data.splits import make_splits
from filbert.errors import DataError, ModelError, Problem, counted, shown
from filbert.finetuning.dataset import Read, columns_of, read_parts
from filbert.folder.layout import read_config
from filbert.progress import Watcher
from filbert.readers.ledger import Ledger
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import UNREADABLE, Example, FloatArray, IntArray
from filbert.tasks.framing import special_tokens
from filbert.tasks.labels import MISSING, merge_option, variants
from filbert.tasks.task import Reading, Task
from filbert.text.tokenizer import Tokenizer
from filbert.text.visible import visible

SAMPLED = 20_000  # texts that are cut into word pieces
NO_TASK = cast(
    "Task", SimpleNamespace(NAME="", WINDOWS=False, classes=lambda texts: [()] * len(texts))
)  # of texts alone
LEVELS = (REFUSED, WARNING, NOTE)


@dataclass(frozen=True)
class Examined:
    """What was read and what was found, the worst first."""

    read: Read
    findings: Sequence[Finding]
    met: Repeats
    apart: Sequence[str]
    """The parts that were given in files of their own."""
    base: str
    lengths: Mapping[str, int]
    """Tokens of the training texts: `median`, `most` (of 19 in 20), `longest`; how many texts are `cut`, of `texts`."""
    near: Sequence[int] = ()
    """Which texts of train are nearly the same as an earlier one."""

    @property
    def parts(self) -> dict[str, Sequence[Example]]:
        """The parts that have texts."""
        return parts_of(self.read)


def parts_of(read: Read) -> dict[str, Sequence[Example]]:
    """Return train, and the parts held out that were given.

    >>> parts_of(read)["train"]  # doctest: +SKIP
    """
    given = {"train": read.train, "validation": read.parts["validation"], "test": read.parts["test"]}
    return {name: part for name, part in given.items() if part or name == "train"}


def examine(
    path: str | Path,
    options: ReadOptions,
    *,
    held_out: Mapping[str, str | Path | None],
    watch: Watcher,
    task: str | None = None,
    group: str | None = None,
    base: str | None = None,
    max_length: int = 512,
    labelled: bool = True,
) -> Examined:
    """Look at everything; DataError only where the source cannot be read at all, or its task or columns not be told.

    With `labelled=False` the texts alone are looked at; `read` then has no task.

    >>> examine("reviews.csv", ReadOptions(), held_out={}, watch=Silent()).findings  # doctest: +SKIP
    []
    """
    ledger = Ledger()
    if labelled:
        read = read_parts(path, options, ledger, task=task, held_out=held_out)
        parts = parts_of(read)
        findings = [*_bad_rows(ledger), *_refusals(read, parts, str(path), group)]
    else:
        read = _texts_alone(path, options, ledger, held_out)
        parts = parts_of(read)
        findings = [*_bad_rows(ledger), *_empty(parts)]
    met, lengths, name, near = Repeats(), dict[str, int](), "", list[int]()
    if parts["train"]:
        watch.say("looking for repeated texts")
        met = repeats(parts["train"], {key: part for key, part in parts.items() if key != "train"})
        findings += [*_labels(read, parts), *repeated(parts, met)]
        alike, near = nearly_repeated(parts, lambda done, total: watch.progress("comparing texts", done, total))
        findings += alike
        findings += quick(parts, read.task.classes(parts["train"]), unused_columns(parts["train"], read.columns), group)
        name, pieces, lengths = _pieces(read, parts, base, max_length, watch)
        findings += pieces
    findings.sort(key=lambda each: LEVELS.index(each.level))
    apart = [key for key, given in held_out.items() if given is not None]
    return Examined(read, findings, met, apart, name, lengths, near)


def _texts_alone(
    path: str | Path, options: ReadOptions, ledger: Ledger, held_out: Mapping[str, str | Path | None]
) -> Read:
    """Read texts without targets, those of parts that are given apart, too."""
    source = open_source(path, options, labelled=False)
    parts = {name: list[Example]() for name in ("train", "validation", "test", "all")}
    for split, example in source.tagged(ledger):
        parts.setdefault(split, []).append(example)
    found = list(source.found)
    for name, given in held_out.items():
        if given is not None:
            more = open_source(given, replace(options, columns=columns_of(source)), labelled=False)
            found += [f"{name} — {line}" for line in more.found]
            parts[name] = [example for _, example in more.tagged(ledger)]
    return Read(NO_TASK, Reading(lambda cell: cell, ""), parts, found, columns_of(source))


def _empty(parts: Mapping[str, Sequence[Example]]) -> list[Finding]:
    """Return the texts in which nothing can be seen."""
    nothing = [each for part in parts.values() for each in part if not any(map(visible, each.inputs))]
    if not nothing:
        return []
    said = f"{counted(len(nothing), 'text is', 'texts are')} empty, or show nothing"
    return [Finding("empty", said, len(nothing), places(nothing), f"{FIX} leaves them out")]


def _bad_rows(ledger: Ledger) -> list[Finding]:
    """Return one finding for each kind of wrong row."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in ledger.problems:
        kinds.setdefault((problem.field, problem.wrong), []).append(problem)
    findings = []
    for (field, wrong), problems in kinds.items():
        cure = f"{problems[0].todo}; {FIX} or --on-bad-rows quarantine leaves them out"
        where = [str(problem.place) for problem in problems]
        findings.append(
            Finding(
                "bad rows", f"{counted(len(problems), 'row')}: {field} — {wrong}", len(problems), where, cure, REFUSED
            )
        )
    return findings


def _refusals(read: Read, parts: Mapping[str, Sequence[Example]], name: str, group: str | None) -> list[Finding]:
    """Return what `fit` would refuse of the targets, and of dividing the texts."""
    train, task = parts["train"], read.task
    held = {key: part for key, part in parts.items() if key != "train"}
    try:
        if not train:
            wrong = "has no labelled texts to train on"
            return [Finding("refused", f"{name} {wrong}", 0, (), "name the training part train", REFUSED)]
        if group is not None:
            check_group(group, train, name)
        settings = task.settle(train, held, name)
        if strange := task.unknown([example for part in held.values() for example in part], settings):
            raise DataError(strange)
        make_splits(train, task.strata, group=group, validation=held.get("validation"), name=name)
    except DataError as error:
        return [
            Finding("refused", f"{each.field} — {each.wrong}", 1, [str(each.place)], each.todo, REFUSED)
            for each in error.problems
        ]
    return []


def _labels(read: Read, parts: Mapping[str, Sequence[Example]]) -> list[Finding]:
    """Return labels that look like one, and those that may stand for none."""
    everything = [example for part in parts.values() for example in part]
    of_each = [names for part in parts.values() for names in read.task.classes(part)]
    counts = Counter(name for names in of_each for name in names)

    def of(labels: Sequence[str]) -> list[str]:
        return places([e for e, names in zip(everything, of_each, strict=True) if set(names) & set(labels)])

    findings = []
    for usual, others in variants(counts):
        spelled = ", ".join(f"{shown(label, 40)} ({counts[label]:,})" for label in (usual, *others))
        cure = "to merge them: " + " ".join(merge_option(other, usual) for other in others)
        rows = sum(counts[other] for other in others)
        findings.append(Finding("label variants", f"labels look alike: {spelled}", rows, of(others), cure))
    missing = [label for label in counts if label.strip().casefold() in MISSING]
    if missing and len(missing) < len(counts):
        spelled = ", ".join(f"{shown(label)} ({counts[label]:,})" for label in missing)
        cure = "to leave these texts out: " + " ".join(merge_option(label, "") for label in missing)
        rows = sum(counts[label] for label in missing)
        said = f"labels may stand for no label at all: {spelled}"
        findings.append(Finding("missing labels", said, rows, of(missing), cure))
    return findings


def _pieces(
    read: Read, parts: Mapping[str, Sequence[Example]], base: str | None, max_length: int, watch: Watcher
) -> tuple[str, list[Finding], dict[str, int]]:
    """Return the base that `fit` would take, what its vocabulary makes of the texts, and how long they are in it."""
    sample = [text for example in parts["train"][:200] for text in example.inputs]
    try:
        chosen = find_base(base, texts_sample=sample)
    except ModelError as error:
        return "", [Finding("base", str(error), 0, (), "", REFUSED)], {}
    if chosen.folder is None:
        return chosen.name, [], {}
    watch.say(f"base {chosen.name} — {chosen.reason}")
    tokenizer = Tokenizer.from_folder(chosen.folder)
    step = max(1, len(parts["train"]) // SAMPLED)
    rows = parts["train"][::step]
    tokens, unknown = [], []
    for begin in range(0, len(rows), 1_000):
        watch.progress("reading texts", begin, len(rows))
        for example in rows[begin : begin + 1_000]:
            encodings = tokenizer.encode(list(example.inputs))
            pieces = sum(len(each.ids) for each in encodings)
            tokens.append(pieces + special_tokens(len(encodings)))
            unknown.append(sum(int((each.ids == tokenizer.unk).sum()) for each in encodings) / max(1, pieces))
    longest = min(max_length, read_config(chosen.folder).max_positions)
    return chosen.name, *_of_pieces(rows, np.array(tokens), np.array(unknown), longest, whole=read.task.WINDOWS)


def _of_pieces(
    rows: Sequence[Example], tokens_N: IntArray, unknown_N: FloatArray, longest: int, *, whole: bool
) -> tuple[list[Finding], dict[str, int]]:
    """Return findings on texts beyond the vocabulary and beyond the longest length, and how long the texts are."""
    findings = []
    beyond = np.flatnonzero(unknown_N >= UNREADABLE)
    average = f"{100 * float((unknown_N * tokens_N).sum() / max(1, tokens_N.sum())):.1f} % of all tokens"
    if len(beyond):
        said = f"the base has no word pieces for much of {len(beyond):,} of {len(rows):,} texts: {average} are [UNK]"
        cure = "choose a --base that knows their language or signs"
        findings.append(Finding("unknown", said, len(beyond), places([rows[i] for i in beyond.tolist()]), cure))
    elif (unknown_N > 0).any():
        some = np.flatnonzero(unknown_N > 0)
        hold = counted(len(some), "text holds", "texts hold")
        said = f"{hold} signs that the base has no word pieces for: {average} are [UNK]"
        findings.append(Finding("unknown", said, len(some), places([rows[i] for i in some.tolist()]), "", NOTE))
    cut = np.flatnonzero(tokens_N > longest)
    if len(cut):
        lost = 100 * float((tokens_N[cut] - longest).sum() / tokens_N.sum())
        order = cut[np.argsort(-tokens_N[cut], kind="stable")]
        said = f"{counted(len(cut), 'text is', 'texts are')} longer than the {longest:,} tokens that this base reads"
        if whole:
            said, cure = f"{said} at once", "nothing is lost: they are read whole, in windows"
        else:
            cure = f"{lost:.1f} % of all tokens are left out, from the middle: shorten them, or divide them"
        findings.append(Finding("length", said, len(cut), places([rows[i] for i in order.tolist()]), cure, NOTE))
    half, most = (int(each) for each in np.quantile(tokens_N, (0.5, 0.95)))
    lengths = {"median": half, "most": most, "longest": int(tokens_N.max()), "cut": len(cut), "texts": len(rows)}
    return findings, lengths
