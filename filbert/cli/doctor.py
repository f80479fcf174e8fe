"""`filbert doctor`: what is wrong with a file of examples, in which lines, and what mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filbert.cli.console import Screen, cells
from filbert.cli.options import Json, Overwrite, reading
from filbert.errors import ConfigError, DataError, counted, safe
from filbert.failures import print_json
from filbert.language.terminal import translated
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from collections import Counter

    from filbert.data.findings import Finding
    from filbert.finetuning.examine import Examined

WIDEST = 96  # terminal cells of the places shown of a finding
LEVEL = 9  # terminal cells of its level, and of what is below


@reading()
def doctor(
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    validation: Annotated[str | None, typer.Option(help="Texts to choose the best step by, as for fit.")] = None,
    test: Annotated[str | None, typer.Option(help="Texts to measure a model on, as for fit.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="single-label, multi-label, regression, question-answering or summarization [found]."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column whose values must stay on one side of a split: contract, patient, author."),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Model whose word pieces are counted, as for fit.")] = None,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens of a text; longer ones are truncated.")] = 512,
    read: ReadOptions,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a cleaned copy to -o; the file itself is not changed.")
    ] = False,
    drop_near: Annotated[
        bool, typer.Option("--drop-near", help="Keep of texts that are nearly the same the first alone, too.")
    ] = False,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Look at the texts alone: no column is a label.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the cleaned copy.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with labelled texts before training, name the lines, and say what mends it.

    Exit code 1 where `fit` would refuse the file, else 0.
    """
    from filbert.finetuning.examine import examine
    from filbert.inference.writers import check_output

    if fix != (out is not None):
        raise ConfigError("--fix and -o go together: filbert doctor reviews.csv --fix -o cleaned.csv")
    if drop_near and not fix:
        raise ConfigError("--drop-near — is for the cleaned copy — add --fix -o cleaned.csv, or leave it out")
    if unlabelled and (task or read.label):
        raise ConfigError("--unlabelled — looks at texts alone — leave --task and --label out")
    if out is not None:
        check_output(out, (path, validation, test), overwrite=overwrite)
    with Screen(results=not as_json) as screen:
        screen.say(f"reading {path}")
        with _hinted():
            examined = examine(
                path,
                read,
                held_out={"validation": validation, "test": test},
                watch=screen,
                task=task,
                group=group,
                base=base,
                max_length=max_length,
                labelled=not unlabelled,
            )
        screen.clear()
        for line in examined.read.found:
            screen.say(line, indent=2)
        _show(screen, examined, _folders(path, validation, test))
        counts = _fix(screen, examined, out, overwrite=overwrite, near=drop_near) if out is not None else None
    refused = any(each.level == "refused" for each in examined.findings)
    if as_json:
        print_json(
            {
                "source": path,
                "task": examined.read.task.NAME or None,
                "counts": {name: len(part) for name, part in examined.parts.items()},
                "base": examined.base or None,
                "tokens": examined.lengths or None,
                "fit_would_refuse": refused,
                "findings": [each.facts for each in examined.findings],
                "cleaned": {"file": str(out), **counts} if counts is not None else None,
            }
        )
    if refused:
        raise typer.Exit(1)


@contextmanager
def _hinted() -> Iterator[None]:
    """Say in an error on the label's column that texts without labels can be examined, too."""
    try:
        yield
    except DataError as error:
        hint = "; --unlabelled looks at the texts alone"
        unclear = "which column is the label"
        raise DataError(
            [replace(each, todo=each.todo + hint) if unclear in each.wrong else each for each in error.problems],
            error.total,
        ) from error


def _folders(*paths: str | None) -> list[str]:
    """Return what places begin with that need not be shown: the folders of the files that were given, longest first."""
    local = [Path(path) for path in paths if path]
    found = {f"{path}{sep}" if path.is_dir() else f"{path.parent}{sep}" for path in local for sep in ("/", os.sep)}
    found |= {f"{path}!" for path in local if path.is_file()}  # of an archive
    return sorted(found - {"./"}, key=len, reverse=True)


def _line(word: str, said: str) -> str:
    """Return a line that begins with a word, already translated, in a column of its own."""
    return f"{word}{' ' * max(LEVEL - cells(word), 1)}{said}"


def _show(screen: Screen, examined: Examined, folders: Sequence[str]) -> None:
    """Print how many texts there are and how long, then each finding with lines and cure."""
    comma = translated(", ")
    texts = comma.join(f"{translated(name)} {len(part):,}" for name, part in examined.parts.items())
    screen.show("", _line(translated("texts"), texts), data=True)
    if found := examined.lengths:
        cut = f", {found['cut']:,} cut" if found["cut"] and not examined.read.task.WINDOWS else ""
        figures = f"{found['median']:,} in the middle, 95 % up to {found['most']:,}, longest {found['longest']:,}"
        said = "".join(map(translated, (figures, cut, f" (base {examined.base})")))
        screen.show(_line(translated("tokens"), said), data=True)
    for each in examined.findings:
        _show_finding(screen, each, folders)
    counts = [
        (level, sum(each.level == level for each in examined.findings)) for level in ("refused", "warning", "note")
    ]
    said = comma.join(
        translated(counted(many, level, level if level == "refused" else "")) for level, many in counts if many
    )
    refused = translated("; fit would refuse this") if counts[0][1] else ""
    said = f"{said}{refused}" if said else translated("nothing that needs mending")
    screen.show("", _line(translated("found"), said), data=True)


def _show_finding(screen: Screen, found: Finding, folders: Sequence[str]) -> None:
    words = {"refused": translated("refused"), "warning": translated("warning"), "note": translated("note")}
    lines = ["", _line(words[found.level], translated(found.said))]
    if found.places:
        shown: list[str] = []
        for place in map(safe, found.places):
            for folder in folders:
                place = place.replace(folder, "")
            if shown and cells(", ".join([*shown, place])) > WIDEST:
                break
            shown.append(place)
        left = len(found.places) - len(shown)
        more = translated(f", … ({left:,} more: --json)") if left else ""
        lines.append(_line("", f"{', '.join(shown)}{more}"))
    if found.cure:
        lines.append(_line("", f"→ {translated(found.cure)}"))
    screen.show(*map(safe, lines), data=True)


def _fix(screen: Screen, examined: Examined, out: Path, *, overwrite: bool, near: bool) -> Counter[str]:
    """Write the cleaned copy and print what became of the rows."""
    from filbert.finetuning.clean import write_cleaned

    counts = write_cleaned(examined, out, overwrite=overwrite, near=near)
    bad = sum(each.count for each in examined.findings if each.check == "bad rows")
    if bad:
        counts["bad"] = bad
    words = {"repeated": translated("repeated"), "contradictory": translated("contradictory")}
    words |= {"empty": translated("empty"), "bad": translated("bad")}
    rest = translated(", ").join(
        f"{many:,} {words.get(why) or translated(why)}" for why, many in counts.items() if why != "written"
    )
    said = f"{out}: {translated(counted(counts['written'], 'row'))}"
    rest = translated("; left out or changed: ") + rest if rest else ""
    screen.show("", _line(translated("cleaned"), said + rest), data=True)
    return counts
