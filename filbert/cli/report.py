"""`filbert report`: rewrite report and model card of a finished run, or put several runs on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filbert.cli.console import Screen, table
from filbert.cli.options import Json, Language, Overwrite, spoken
from filbert.errors import ConfigError, ModelError, safe, shown
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import translated

if TYPE_CHECKING:
    from filbert.report.kind import Kind


def report(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Run folder of `filbert fit` or `pretrain`; several of fit."),
    ],
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Page of several runs [comparison.html].")] = None,
    language: Language = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Rewrite report.html and README.md of a finished run; of several, write one page that compares them."""
    from filbert.report import write_report

    if len(models) > 1:
        _compare(models, out or Path("comparison.html"), spoken(language), overwrite, as_json)
        return
    model = models[0]
    if out is not None:
        raise ConfigError("-o — is for several runs — give two or more, or leave it out")
    write_report(model, _kind_of(model), spoken(language))
    page, card = model / "report.html", model / "README.md"
    if as_json:
        print_json({"folder": str(model), "report": str(page), "card": str(card)})
    else:
        Screen().show(f"written: {page} and {card}")


def _compare(folders: Sequence[Path], out: Path, language: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the page of several runs, and show their main figures."""
    from filbert.files import write_text
    from filbert.inference.writers import check_output
    from filbert.report import comparison, read_report
    from filbert.report.figures import with_interval
    from filbert.report.words import main_split

    check_output(out, folders, folders, overwrite=overwrite, formats=(".html",))
    runs, tasks = [], {}
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is given twice — give each once")
    for folder in folders:
        kind, found = _kind_of(folder), read_report(folder)
        if not kind.metrics or not found.get("scores") or kind.missing(found):
            raise ModelError(f"{folder} — has no scores to compare — give run folders of `filbert fit`")
        tasks[str(found["task"])] = folder
        runs.append(comparison.Run(str(folder), found, kind))
    if len(tasks) > 1:
        said = ", ".join(f"{folder} ({name})" for name, folder in tasks.items())
        raise ConfigError(f"these runs are of different tasks: {said} — give runs of one")
    with speaking(language or runs[0].report.get("language") or "en"):
        page = comparison.render_comparison(runs)
    write_text(out, page)
    metric = runs[0].kind.metrics[0]
    seeds = comparison.spreads(runs, metric)
    warning = comparison.warning(runs)
    if as_json:
        rows = [
            {"folder": run.name, "split": main_split(run.report), metric.key: run.scores.get(metric.key)}
            for run in runs
        ]
        spread = {name: {"runs": each.runs, "mean": each.mean, "sd": each.deviation} for name, each in seeds.items()}
        print_json({"page": str(out), "runs": rows, "seeds": spread, "warning": warning})
        return
    with Screen() as screen:
        lines = [
            (translated("run"), translated(metric.name)),
            *((safe(run.name), with_interval(run.scores.get(metric.key), metric.percent)) for run in runs),
        ]
        screen.show(*table(lines), data=True)
        for name, each in seeds.items():
            said = comparison.spread_of(each, metric)
            screen.show(f"{safe(name)} and {each.runs - 1} more that differ in their seed alone: {metric.name} {said}")
        if warning:
            screen.say(f"warning: {warning}")
        screen.show(f"written: {out}")


def _kind_of(folder: Path) -> Kind:
    """Return the report's Kind for the task in a run's report.json. Raises ModelError."""
    from filbert import tasks
    from filbert.pretraining import card
    from filbert.report import read_report

    name = read_report(folder).get("task")
    if name == card.NAME:
        return card.KIND
    if str(name) not in tasks.TASKS:
        known = ", ".join((*tasks.TASKS, card.NAME))
        raise ModelError(f"{folder / 'report.json'} task — is {shown(name)} — choose a run of one of: {known}")
    return tasks.TASKS[str(name)].page()
