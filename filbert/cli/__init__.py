"""The command `filbert`: one function for each subcommand, a thin shell around the library.

    vocab → pretrain → adapt → fit → predict → evaluate → report

Results go to stdout, everything else to stderr; with --json stdout holds exactly one JSON object. Errors become a
message and an exit code (failures.py): 2 (input or options), 1 (anything else), 130 or 143 (stopped). Heavy modules
are imported inside the commands, so that --help is fast.

A new command is a plain function in a module beside this one, and a line in COMMANDS.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from filbert.cli import (
    ask,
    compare,
    distil,
    doctor,
    evaluate,
    explain,
    export,
    fit,
    hub,
    label,
    predict,
    pretrain,
    pretrained,
    report,
    serve,
    summarize,
    verify,
)
from filbert.errors import ConfigError, shown
from filbert.failures import guarded, told
from filbert.language import LANGUAGES
from filbert.language.terminal import VARIABLE, given, printing, terminal
from filbert.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {  # in the order of the help and of docs/commands.md
    "fit": fit.fit,
    "predict": predict.predict,
    "evaluate": evaluate.evaluate,
    "explain": explain.explain,
    "report": report.report,
    "doctor": doctor.doctor,
    "compare": compare.compare,
    "distil": distil.distil,
    "label": label.label,
    "serve": serve.serve,
    "push": hub.push,
    "pull": hub.pull,
    "export": export.export,
    "verify": verify.verify,
    "ask": ask.ask,
    "summarize": summarize.summarize,
    "vocab": pretrain.vocab,
    "pretrain": pretrain.pretrain,
    "adapt": pretrain.adapt,
    "fill": pretrained.fill,
    "next": pretrained.next_sentence,
    "convert": pretrained.convert,
}


class _Spoken:
    """What a command and the list of all have in common: their help is in the language of the terminal."""

    help: str | None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if terminal() != "en":
            from filbert.cli.help import ChineseHelp

            ctx.formatter_class = ChineseHelp
        return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]

    def get_short_help_str(self, limit: int = 45) -> str:
        if terminal() == "en":
            return super().get_short_help_str(limit)  # type: ignore[misc,no-any-return]
        return (self.help or "").partition("\n\n")[0]  # not cut, so that it is found in the catalogue


class _Commands(_Spoken, TyperGroup):
    """The list of all commands."""


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help takes a quarter of a second to load
    context_settings={"help_option_names": ["-h", "--help"]},
)


def reported(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that whatever it raises becomes a sentence and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(told(error, as_json=options.get("as_json", False), command=name)) from None

    return run


def _version(asked: bool) -> None:
    if asked:
        print(f"filbert {__version__}")
        raise typer.Exit


@app.callback()
def _filbert(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """BERT in a nutshell: from a file of labelled texts to a classifier.

    filbert fit reviews.csv, then filbert predict runs/reviews new.csv
    """


class _Command(_Spoken, TyperCommand):
    """A command that says where a text may begin with a hyphen."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        texts = [word for word in args if word.startswith("-") and " " in word]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # of click, or of typer's own copy of it
            if "codec can't encode" in getattr(error, "message", ""):  # a locale without the characters of a path
                error.message += " — set LC_ALL=C.UTF-8, or PYTHONUTF8=1"  # type: ignore[attr-defined]
            if texts and hasattr(error, "message"):
                error.message += f" (a text that begins with a hyphen stands after --: -- {shlex.quote(texts[0])})"
            raise


for _name, _command in COMMANDS.items():
    app.command(_name, cls=_Command)(reported(_name, _command))


@functools.cache
def _parser() -> Callable[..., Any]:
    """Return the command line as typer makes it, once: it takes longer than most of what a test asks."""
    return typer.main.get_command(app)


def run(words: Sequence[str]) -> int:
    """Run one command line, without the program's name, and return its exit code; whatever goes wrong is told.

    >>> run(["--version"])
    filbert 0.1.0
    0
    """
    with printing(given(words)):
        try:
            if (named := os.environ.get(VARIABLE) or LANGUAGES[0]) not in LANGUAGES:
                raise ConfigError(f"{VARIABLE} — is {shown(named)} — choose one of: {', '.join(LANGUAGES)}")
            return _parser()(list(words), prog_name="filbert", standalone_mode=False) or 0
        except Exception as error:
            return told(error, as_json="--json" in words)


def main() -> None:
    """Run the command line of this process and end it."""
    guarded(run)
