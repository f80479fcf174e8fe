"""`filbert distil`: train a small model on what a larger one answers to texts that need no labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filbert.cli.console import Screen
from filbert.cli.evaluate import check_texts, targets_of
from filbert.cli.fit import fit_facts, show_fitted
from filbert.cli.fit_options import train_options
from filbert.cli.options import Device, Json, Overwrite, expanded, reading
from filbert.cli.parts import command_line, engine_of, name_of, with_trained_columns
from filbert.config import TrainConfig
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import terminal
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.engine import Engine
    from filbert.records import Example

Teacher = Annotated[Path, typer.Argument(help="Run folder of the model to learn from.")]
LEARNED = ("train", "all", "unlabelled")  # parts of a source that are no held-out ones


@expanded("config", train_options, without=("balance",))
@reading()
def distil(
    teacher: Teacher,
    path: Annotated[
        str, typer.Argument(metavar="TEXTS", help="File, folder or archive of texts; labels are not read.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the student [runs/NAME-distilled].")
    ] = None,
    size: Annotated[str | None, typer.Option(help="mini: filbert-mini; tiny, small … begin at random [mini].")] = None,
    base: Annotated[
        str | None, typer.Option(help="Model that the student starts from, as for fit [filbert-mini].")
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option("--teacher", help="One more teacher; what all answer is averaged.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Above 1 the student learns more of the less probable answers.")
    ] = 2.0,
    config: TrainConfig,
    read: ReadOptions,
    validation: Annotated[str | None, typer.Option(help="Labelled texts to choose the best step by [a tenth].")] = None,
    test: Annotated[str | None, typer.Option(help="Labelled texts to measure student and teacher on.")] = None,
    device: Device = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave out the linear baseline.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a small, fast model (the student) on what a larger one (the teacher) answers to texts without labels."""
    with Screen(results=not as_json) as screen:
        from filbert.finetuning.distil import base_of
        from filbert.finetuning.distil import distil as distilled

        student = base_of(size, base)
        engine = engine_of(teacher, device, "fp32")
        read = with_trained_columns(read, engine)
        texts = _texts_of(screen, engine, path, read)
        labelled = {
            "validation": _labelled(screen, engine, validation, read),
            "test": _labelled(screen, engine, test, read),
        }
        done = distilled(
            [teacher, *(also or ())],
            texts,
            out or Path("runs") / f"{name_of(path)}-distilled",
            base=student,
            temperature=temperature,
            config=config,
            device=device,
            overwrite=overwrite,
            name=name_of(path),
            source=path,
            compare=not no_baseline,
            command=command_line(),
            watch=screen,
            **labelled,
        )
        kind = engine.task.page()
        with speaking(terminal()):
            show_fitted(screen, done.folder, done.report, kind)
    if as_json:
        print_json({**fit_facts(done.folder, done.report, kind), "distillation": done.report["distillation"]})


def _texts_of(screen: Screen, engine: Engine, path: str, read: ReadOptions) -> list[tuple[str, ...]]:
    """Return the texts of a source but those that it holds out for validation or test."""
    from filbert.readers.ledger import Ledger
    from filbert.readers.sources import open_source

    screen.say(f"reading {path}")
    source = open_source(path, replace(read, label=None), labelled=False)
    for line in source.found:
        screen.say(line, indent=2)
    check_texts(engine, source)
    ledger = Ledger(quarantine=read.on_bad_rows == "quarantine")
    found = [example.inputs for split, example in source.tagged(ledger) if split in LEARNED]
    ledger.finish()
    return found


def _labelled(screen: Screen, engine: Engine, path: str | None, read: ReadOptions) -> list[Example]:
    if path is None:
        return []
    screen.say(f"reading {path}")
    return targets_of(screen, engine, path, read, None)[0]
