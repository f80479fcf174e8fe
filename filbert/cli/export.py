"""`filbert export`: a finished model for onnxruntime or OpenVINO, measured beside the model before it is kept."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, facts, table
from filbert.cli.fit import fit
from filbert.cli.options import Json, Model, Overwrite, read_options, reading
from filbert.cli.parts import kept_rejects, name_of, with_trained_columns
from filbert.errors import counted
from filbert.failures import print_json
from filbert.language.terminal import translated
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.export.gate import Measured
    from filbert.inference.engine import Engine
    from filbert.records import Example

MOST = 1_000  # texts to measure on


@reading()
def export(
    model: Model,
    *,
    format_: Annotated[str, typer.Option("--format", help="onnx or openvino.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weights: less than half the size.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write [MODEL-FORMAT].")] = None,
    texts: Annotated[
        str | None, typer.Option("--texts", help="Labelled texts to measure on [validation texts of the run].")
    ] = None,
    read: ReadOptions,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model for onnxruntime or OpenVINO, if it answers there as it does here."""
    from filbert.export.folder import export as write_export
    from filbert.inference.engine import load

    out = out or Path(f"{model}-{format_}{'-int8' * int8}")
    with Screen(results=not as_json) as screen:
        examples, what = _held_out(load(model, device="cpu"), model, texts, read)
        if what:
            screen.say(what)
        found = write_export(
            model,
            out,
            format_,
            examples,
            int8=int8,
            overwrite=overwrite,
            tell=lambda measured: _show(screen, measured),
            done=lambda done, total: screen.progress("scoring twice", done, total),
        )
        screen.show("", f"exported  {out}", f"try it    python {out}/example.py TEXT")
    if as_json:
        print_json({"out": str(out), "format": format_, "int8": int8, **found.told()})


def _held_out(engine: Engine, model: Path, texts: str | None, read: ReadOptions) -> tuple[Sequence[Example], str]:
    """Return the examples to measure on, and what they are, for people: those of a file, of the run, or none."""
    from filbert.readers.sources import open_source

    each = engine.task.EXAMPLE
    if texts is not None:
        with kept_rejects(Path(f"{name_of(texts)}.rejects.jsonl"), read) as rejects:
            source = open_source(texts, with_trained_columns(read, engine), rejects=rejects)
            how = engine.task.read(source.sample_targets(), read.merge_labels)
            split = next((name for name in ("test", "validation") if name in source.splits), source.splits[0])
            found = list(source.examples(split, parse=how.parse, locate=how.locate))[:MOST]
        return found, f"measuring on {counted(len(found), each)} of {texts}"
    if known := _of_the_run(model, engine.info):
        return known, f"measuring on {counted(len(known), f'validation {each}')} of the run"
    stored = len((engine.info.get("stored") or {}).get("inputs") or ())
    return (), f"measuring on {counted(stored, each)} stored in the model; figures need --texts FILE" if stored else ""


def _of_the_run(model: Path, info: dict[str, Any]) -> Sequence[Example]:
    """Return the validation examples of a run, read again as its command says; none where they are other ones."""
    from filbert.files import read_json
    from filbert.finetuning.dataset import read_dataset

    try:
        words = shlex.split(read_json(model / "report.json")["training"]["command"])
        app = typer.Typer(add_completion=False)
        app.command()(fit)
        asked = typer.main.get_command(app).make_context("fit", words[2:]).params
        options = read_options(**{name: asked[name] for name in inspect.signature(read_options).parameters})
        if not Path(asked["path"]).exists():  # a data set of the hub would be downloaded
            return ()
        parts = {name: asked[name] for name in ("task", "validation", "test", "seed") if asked[name] is not None}
        splits = read_dataset(asked["path"], options, **parts).splits
    except Exception:  # a run of Python's, files that went, options of another version: its texts are not known then
        return ()
    return splits.validation[:MOST] if splits.fingerprint == info.get("data_fingerprint") else ()


def _show(screen: Screen, found: Measured) -> None:
    """Print model and export beside each other, with the bars."""
    from filbert.export.gate import figure
    from filbert.report.figures import value_of

    screen.clear()
    bars, sides = found.bars, (found.before, found.after)
    rows: list[tuple[str, ...]] = [
        (f"{found.texts:,} texts", translated("model"), translated("export"), translated("at most"))
    ]
    for key, name, share in found.figures:
        before, after = (
            value_of(dict.fromkeys(("value", "low", "high"), figure(side.scores, key)), share) for side in sides
        )
        bar = f"{100 * bars.ece:g} points more" if key == "ece" else _points(bars.figure) if share else ""
        rows.append((name, before, after, translated(bar)))
    rows += [
        ("answers that change", "", f"{100 * found.changed:.2g} %", f"{100 * bars.changed:g} %"),
        ("largest change of a number", "", _small(found.change), f"{bars.change:g}"),
        ("in 99 % of the texts", "", _small(found.change_99), f"{bars.change_99:g}"),
    ]
    rows.append((translated("texts/s"), *(f"{found.texts / max(side.seconds, 1e-9):,.0f}" for side in sides), ""))
    rows.append((translated("weights"), *(f"{side.megabytes:,.1f} MB" for side in sides), ""))
    screen.show("", *table(facts(*rows), right=(1, 2, 3)), data=True)


def _points(bar: float) -> str:
    return f"{100 * bar:g} points less" if bar else "no less"


def _small(change: float) -> str:
    return f"{change:.3f}" if change >= 5e-4 else f"{change:.1e}"
