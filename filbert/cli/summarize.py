"""`filbert summarize`: the sentences of a text that say most of it, by a trained model or by a base as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen
from filbert.cli.options import Device, Json, Overwrite, ScoringPrecision, reading
from filbert.cli.parts import (
    SUFFIXES,
    check_precision,
    engine_of,
    kept_rejects,
    name_of,
    one_text,
    with_trained_columns,
)
from filbert.errors import ConfigError, DataError, Place, Problem, counted, safe, shown
from filbert.failures import print_json
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.engine import Engine


@reading(labelled=False, pairs=False)
def summarize(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Run folder of `filbert fit`; none with --base.")],
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="A text, a .txt file, a table of many texts, or - for stdin.")
    ] = None,
    *,
    base: Annotated[
        str | None, typer.Option(help="Base model for texts without reference summaries: minilm, filbert-mini, …")
    ] = None,
    sentences: Annotated[int | None, typer.Option(help="So many sentences [as the training summaries; 3].")] = None,
    words: Annotated[int | None, typer.Option(help="So many words at most; a Chinese character is a word.")] = None,
    characters: Annotated[int | None, typer.Option(help="So many characters at most.")] = None,
    share: Annotated[float | None, typer.Option(help="This share of the sentences: 0.2 is every fifth.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Of a table: .csv, .jsonl, … [NAME.summaries.csv].")
    ] = None,
    read: ReadOptions,
    precision: ScoringPrecision = "fp32",
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Summarize a text, or every row of a table, by choosing sentences."""
    from filbert import tasks
    from filbert.inference.writers import check_output

    check_precision(precision)
    if base is None and source is None:
        raise ConfigError(f"only {shown(model)} is given — give a model and a text, or a text and --base minilm")
    if base is not None and source is not None:
        raise ConfigError("a model and --base are given — choose one of them")
    given = model if source is None else source
    asked = {"sentences": sentences, "words": words, "characters": characters, "share": share}
    if not _is_table(given) and (out is not None or overwrite):
        raise ConfigError("-o and --overwrite are for a table — the summary of one text is printed: leave them out")
    with Screen(results=not as_json) as screen:
        text = None if _is_table(given) else _text(given, read.encoding)
        if base is None:
            engine = engine_of(Path(model), device, precision)
            if engine.task is not tasks.of_summaries():
                raise ConfigError(
                    f"{model} — is a model for {engine.task.NAME}, and makes no summaries — give one fitted on "
                    "summaries, or --base minilm"
                )
        else:
            engine = _untrained(screen, base, text, device)
        engine.settings = tasks.resized(engine.settings, **asked)  # type: ignore[arg-type]
        if text is not None:
            facts = _one(screen, engine, text)
        else:
            out = out or Path(f"{name_of(given)}.summaries.csv")
            check_output(out, (given,), () if base is not None else (model,), overwrite=overwrite)
            facts = _many(screen, engine, given, out, read, overwrite=overwrite)
    if as_json:
        print_json(facts)


def _untrained(screen: Screen, base: str, text: str | None, device: str | None) -> Engine:
    from filbert import tasks
    from filbert.inference.untrained import untrained

    sample = [] if text is None else [text]
    engine, why = untrained(base, tasks.of_summaries(), tasks.untrained, texts=sample, device=device)
    screen.say(why)
    return engine


def _is_table(given: str) -> bool:
    """Tell whether what is given is a file of many texts, or a folder of them."""
    if given == "-" or not os.path.exists(given):
        return False
    return os.path.isdir(given) or Path(given).suffix.lower() in {*SUFFIXES} - {".txt"}


def _text(given: str, encoding: str | None) -> str:
    """Return the one text that is given: itself, a file's, or stdin's."""
    if given != "-" and not os.path.exists(given):
        if Path(given).suffix.lower() in SUFFIXES and not any(map(str.isspace, given)):
            raise DataError([Problem(Place(given), "file", "does not exist", "check the path")])
        return os.fsencode(given).decode("utf-8", "replace")
    return one_text(given, encoding)


def _one(screen: Screen, engine: Engine, text: str) -> dict[str, Any]:
    """Print the summary of one text, and return it with the places and scores of its sentences."""
    (found,) = engine.predict([text])
    if found.error is not None:
        raise ConfigError(f"{shown(text)} has nothing to read — give at least one visible character")
    screen.show(safe(engine.task.show(found, engine.settings).answer), data=True)
    if found.truncated:
        screen.say(engine.task.TRUNCATED.format(length=engine.max_length))
    if found.unreadable:
        screen.say(f"warning: the model's vocabulary has no pieces for {found.unk_ratio:.0%} of the text")
    return {
        **engine.task.row(found, engine.settings),
        "sentences": found.told(),  # type: ignore[attr-defined]
        "truncated": found.truncated,
        "unk_ratio": round(found.unk_ratio, 3),
    }


def _many(
    screen: Screen, engine: Engine, source: str, out: Path, read: ReadOptions, *, overwrite: bool
) -> dict[str, Any]:
    """Write the rows of a table with their summaries, and return the counts."""
    from filbert.inference.rows import score_to
    from filbert.readers.sources import open_source

    with kept_rejects(out.with_name(f"{out.name}.rejects.jsonl"), read) as kept:
        opened = open_source(source, with_trained_columns(read, engine), labelled=False, rejects=kept)
        for line in opened.found:
            screen.say(line, indent=2)
        screen.progress("summarizing", 0, 0)
        tally = score_to(engine, opened.examples(), opened.columns, out, overwrite=overwrite)
    screen.clear()
    errors = "".join(f" + {count:,} {name}" for name, count in tally.errors.items())
    screen.show(
        f"{counted(tally.read, 'row')} read = {tally.scored:,} summarized{errors} · "
        f"{tally.texts_per_second:,.1f} texts/s",
        f"summaries  {out}",
    )
    return {
        "out": str(out),
        "read": tally.read,
        "scored": tally.scored,
        "errors": dict(tally.errors),
        "truncated": tally.truncated,
        "seconds": round(tally.seconds, 3),
    }
