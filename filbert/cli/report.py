"""`filbert report`: rewrite report and model card of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filbert.cli.console import Screen
from filbert.cli.options import Json
from filbert.errors import ModelError, shown
from filbert.failures import print_json

if TYPE_CHECKING:
    from filbert.report.kind import Kind


def report(
    model: Annotated[Path, typer.Argument(help="Run folder that `filbert fit` or `pretrain` wrote.")],
    as_json: Json = False,
) -> None:
    """Rewrite report.html and README.md of a finished run."""
    from filbert.report import write_report

    write_report(model, _kind_of(model))
    page, card = model / "report.html", model / "README.md"
    if as_json:
        print_json({"folder": str(model), "report": str(page), "card": str(card)})
    else:
        Screen().show(f"written: {page} and {card}")


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
