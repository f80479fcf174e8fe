"""`filbert fit`: train a model on texts with targets, and measure it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, facts, table
from filbert.cli.fit_options import measured_options, train_options
from filbert.cli.options import (
    Device,
    Json,
    Overwrite,
    RareLabels,
    Track,
    expanded,
    reading,
)
from filbert.cli.parts import command_line, kept_rejects, name_of, shell_quoted
from filbert.config import TrainConfig
from filbert.errors import ConfigError, counted
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import terminal, translated
from filbert.owned import finished
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.report.kind import Kind

    Fit = tuple[Path, dict[str, Any], Kind]


@expanded("config", train_options)
@reading()
@expanded("measured", measured_options)
def fit(
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the model [runs/NAME].")] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Model to start from: minilm, filbert-mini, a folder, a hub id, or tiny … large (random)."),
    ] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="First adapt the base to the texts.")] = False,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option("--unlabelled", help="More texts, unlabelled, for --adapt and --cascade."),
    ] = None,
    cascade: Annotated[
        float | None,
        typer.Option(help="Let a linear model answer the texts it is sure of, at a cost of so many points: 0.5."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="single-label, multi-label, regression, question-answering or summarization [found]."),
    ] = None,
    config: TrainConfig,
    read: ReadOptions,
    validation: Annotated[str | None, typer.Option(help="Texts to choose the best step by [a tenth].")] = None,
    test: Annotated[str | None, typer.Option(help="Texts to measure the finished model on.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Column whose values stay on one side of a split: contract, patient, author.")
    ] = None,
    rare_labels: RareLabels = "error",
    folds: Annotated[
        int | None,
        typer.Option(help="First cross-validate in so many folds, and write suspects.csv: doubtful targets."),
    ] = None,
    corrections: Annotated[
        str | None, typer.Option(help="suspects.csv of an earlier --folds, with corrected targets filled in.")
    ] = None,
    device: Device = None,
    measured: dict[str, Any],
    track: Track = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled texts, or on texts with numbers, measure it, and write model and report to a folder."""
    seeds, split_seed = measured.pop("seeds"), config.seed
    with Screen(results=not as_json) as screen:

        def trained(out: Path | None, config: TrainConfig, folds: int | None = None) -> Fit:
            return _fit(
                screen,
                path,
                out,
                read,
                config,
                parts={"validation": validation, "test": test, "corrections": corrections},
                how={"task": task, "group": group, "rare": rare_labels, "seed": split_seed},
                base=base,
                device=device,
                overwrite=overwrite,
                track=track or (),
                adapt=adapt,
                unlabelled=unlabelled or (),
                cascade=cascade,
                folds=folds,
                again=seeds > 1,
                **measured,
            )

        if seeds > 1 and out is None:
            out = Path("runs") / name_of(path)  # the same one when the command is repeated
        fits = [trained(out, config, folds)]
        folder, report, kind = fits[0]
        for n in range(1, seeds):
            screen.show("", f"seed {split_seed + n}")
            fits.append(trained(folder.with_name(f"{folder.name}-seed{n}"), replace(config, seed=split_seed + n)))
        with speaking(terminal()):
            show_fitted(screen, folder, report, kind)
        spread = _spread(screen, fits)
    if as_json:
        print_json({**fit_facts(folder, report, kind), **spread})


def _spread(screen: Screen, fits: Sequence[Fit]) -> dict[str, Any]:
    """Say how far the figures of runs with different seeds lie apart, and where to see more."""
    if len(fits) < 2:
        return {}
    from filbert.report.comparison import Run, spread_of, spreads

    runs = [Run(str(folder), report, kind) for folder, report, kind in fits]
    folders = [run.name for run in runs]
    found: dict[str, Any] = {}
    rows = []
    for metric in fits[0][2].metrics:
        spread = spreads(runs, metric).get(folders[0])
        if spread is not None:
            found[metric.key] = {"mean": spread.mean, "sd": spread.deviation}
            rows.append((translated(metric.name), spread_of(spread, metric)))
    screen.show("", f"over {len(fits)} seeds: mean ± standard deviation", *table(rows, right=[1]))
    screen.show(f"side by side: filbert report {shell_quoted(folders)}")
    return {"seeds": {"folders": folders, **found}}


def _fit(
    screen: Screen,
    path: str,
    out: Path | None,
    read: ReadOptions,
    config: TrainConfig,
    *,
    parts: Mapping[str, Any],
    how: Mapping[str, Any],
    device: str | None,
    again: bool,
    **options: Any,
) -> Fit:
    """Read the data, print what was found, train; if stopped, print the command that resumes the run.

    With `again` a run that this very command has finished on the same texts is not trained again.
    """
    from filbert.training.tracking import check_trackers

    check_trackers(options["track"])
    screen.say(f"reading {path}")
    from filbert.finetuning import fit as fitting
    from filbert.finetuning.dataset import read_dataset
    from filbert.folder.claim import default_folder, refuse_taken
    from filbert.model.device import best_device
    from filbert.readers.ledger import refuse_input

    best_device(device)
    name = name_of(path)
    if out is None:
        out = default_folder(name, overwrite=options["overwrite"])
        if out.name != name:
            taken = f"{out.with_name(name)} holds a finished model"
            screen.say(f"{taken}, so this one goes to {out}: --overwrite replaces it")
    inputs = (path, *parts.values(), options["base"], *options["unlabelled"])
    earlier = _finished_by_this_command(out) if again and not options["overwrite"] else None
    if earlier is None:
        refuse_taken(out, overwrite=options["overwrite"], inputs=inputs)
    out.parent.mkdir(parents=True, exist_ok=True)
    place = out if out.name else out.resolve()  # the folder one is in
    rejects = place.parent / f"{place.name}.rejects.jsonl"
    refuse_input(rejects, options["unlabelled"])
    with kept_rejects(rejects, read):
        data = read_dataset(path, read, rejects=rejects, **parts, **how)
    if earlier is not None:
        if earlier["data"].get("fingerprint") != data.splits.fingerprint:
            raise ConfigError(f"{out} — is of other texts than {path} holds now — --overwrite trains it again")
        screen.say(f"{out} is finished", indent=2)
        return out, earlier, data.task.page()
    for line in data.found:
        screen.say(line, indent=0 if line.startswith("warning:") else 2)
    if any(line.startswith("warning:") for line in data.found):
        screen.say(f"what they are about, line by line: {shell_quoted(['filbert', 'doctor', path])}")
    try:
        done = fitting.fit(
            data,
            out,
            name=name,
            source=path,
            config=config,
            device=device,
            command=command_line(),
            watch=screen,
            **options,
        )
    except KeyboardInterrupt:
        screen.clear()
        if any((out / "checkpoints").rglob("*.json")):
            resume = command_line(without="--overwrite", also=("-o", str(out)))
            screen.say(f"stopped; the checkpoint is kept. To resume: {command_line() if again else resume}")
        else:
            screen.say("stopped before the first checkpoint: there is nothing to resume")
        raise
    return done.folder, done.report, data.task.page()


def _finished_by_this_command(folder: Path) -> dict[str, Any] | None:
    """Return the report of a finished run that this very command has made; None where there is none."""
    from filbert.report import read_report

    if not finished(folder):
        return None
    report = read_report(folder)
    return report if (report.get("training") or {}).get("command") == command_line() else None


def show_fitted(screen: Screen, folder: Path, report: Mapping[str, Any], kind: Kind) -> None:
    """Print the scores beside the baseline's, how many texts were truncated, and the next commands.

    >>> show_fitted(screen, folder, report, task.page())  # doctest: +SKIP
    """
    from filbert.report.blend import blend_line
    from filbert.report.choosing import choosing_lines
    from filbert.report.distillation import distilled_lines
    from filbert.report.folds import folds_lines
    from filbert.report.selective import abstention_line
    from filbert.report.summary import summary_rows
    from filbert.report.unknown import unknown_line
    from filbert.report.words import (
        advice,
        against_baseline,
        cascade_line,
        chosen_on,
        diagnosis_line,
        difference_of,
        example_of,
        main_split,
        never_answered,
        repeated_line,
        truncation_line,
    )

    split = main_split(report)
    difference = difference_of(report, split)
    measured_on = counted(report["scores"][split]["n"], f"{split} {example_of(report)}")
    screen.show("", *table(summary_rows(report, kind.metrics)), data=True)
    if difference:
        screen.show("", against_baseline(report, split, kind.metrics[0]), prose=True)
    if difference and (sentence := advice(difference, measured_on, linear=report["baseline"].get("linear", True))):
        screen.show(sentence, prose=True)
    if joined := blend_line(report, kind.metrics[0]):
        screen.show("", joined, prose=True)
    failed = diagnosis_line(report)
    missed = "" if failed else never_answered(report, split)
    for line in (repeated_line(report, split, kind.metrics[0]), missed, failed):
        if line:
            screen.show("", line, prose=True)
    for line in (*distilled_lines(report), *choosing_lines(report), *folds_lines(report, str(folder))):
        screen.show("", line, prose=True)
    if report.get("cascade"):
        screen.show("", cascade_line(report["cascade"]), prose=True)
    for line in (abstention_line(report.get("abstention") or {}), unknown_line(report.get("unknown"))):
        if line:
            screen.show("", line, prose=True)
    screen.show("", truncation_line(split, report["truncation"][split], example_of(report)), prose=True)
    if split == "validation":
        screen.show(f"There is no test split. {chosen_on(report)}", prose=True)
    model = shell_quoted([str(folder)])
    pairs = report["data"].get("inputs") == 2
    rows = [
        (translated("report"), str(folder / "report.html")),
        (kind.next_step[0], f"filbert {kind.next_step[1].format(model=model)}")
        if kind.next_step
        else ("one pair", f'filbert predict {model} "a new text" --pair "its second text"')
        if pairs
        else ("one text", f'filbert predict {model} "a new text"'),
        ("a file", f"filbert predict {model} new.csv"),
        ("measure again", f"filbert evaluate {model} labelled.csv"),
    ]
    screen.show("", *table(facts(*rows)))


def fit_facts(folder: Path, report: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return what --json prints of a run, a part of report.json.

    >>> fit_facts(folder, report, task.page())["split"]  # doctest: +SKIP
    'test'
    """
    from filbert.report.words import difference_of, main_split

    split = main_split(report)
    known = (*(metric.key for metric in kind.metrics), "auc", "ece", "n")
    beside = (report.get("baseline") or {}).get(split) or {}
    return {
        "folder": str(folder),
        "report": str(folder / "report.html"),
        "task": report["task"],
        "labels": report.get("labels"),
        "base": report["model"]["base"],
        "counts": report["data"]["counts"],
        "quarantined": report["data"]["quarantined"],
        "split": split,
        "scores": {key: report["scores"][split][key] for key in known if key in report["scores"][split]},
        "baseline": {key: beside[key] for key in known if key in beside} or None,
        "difference": difference_of(report, split),
        "truncation": report["truncation"][split],
        "diagnosis": report.get("diagnosis"),
        "blend": report.get("blend"),
        "cascade": report.get("cascade"),
        "abstention": {key: each for key, each in (report.get("abstention") or {}).items() if key != "curves"} or None,
        "unknown": report.get("unknown"),
        "cross_validation": report.get("cross_validation"),
        "suspects": report["suspects"]["count"] if report.get("suspects") else None,
        "tuning": report.get("tuning"),
        "ensemble": report.get("ensemble"),
        "seconds": report["training"]["seconds"],
        "stopped": report["training"]["stopped"],
    }
