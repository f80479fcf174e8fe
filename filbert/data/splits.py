"""Train, validation and test: as given, else a stratified validation part of train — never of test.

Texts that a model reads alike (text/same.py) stay on one side, so that validation never scores a text that was trained
on. The division depends on the texts, their order and the seed only. What is kept in proportion, the strata, is handed
in: a label, the rarest of several, a range of numbers. Duplicates and overlaps are duplicates.py's.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from filbert.data.duplicates import Repeats, repeats
from filbert.data.groups import Key, group_key, linked, same_text
from filbert.errors import DataError, Place, Problem, counted, shown
from filbert.records import Example

SHARE, MOST = 0.1, 1_000  # of the training texts that become validation
RARE, RARE_TEXTS = 5, 5  # so many times smaller than the largest stratum, one gets so many validation texts

BUT_FOR = "but for case, accents, blanks or characters that show nothing"

Strata = Callable[[Sequence[Example]], Sequence[Hashable]]


@dataclass(frozen=True)
class Splits:
    """The texts to train, choose and test a model with; `test` may be empty."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    found: list[str] = field(default_factory=list)
    fingerprint: str = ""
    repeated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Of each part that was given, which of its texts stand in train, too, as a model reads them."""
    made: bool = False
    """Whether the validation part was taken from train."""
    fold_of: Sequence[int] = ()
    """The fold of each text where both parts are the same texts, each answered by a model that did not see its fold."""

    @property
    def parts(self) -> dict[str, list[Example]]:
        """The parts by name, `test` where there is one."""
        found = {"train": self.train, "validation": self.validation}
        return {**found, "test": self.test} if self.test else found

    @property
    def held_out(self) -> list[str]:
        """The texts that nothing may learn from."""
        return [text for example in (*self.validation, *self.test) for text in example.inputs]


def make_splits(
    examples: Sequence[Example],
    strata_of: Strata,
    seed: int = 0,
    *,
    whole: Key | None = None,
    group: str | None = None,
    validation: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
    name: str = "memory",
    each: str = "text",
) -> Splits:
    """Divide examples in memory: validation and test as given, else a stratified tenth for validation.

    Examples of one `whole` stay on one side where that can be, as identical texts do; those with one value in the
    column `group` always. `each` is what one is called. Raises DataError where no text can be kept for validation.

    >>> texts = [Example((f"text {n}",), "ab"[n % 2]) for n in range(40)]
    >>> splits = make_splits(texts, lambda examples: [each.target for each in examples], seed=1)
    >>> len(splits.train), len(splits.validation)
    (36, 4)
    """
    train, held, tested = list(examples), list(validation or []), list(test or [])
    both, made = list[str](), not held
    if made:
        strata, every = strata_of(train), train
        kept = [same_text, *([whole] if whole else []), *([group_key(group)] if group else [])]
        train, held = _divide(every, strata, seed, linked(every, kept)) if kept[1:] else ([], [])
        apart = bool(held) or whole is None
        if not held and group:
            wrong = f"has no texts that can be kept for validation with column {shown(group)} on one side"
            todo = "choose a column with more values, or give a validation file"
            raise DataError([Problem(Place(name), "--group", wrong, todo)])
        if not held:
            train, held = _divide(every, strata, seed, [same_text(example) for example in every])
        if not held:
            wrong = "has no text that can be kept for validation: all are one text repeated, or one for each class"
            raise DataError([Problem(Place(name), "text", wrong, "give more texts, or a validation file")])
        share = len(held) / len(every)
        labels = all(isinstance(each, str) for each in strata)
        if labels and share > 2 * SHARE and len(set(strata)) > 2 * SHARE * len(every):
            kinds = f"each of {len(set(strata)):,} classes has a text there"
            both += [
                f"warning: validation takes {share:.0%} of the texts, as {kinds}; --rare-labels drops or joins them"
            ]
        if not apart:
            both += [
                "warning: rows on the same text stand in train and validation: its texts are too few to keep apart"
            ]
    apart_by = f", {shown(group, 30)} on one side" if group else ""
    how = f" (made from train, seed {seed}{apart_by})" if made else ""
    found = [f"{each}s: {len(train):,} train, {len(held):,} validation{how}, {len(tested):,} test"]
    met = repeats(examples, {"validation": held if not made else [], "test": tested})
    repeated = {name: [at for at, _, _ in shared] for name, shared in met.shared.items()}
    found += both + _repeated(met, each)
    return Splits(train, held, tested, found, fingerprint(train, held, tested), repeated, made)


def _divide(
    examples: list[Example], strata: Sequence[Hashable], seed: int, keys: Sequence[Hashable]
) -> tuple[list[Example], list[Example]]:
    """Take a stratified part by groups of texts with one key, each group whole; train keeps every stratum."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for at, key in enumerate(keys):
        groups[key].append(at)
    by_stratum: dict[Hashable, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        by_stratum[strata[members[0]]].append(members)
    left = Counter(strata)
    wanted = _quotas(left)
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for key in sorted(by_stratum, key=_in_order):
        shuffled = [by_stratum[key][at] for at in random.permutation(len(by_stratum[key]))]
        _take(shuffled, wanted[key], strata, chosen, left)
    train = [example for at, example in enumerate(examples) if at not in chosen]
    return train, [examples[at] for at in sorted(chosen)]


def _in_order(key: Hashable) -> tuple[str, str]:
    return type(key).__name__, str(key)


def _quotas(sizes: Mapping[Hashable, int]) -> dict[Hashable, int]:
    """Share the validation part among the strata by largest remainder, at least one text each.

    A rare one gets up to RARE_TEXTS, a quarter of it at most: of one text nothing can be read off.

    >>> _quotas(Counter(a=196, b=4))
    {'a': 19, 'b': 1}
    >>> _quotas(Counter(a=285, b=15))
    {'a': 28, 'b': 3}
    """
    count = sum(sizes.values())
    total = min(MOST, round(SHARE * count))
    exact = {key: size * total / count for key, size in sizes.items()}
    largest = max(sizes.values())
    fewest = {key: min(RARE_TEXTS, size // 4) if RARE * size <= largest else 1 for key, size in sizes.items()}
    quotas = {key: max(1, fewest[key], int(share)) for key, share in exact.items()}
    for key in sorted(exact, key=lambda key: (quotas[key] - exact[key], _in_order(key))):
        if sum(quotas.values()) >= total:
            break
        quotas[key] += 1
    return quotas


def _take(
    groups: list[list[int]], wanted: int, strata: Sequence[Hashable], chosen: set[int], left: Counter[Hashable]
) -> None:
    """Add groups to `chosen` until `wanted` texts are; never a stratum's last text, nor far more than wanted."""
    taken = 0
    smallest, most = min(groups, key=len), sum(map(len, groups)) // 2
    for at, members in enumerate([*groups, smallest] if len(smallest) <= most else groups):
        fits = len(members) <= wanted - taken or (at == len(groups) and taken == 0)  # nothing fitted: the smallest
        cost = Counter(strata[member] for member in members)
        if taken < wanted and fits and all(left[key] - count >= 1 for key, count in cost.items()):
            chosen.update(members)
            left.subtract(cost)
            taken += len(members)


def _repeated(found: Repeats, each: str) -> list[str]:
    """Return a line for each kind of repeated text that was met."""

    def those(count: int, verb: str) -> str:
        return counted(count, f"{each} {verb}s", f"{each}s {verb}")

    lines = []
    for copies, how in ((found.word_for_word, "word for word"), (found.alike, BUT_FOR)):
        if copies:
            lines.append(f"warning: {those(len(copies), 'of train repeat')} another one {how}")
    if found.contradictory:
        lines.append(f"warning: {those(len(found.contradictory), 'of train stand')} there with different targets")
    for name, shared in found.shared.items():
        overlap = sum(exact for _, _, exact in shared)
        if overlap:
            lines.append(f"warning: {those(overlap, f'of {name} stand')} in train too")
        if alike := len(shared) - overlap:
            lines.append(f"warning: {those(alike, f'of {name} stand')} in train {BUT_FOR}")
    return lines


def fingerprint(*parts: Sequence[Example]) -> str:
    """Return the SHA-256 over texts and targets in order; a changed, moved or added text changes it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d\n" % len(part))
        for example in part:
            for value in (*example.inputs, str(example.target)):
                data = value.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()
