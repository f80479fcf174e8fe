"""Train, validation and test: as the source has them, else a stratified validation part of train — never of test.

Identical texts stay on one side, so that validation never scores a text that was trained on. The division depends on
the texts, their order and the seed only. Duplicates and contradictions are counted here, explained in doctor.py.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from filbert.errors import shown
from filbert.readers.ledger import Ledger, fatal
from filbert.readers.options import ReadOptions
from filbert.readers.sources import merge_note, open_source
from filbert.records import Example, IntArray
from filbert.tasks.labels import check_classes, sort_labels, variant_lines

SHARE, MOST = 0.1, 1_000  # of the training texts that become validation


@dataclass(frozen=True)
class Splits:
    """The texts to train, choose and test a model with; `test` may be empty."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    labels: tuple[str, ...]
    found: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def parts(self) -> dict[str, list[Example]]:
        """The parts by name, `test` where there is one."""
        found = {"train": self.train, "validation": self.validation}
        return {**found, "test": self.test} if self.test else found

    @property
    def held_out(self) -> list[str]:
        """Return the texts that nothing may learn from."""
        return [example.text for example in (*self.validation, *self.test)]

    def true(self, part: str) -> IntArray:
        """Return the number of each text's label, in the order of `labels`."""
        number = {label: i for i, label in enumerate(self.labels)}
        return np.array([number[str(example.label)] for example in self.parts[part]], dtype=np.int32)


def load_splits(
    path: str | Path,
    options: ReadOptions | None = None,
    *,
    validation: Path | None = None,
    test: Path | None = None,
    seed: int = 0,
    rejects: Path | None = None,
) -> Splits:
    """Read everything there is to train on, checked and divided.

    Raises DataError for bad rows (unless quarantined), for fewer than two classes, and for a class with one text.

    >>> load_splits("reviews.csv").labels  # doctest: +SKIP
    ('neg', 'pos')
    """
    options = options or ReadOptions()
    ledger = Ledger(quarantine=options.on_bad_rows == "quarantine", rejects=rejects)
    parts: dict[str, list[Example]] = defaultdict(list)
    found: list[str] = []
    for given, name in ((path, None), (validation, "validation"), (test, "test")):
        if given is not None:
            _read(given, name, options, ledger=ledger, parts=parts, found=found)
    ledger.finish()
    train = parts["train"] + parts["all"]
    if not train:
        rest = ", ".join(f"{count:,} {what}" for what, count in sorted(ledger.notes.items()))
        wrong = "has no labelled texts to train on" + (f" ({rest})" if rest else "")
        raise fatal(str(path), "split", wrong, "name the training part train, or give another file")
    splits = make_splits(train, seed, parts["validation"] or None, parts["test"] or None, name=str(path))
    found += _notes(ledger, options) + splits.found
    return Splits(
        splits.train, splits.validation, splits.test, splits.labels, found, ledger.counts(), splits.fingerprint
    )


def _read(
    path: str | Path,
    name: str | None,
    options: ReadOptions,
    *,
    ledger: Ledger,
    parts: dict[str, list[Example]],
    found: list[str],
) -> None:
    """Add a source's texts to the parts; all of them to `name` where that is given."""
    source = open_source(path, options)
    found += source.found if name is None else [f"{name} — {line}" for line in source.found]
    if name is not None:
        parts[name] = [example for _, example in source.tagged(ledger)]
        return
    for split, example in source.tagged(ledger):
        parts[split].append(example)


def _notes(ledger: Ledger, options: ReadOptions) -> list[str]:
    lines = ["rows: " + ", ".join(f"{count:,} {name}" for name, count in ledger.counts().items())]
    lines += [f"{what}: {count:,}" for what, count in sorted(ledger.notes.items())]
    if ledger.quarantined:
        lines.append(f"warning: {ledger.quarantined:,} bad rows were left out and kept in {ledger.rejects}")
    unseen = [f"{a}={b}" for a, b in options.merge_labels.items() if not ledger.notes[merge_note(a, b)]]
    return lines + [f"warning: --merge-labels {shown(pair)} met no such label" for pair in unseen]


def make_splits(
    examples: Sequence[Example],
    seed: int = 0,
    validation: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
    *,
    name: str = "memory",
) -> Splits:
    """Divide labelled examples in memory: validation and test as given, else a stratified tenth for validation.

    >>> texts = [Example(f"text {n}", "ab"[n % 2]) for n in range(40)]
    >>> splits = make_splits(texts, seed=1)
    >>> len(splits.train), len(splits.validation), splits.labels
    (36, 4, ('a', 'b'))
    """
    check_classes(Counter(_label(example) for example in examples), name)
    train, held = list(examples), list(validation or [])
    made = not held
    if made:
        train, held = _divide(train, seed)
        if not held:
            wrong = "has no text that can be kept for validation: each class is one text repeated"
            raise fatal(name, "text", wrong, "give more texts, or a validation file")
    tested = list(test or [])
    labels = sort_labels(_label(example) for example in examples)
    _refuse_unknown(labels, held, tested, name)
    found = variant_lines(
        Counter(_label(example) for part in (examples, held * (not made), tested) for example in part)
    )
    how = f" (made from train, seed {seed})" if made else ""
    found.append(f"texts: {len(train):,} train, {len(held):,} validation{how}, {len(tested):,} test")
    found.append(
        f"labels: {len(labels)} ({', '.join(shown(label, 30) for label in labels[:10])}{' …' * (len(labels) > 10)})"
    )
    found += _duplicates(examples, held if not made else [], tested)
    return Splits(train, held, tested, labels, found, {}, fingerprint(train, held, tested))


def _label(example: Example) -> str:
    assert example.label is not None, "unlabelled examples cannot be divided"
    return example.label


def _divide(examples: list[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Take a stratified part by groups of identical texts, each group whole; train keeps every class."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, example in enumerate(examples):
        groups[example.text].append(at)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        by_label[_label(examples[members[0]])].append(members)
    left = Counter(_label(example) for example in examples)
    wanted = _quotas(left)
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for label in sorted(by_label):
        shuffled = [by_label[label][at] for at in random.permutation(len(by_label[label]))]
        _take(shuffled, wanted[label], examples, chosen, left)
    train = [example for at, example in enumerate(examples) if at not in chosen]
    return train, [examples[at] for at in sorted(chosen)]


def _quotas(sizes: Counter[str]) -> dict[str, int]:
    """Share the validation part among the classes by largest remainder, at least one text each.

    >>> _quotas(Counter(a=196, b=4))
    {'a': 19, 'b': 1}
    """
    count = sizes.total()
    total = min(MOST, round(SHARE * count))
    exact = {label: size * total / count for label, size in sizes.items()}
    quotas = {label: max(1, int(share)) for label, share in exact.items()}
    for label in sorted(exact, key=lambda label: (quotas[label] - exact[label], label)):
        if sum(quotas.values()) >= total:
            break
        quotas[label] += 1
    return quotas


def _take(groups: list[list[int]], wanted: int, examples: list[Example], chosen: set[int], left: Counter[str]) -> None:
    """Add groups to `chosen` until `wanted` texts are; never a class's last text, nor far more than wanted."""
    taken = 0
    smallest, most = min(groups, key=len), sum(map(len, groups)) // 2
    for at, members in enumerate([*groups, smallest] if len(smallest) <= most else groups):
        fits = len(members) <= wanted - taken or (at == len(groups) and taken == 0)  # nothing fitted: the smallest
        cost = Counter(_label(examples[member]) for member in members)
        if taken < wanted and fits and all(left[label] - count >= 1 for label, count in cost.items()):
            chosen.update(members)
            left.subtract(cost)
            taken += len(members)


def _refuse_unknown(labels: tuple[str, ...], held: list[Example], tested: list[Example], name: str) -> None:
    for part, examples in (("validation", held), ("test", tested)):
        for example in examples:
            if example.label not in labels:
                wrong = f"is {shown(example.label)} in {part}, but no training text has it"
                todo = "correct it, merge it (--merge-labels), or add training texts"
                raise fatal(example.place.file or name, "label", wrong, todo, example.place.line)


def _duplicates(train: Sequence[Example], held: Sequence[Example], tested: Sequence[Example]) -> list[str]:
    """Return one line for each kind of repeated text that was met."""
    seen: dict[str, set[str]] = defaultdict(set)
    for example in train:
        seen[example.text].add(_label(example))
    lines = []
    if len(train) > len(seen):
        lines.append(f"warning: {len(train) - len(seen):,} texts of train repeat another one word for word")
    contradictory = sum(len(labels) > 1 for labels in seen.values())
    if contradictory:
        lines.append(f"warning: {contradictory:,} texts of train stand there with different labels")
    for name, part in (("validation", held), ("test", tested)):
        overlap = sum(example.text in seen for example in part)
        if overlap:
            lines.append(f"warning: {overlap:,} texts of {name} stand in train too")
    return lines


def fingerprint(*parts: Sequence[Example]) -> str:
    """Return the SHA-256 over texts and labels in order; a changed, moved or added text changes it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d\n" % len(part))
        for example in part:
            for value in (example.text, example.label or ""):
                data = value.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()
