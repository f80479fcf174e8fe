"""What is wrong, or strange, with texts and their targets, whatever the task: each finding with lines and a cure.

    quick, in every fit: classes too small, groups on both sides, shortcuts, languages
    thorough, `filbert doctor`: repeats and contradictions with their lines, near duplicates

Files are the readers' business, tokens and the task's refusals finetuning/examine.py's. Of many texts a sample is
looked at, so time and memory are bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from filbert.data.duplicates import MOST, Repeats, near_duplicates
from filbert.data.findings import HELD, NOTE, Finding, places
from filbert.data.groups import likely_groups, on_both_sides
from filbert.data.shortcuts import SAMPLED, shortcuts
from filbert.errors import counted, shown
from filbert.records import Example
from filbert.text.languages import language_of

Parts = Mapping[str, Sequence[Example]]
FEW = 10  # training texts of a class: of fewer, little can be learned
NAMED = 10  # classes, languages, groups that are listed in a sentence
MINORITY = 0.3  # share of texts in another language than most, below which they look like strangers
FIX = "--fix -o CLEANED"
NEAR = "--drop-near"


def quick(parts: Parts, classes: Sequence[Sequence[str]], unused: Sequence[str], group: str | None) -> list[Finding]:
    """Return what a second's look at the texts shows; `classes` are those of the training texts.

    `unused` are the columns that are neither text nor target, `group` the one that is kept on one side of a split.

    >>> texts = [Example((f"text {n}",), "ab"[n < 3]) for n in range(60)]
    >>> print(quick({"train": texts}, [(text.target,) for text in texts], [], None)[0].said)
    1 class has fewer than 10 training texts: 'b' (3)
    """
    train = parts["train"]
    found = [*_small(train, classes), *_groups(parts, unused, group)]
    return [*found, *shortcuts(train, classes, unused), *_languages(train)]


def _small(train: Sequence[Example], classes: Sequence[Sequence[str]]) -> list[Finding]:
    counts = Counter(name for names in classes for name in names)
    few = sorted((many, name) for name, many in counts.items() if many < FEW)
    if not few or len(train) < FEW * len(counts) / 2:  # of a handful of texts every class is small
        return []
    listed = ", ".join(f"{shown(name, 40)} ({many:,})" for many, name in few[:NAMED]) + ", …" * (len(few) > NAMED)
    said = f"{counted(len(few), 'class has', 'classes have')} fewer than {FEW} training texts: {listed}"
    known = {name for _, name in few}
    of_them = [example for example, names in zip(train, classes, strict=True) if known & set(names)]
    cure = 'add texts of them, --balance auto, or merge them: --merge-labels "RARE=OTHER"'
    return [Finding("small classes", said, len(few), places(of_them), cure)]


def _groups(parts: Parts, unused: Sequence[str], group: str | None) -> list[Finding]:
    """Say which groups stand on two sides; of columns that nobody named, only those that look like groups."""
    findings = []
    given = len(parts) > 1
    used = [column for column in parts["train"][0].columns if column not in unused]
    for column in [group] if group else likely_groups(parts["train"], used):
        name = shown(column, 30)
        if not given and not group:
            values = len({example.columns.get(column, "") for example in parts["train"]})
            said = (
                f"column {name} has {values:,} values in {len(parts['train']):,} rows: rows of one value may be alike"
            )
            cure = f"fit --group {column} keeps each value on one side of the split"
            findings.append(Finding("groups", said, values, (), cure, NOTE))
        for part, shared in on_both_sides(parts, column).items():
            values = len({value for _, value in shared})
            have = counted(len(shared), f"text of {part} has", f"texts of {part} have")
            said = f"{have} a {name} that stands in train, too ({values:,} values)"
            where = places([parts[part][at] for at, _ in shared])
            cure = f"scores on them are too good: fit --group {column} on one file divides by {name}"
            findings.append(Finding("groups", said, len(shared), where, cure))
    return findings


def _languages(train: Sequence[Example]) -> list[Finding]:
    sample = train[:: max(1, len(train) // SAMPLED)]
    told = [language_of(example.inputs[-1]) for example in sample]
    counts = Counter(language for language in told if language)
    if len(counts) < 2:
        return []
    total, usual = counts.total(), counts.most_common(1)[0][0]
    listed = ", ".join(f"{name} {100 * many / total:.1f} %" for name, many in counts.most_common(NAMED))
    others = [example for example, name in zip(sample, told, strict=True) if name and name != usual]
    if len(others) < max(2, 0.001 * total):
        return []
    cure = "choose a --base for all of them, or fit a model for each" if len(others) >= MINORITY * total else ""
    cure = cure or f"see whether they belong here; a --base for {usual} reads them badly"
    said = f"texts in several languages, as far as it can be told: {listed}"
    return [Finding("languages", said, len(others), places(others), cure, NOTE)]


def repeated(parts: Parts, met: Repeats) -> list[Finding]:
    """Return a finding for each kind of repeated text, with the lines of both."""
    train, findings = parts["train"], list[Finding]()
    alike = "but for case, accents, blanks or characters that show nothing"
    for copies, how in ((met.word_for_word, "word for word"), (met.alike, alike)):
        if copies:
            said = f"{counted(len(copies), 'text of train repeats', 'texts of train repeat')} another one {how}"
            where = [f"{train[copy].place} = {train[first].place}" for copy, first in copies[:HELD]]
            findings.append(Finding("duplicates", said, len(copies), where, f"{FIX} keeps the first of each"))
    if met.contradictory:
        groups = len(met.contradictory)
        said = f"{counted(groups, 'text of train stands', 'texts of train stand')} there with different targets"
        where = [_contradiction([train[at] for at in group]) for group in met.contradictory[:HELD]]
        cure = f"correct them; {FIX} keeps the target that most of them have, and none where there is no such"
        findings.append(Finding("contradictions", said, groups, where, cure))
    for name, shared in met.shared.items():
        exact = [parts[name][at].inputs for at, _, word_for_word in shared if word_for_word]
        different = f" ({len(set(exact)):,} different ones)" * (len(set(exact)) < len(exact))
        some = f"{len(exact):,} of them " if len(exact) < len(shared) else ""
        beside = f", {some}word for word{different}"
        stand = counted(len(shared), f"text of {name} stands", f"texts of {name} stand")
        said = f"{stand} in train, too{beside}"
        where = [f"{parts[name][at].place} = {train[first].place}" for at, first, _ in shared[:HELD]]
        cure = f"fit gives its scores without them, too; {FIX} leaves them out of train"
        findings.append(Finding("overlap", said, len(shared), where, cure))
    return findings


def _contradiction(examples: Sequence[Example]) -> str:
    return ", ".join(f"{example.place} {shown(example.target, 30)}" for example in examples[:4])


def nearly_repeated(parts: Parts, told: Callable[[int, int], None]) -> tuple[list[Finding], list[int]]:
    """Return the texts that are nearly another one, within parts and across, and which of train are copies of a first.

    Of many texts a sample of train is compared.
    """
    held = [(name, at) for name, part in parts.items() if name != "train" for at in range(len(part))]
    step = max(1, -(-len(parts["train"]) // max(1, MOST - len(held))))
    rows = [("train", at) for at in range(0, len(parts["train"]), step)] + held[:MOST]
    pairs = near_duplicates([parts[name][at].inputs for name, at in rows], lambda done: told(done, len(rows)))
    findings = []
    for across in (False, True):
        chosen = [(rows[a], rows[b], share) for a, b, share in pairs if (rows[a][0] != rows[b][0]) == across]
        if not chosen:
            continue
        where = [
            f"{parts[one[0]][one[1]].place} ≈ {parts[two[0]][two[1]].place} ({100 * share:.0f} %)"
            for one, two, share in chosen[:HELD]
        ]
        sample = f" (of every {step}th text of train)" if step > 1 else ""
        if across:
            are = counted(len(chosen), "text held out is", "texts held out are")
            said = f"{are} nearly the same as one of another part{sample}"
            cure = "scores on them are too good: look at some, and take them out on one side"
        else:
            said = f"{counted(len(chosen), 'text is', 'texts are')} nearly the same as another one of its part{sample}"
            cure = f"look at some: templates and copies count more than once; {FIX} {NEAR} keeps the first of each"
        findings.append(Finding("near duplicates", said, len(chosen), where, cure))
    return findings, [rows[a][1] for a, b, _ in pairs if rows[a][0] == rows[b][0] == "train"]


def superfluous(train: Sequence[Example], met: Repeats) -> dict[int, str]:
    """Return which texts of train a cleaned copy leaves out, and why.

    >>> from filbert.data.duplicates import repeats
    >>> rows = [Example(("a",), "x"), Example(("A",), "x"), Example(("b",), "x"), Example(("b",), "y")]
    >>> superfluous(rows, repeats(rows, {}))
    {1: 'repeated', 2: 'contradictory', 3: 'contradictory'}
    """
    out = {copy: "repeated" for copy, _ in (*met.alike, *met.word_for_word)}
    for group in met.contradictory:
        targets = Counter(str(train[at].target) for at in group)
        target, many = targets.most_common(1)[0]
        kept = next(at for at in group if str(train[at].target) == target) if 2 * many > len(group) else None
        out.update({at: "contradictory" for at in group if at != kept})
        out.pop(kept, None) if kept is not None else None
    first_of = dict((*met.word_for_word, *met.alike))

    def root(at: int) -> int:
        while at in first_of:
            at = first_of[at]
        return at

    held = {root(first) for shared in met.shared.values() for _, first, _ in shared}
    out.update({at: "held out, too" for at in range(len(train)) if root(at) in held})
    return dict(sorted(out.items()))
