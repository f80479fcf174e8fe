"""The command `filbert`: thin verbs over the modules of the same names.

    vocab → pretrain → adapt → fit → predict → evaluate → report

Results go to stdout, everything else to stderr; with --json stdout holds exactly one JSON object. What can be foreseen
to go wrong is told in plain words, with exit code 2 (input or options), 1 (anything else), 130 or 143 (stopped).
Heavy parts are imported inside the commands, so that help is there at once.

A new command is a plain function in a module beside this one, and a line in COMMANDS.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from filbert.cli import ask, evaluate, fit, predict, pretrain, report
from filbert.cli.console import safe
from filbert.cli.parts import print_json
from filbert.errors import DataError, FilbertError, TrainingError
from filbert.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {  # in the order of the help and of docs/commands.md
    "fit": fit.fit,
    "predict": predict.predict,
    "evaluate": evaluate.evaluate,
    "report": report.report,
    "vocab": pretrain.vocab,
    "pretrain": pretrain.pretrain,
    "adapt": pretrain.adapt,
    "fill": ask.fill,
    "next": ask.next_sentence,
    "convert": ask.convert,
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help takes a quarter of a second to load
    context_settings={"help_option_names": ["-h", "--help"]},
)


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that errors raised on purpose become a message and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except BrokenPipeError:  # `filbert … | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except KeyboardInterrupt as stop:
            raise typer.Exit(128 + getattr(stop, "number", int(signal.SIGINT))) from None
        except (FilbertError, OSError) as error:
            if os.environ.get("FILBERT_DEBUG"):
                raise
            raise typer.Exit(_told(error, as_json=options.get("as_json", False))) from None

    return run


def _told(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong and return the exit code."""
    print(f"error: {safe(str(error))}", file=sys.stderr)
    if as_json:
        told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        if isinstance(error, DataError):
            told["problems"] = [
                {"file": p.place.file, "line": p.place.line, "field": p.field, "wrong": p.wrong, "todo": p.todo}
                for p in error.problems
            ]
            told["total"] = error.total
        print_json({"error": told})
    return 2 if isinstance(error, FilbertError) and not isinstance(error, TrainingError) else 1


def _version(asked: bool) -> None:
    if asked:
        print(f"filbert {__version__}")
        raise typer.Exit


@app.callback()
def _filbert(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """BERT in a nutshell: from a file of labelled texts to a classifier.

    filbert fit reviews.csv, then filbert predict runs/reviews new.csv
    """


for _name, _command in COMMANDS.items():
    app.command(_name)(reported(_command))


def main() -> None:
    """Run the command line; SIGTERM ends it as Ctrl-C does, so that nothing half-written stays."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without "…" still gets its answer
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    app()
