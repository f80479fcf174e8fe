"""`filbert compare`: is one model better than another, on the same texts, or is it luck?"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, cells, fitted, table
from filbert.cli.evaluate import targets_of
from filbert.cli.options import Device, Json, ScoringPrecision, reading
from filbert.cli.parts import check_precision, engine_of, with_trained_columns
from filbert.errors import ConfigError, counted
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import terminal, translated
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.comparing import Measured
    from filbert.inference.engine import Engine
    from filbert.records import Example
    from filbert.report.kind import Metric

WIDEST = 28  # terminal cells of a run's name
Runs = Annotated[Path, typer.Argument(help="Run folder of `filbert fit`, or a folder of runs with different seeds.")]


@reading()
def compare(
    first: Runs,
    second: Runs,
    *,
    data: Annotated[
        str | None, typer.Option(help="Labelled texts to compare on [those both runs were measured on].")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, validation or test of --data [test, or all texts].")] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Count RUN-seed1, RUN-seed2 … beside a run, as `fit --seeds` leaves them.")
    ] = False,
    read: ReadOptions,
    precision: ScoringPrecision = "fp32",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Compare two models, or two sets of runs over seeds, on the same texts: a paired test of the difference."""
    from filbert.inference.comparing import difference, measured, refuse_different, runs_of

    check_precision(precision)
    folders = [runs_of(each, seeds=seeds) for each in (first, second)]
    every = [folder for each in folders for folder in each]
    if len({folder.resolve() for folder in every}) < len(every):
        raise ConfigError("a run is given twice — give two different ones")
    with Screen(results=not as_json) as screen:
        engines = [engine_of(folder, device, precision) for folder in every]
        refuse_different(engines, every)
        examples, split = _texts(screen, engines[0], every, data=data, read=read, split=split)
        examples = _unseen(screen, engines, every, examples)
        runs = []
        for engine, folder in zip(engines, every, strict=True):
            stage, total = f"scoring with {folder}", len(examples)

            def done(texts: int, stage: str = stage, total: int = total) -> None:
                screen.progress(stage, texts, total)

            runs.append(measured(engine, folder, examples, done))
        screen.clear()
        sides = runs[: len(folders[0])], runs[len(folders[0]) :]
        found = difference(engines[0], examples, *sides)
        metrics = engines[0].task.page().metrics
        with speaking(terminal()):
            _show(screen, (first, second), sides, found, metrics=metrics, split=split)
    if as_json:
        print_json(_facts((first, second), sides, found, metrics, split))


def _texts(
    screen: Screen, engine: Engine, folders: Sequence[Path], *, data: str | None, read: ReadOptions, split: str | None
) -> tuple[list[Example], str]:
    """Return the texts to compare on, and the name of their split."""
    if data is not None:
        examples, split, _ = targets_of(screen, engine, data, with_trained_columns(read, engine), split)
        return examples, split
    if split is not None:
        raise ConfigError("--split — is for --data — leave it out, or name the data")
    from filbert.finetuning.again import held_out_again

    return held_out_again(folders, read)


def _unseen(
    screen: Screen, engines: Sequence[Engine], folders: Sequence[Path], examples: list[Example]
) -> list[Example]:
    """Leave out the texts that one of the models was trained on, unless that is all of them."""
    from filbert.folder.seen import which_seen

    seen = {
        at
        for engine, folder in zip(engines, folders, strict=True)
        for at in which_seen(folder, engine.info, examples)["train"]
    }
    if not seen:
        return examples
    if len(seen) == len(examples):
        screen.say("warning: all of these texts were trained on by one of the models: the comparison means little")
        return examples
    were = counted(len(seen), "text is left out: it was", "texts are left out: they were")
    screen.say(f"warning: {were} trained on by one of the models")
    return [example for at, example in enumerate(examples) if at not in seen]


def _show(
    screen: Screen,
    names: tuple[Path, Path],
    sides: tuple[Sequence[Measured], Sequence[Measured]],
    found: Mapping[str, Any],
    *,
    metrics: Sequence[Metric],
    split: str,
) -> None:
    """Print the figures side by side, the difference, and what follows from it."""
    n = sides[0][0].scores["n"]
    texts = counted(n, "text")
    alike = names[0].name == names[1].name
    short = {name: str(name) if alike or cells(str(name)) <= WIDEST else name.name for name in names}
    of = [translated(f" ({len(side)} runs)") if len(side) > 1 else "" for side in sides]
    runs = [fitted(short[name], WIDEST) + more for name, more in zip(names, of, strict=True)]
    rows = [(translated(f"all {texts}" if split == "all" else f"{split}, {texts}"), *runs)]
    for metric in metrics:
        if metric.key in sides[0][0].scores:
            rows.append((translated(metric.name), *(_figure(side, metric) for side in sides)))
    screen.show("", *table(rows), data=True)
    screen.show("", *_sentences(names, found, metrics[0], n), prose=True)


def _figure(side: Sequence[Measured], metric: Metric) -> str:
    """Return a figure with its interval; over runs the mean and the standard deviation."""
    from filbert.report.comparison import Spread, spread_of
    from filbert.report.figures import with_interval

    if len(side) == 1:
        return with_interval(side[0].scores[metric.key], metric.percent)
    values = [float(run.scores[metric.key]["value"]) for run in side]
    return spread_of(Spread(len(values), statistics.mean(values), statistics.stdev(values)), metric)


def _sentences(names: tuple[Path, Path], found: Mapping[str, Any], metric: Metric, texts: int) -> list[str]:
    """Return the difference, the test, and the verdict."""
    from filbert.report.figures import points, signed, span
    from filbert.report.words import verdict

    value, low, high = (signed(found[key]) for key in ("value", "low", "high"))
    amount = f"{points(found['value'])} points ({span(found)})" if metric.percent else f"{value} ({low} to {high})"
    over = " over texts and seeds" if "runs" in found else ""
    lines = [f"difference in {translated(metric.name)}: {amount}, 95 % interval{over}"]
    if "p" in found:
        alone = f"{found['first_only']:,} texts are right by the first alone, {found['second_only']:,} by the second"
        lines.append(f"{alone}: McNemar's exact test, p = {found['p']:.2g}")
    said = verdict(found)
    if said == "no clear difference":
        lines.append(f"{counted(texts, 'text does', 'texts do')} not show which one is better.")
    else:
        lines.append(f"{names[said == 'worse']} is better.")
    return lines


def _facts(
    names: tuple[Path, Path],
    sides: tuple[Sequence[Measured], Sequence[Measured]],
    found: Mapping[str, Any],
    metrics: Sequence[Metric],
    split: str,
) -> dict[str, Any]:
    """Return what --json prints."""
    from filbert.report.words import verdict

    return {
        "split": split,
        "n": sides[0][0].scores["n"],
        "figure": metrics[0].key,
        "difference": dict(found),
        "verdict": verdict(found),
        "models": [
            {
                "model": str(name),
                "runs": [
                    {"folder": str(run.folder), **{m.key: run.scores[m.key] for m in metrics if m.key in run.scores}}
                    for run in side
                ],
            }
            for name, side in zip(names, sides, strict=True)
        ],
    }
