"""`filbert predict`: predict for one text, a pair of texts, the lines of stdin or the rows of a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, bars, fitted, table
from filbert.cli.options import (
    Abstain,
    Device,
    Json,
    Model,
    Overwrite,
    ScoringPrecision,
    Unknown,
    WithoutCascade,
    rate_of,
    reading,
    unknown_of,
)
from filbert.cli.parts import (
    CLASSES,
    check_precision,
    engine_of,
    kept_rejects,
    name_of,
    refuse_missing,
    stdin_bytes,
    with_trained_columns,
)
from filbert.errors import ConfigError, DataError, Place, Problem, counted, safe, shown
from filbert.failures import print_json
from filbert.language.terminal import translated
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.batch import Parts
    from filbert.inference.engine import Engine
    from filbert.inference.rows import Tally

OUTSIDE = "another language or script, symbols, or very long words — predictions are unreliable there"


@reading(labelled=False)
def predict(
    model: Model,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders or archives of texts; one text; or - for lines on stdin."),
    ],
    *,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help=".csv, .tsv, .jsonl, .parquet, .xlsx or - [NAME.predictions.csv].")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Score in so many processes, each with its own model.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Score files on a Ray cluster; local: on a Ray started here."),
    ] = None,
    pair: Annotated[
        str | None, typer.Option("--pair", help="The second text, of a model that takes two.", metavar="TEXT")
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a CSV with a byte order mark, as Excel wants it.")] = False,
    read: ReadOptions,
    precision: ScoringPrecision = "fp32",
    no_cascade: WithoutCascade = False,
    abstain: Abstain = None,
    unknown: Unknown = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Predict for one text, every line of stdin, or every row of a file."""
    check_precision(precision)
    with Screen(results=not as_json and out != "-") as screen:
        source = _only(sources, pair)
        if read.sheet is not None and not all(map(os.path.exists, sources)):
            raise ConfigError("--sheet names the sheet of a spreadsheet, and there is none — leave it out")
        if pair is not None or (source is not None and source != "-" and not os.path.exists(source)):
            if pair is None:
                refuse_missing(sources[0])
            rates = {"abstain": rate_of(abstain), "unknown": unknown_of(unknown)}
            engine = engine_of(model, device, precision, cascade=not no_cascade, **rates)
            texts = (sources[0],) if pair is None else (sources[0], pair)
            _predict_text(screen, engine, texts, as_json=as_json)
            return
        if as_json and out == "-":
            raise ConfigError("--json and -o - both write to stdout — choose one")
        if source == "-":
            stdin_bytes()
        target = _target(sources, out, as_json=as_json)
        how: dict[str, Any] = {"device": device, "precision": precision, "cascade": not no_cascade}
        how |= {"abstain": rate_of(abstain), "unknown": unknown_of(unknown)}
        who = {"processes": processes, "ray": ray}
        facts = _predict_rows(screen, model, sources, target, read, how=how, who=who, overwrite=overwrite, bom=bom)
    if as_json:
        print_json(facts)


def _only(sources: Sequence[str], pair: str | None) -> str | None:
    """Return the one source; None where there are several files. Raises where several are no files."""
    if len(sources) == 1:
        return sources[0]
    words = [source for source in sources if not os.path.exists(source)]
    if pair is not None or words == list(sources) or "-" in sources:
        raise ConfigError(f"INPUT is given {len(sources)} times — put a text in quotes; only files may be several")
    for word in words:
        raise DataError([Problem(Place(word), "file", "does not exist", "check the path; put a text in quotes")])
    return None


def _predict_text(screen: Screen, engine: Engine, texts: tuple[str, ...], *, as_json: bool) -> None:
    from filbert.inference.rows import cells as result_cells

    (prediction,) = engine.predict([texts])
    if prediction.error is not None:
        raise ConfigError(
            f"{shown(texts[0])} has no visible character — give at least one visible character in each text"
        )
    if as_json:
        names = ("text", "text_pair")
        windows = {"windows": [each.told() for each in prediction.evidence]} if prediction.evidence else {}
        print_json({**dict(zip(names, texts, strict=False)), **result_cells(engine, prediction), **windows})
        return
    found = engine.task.show(prediction, engine.settings)
    if prediction.unknown:
        screen.show("none of the known classes; --unknown 0 gives the nearest", style="bold")
    elif prediction.abstained:
        least = f"confidence {prediction.confidence or 0.0:.3f} is below {engine.least_confidence:.3f}"
        screen.show(f"no answer: {least}; --abstain 0 gives one", style="bold")
    else:
        screen.show(safe(found.answer), style="bold", data=True)
    if found.bars:
        screen.show(*(f"  {line}" for line in bars(found.bars)), data=True)
    if rule := engine.task.rule(engine.settings)[0]:
        screen.say(rule)
    if prediction.evidence:
        first = prediction.evidence[0]
        where = f"characters {first.start:,} to {first.end:,}" + f" of text {first.part + 1}" * (len(texts) > 1)
        screen.say(f"read in {len(prediction.evidence)} windows; {where} decided most (weight {first.weight:.2f})")
    if prediction.truncated:
        screen.say(engine.task.TRUNCATED.format(length=engine.max_length))
    if prediction.unreadable:
        screen.say(
            f"warning: the model's vocabulary has no pieces for {prediction.unk_ratio:.0%} of the text: {OUTSIDE}"
        )


def _target(sources: Sequence[str], out: str | None, *, as_json: bool) -> Path | None:
    """Return the file for predictions; None is stdout."""
    if out is None and sources[0] == "-" and not as_json:
        return None
    if out is None and len(sources) > 1:
        raise ConfigError(f"{len(sources)} files go into one — name it with -o")
    if out is None:
        return Path(f"{'stdin' if sources[0] == '-' else name_of(sources[0])}.predictions.csv")
    return None if out == "-" else Path(out)


def _predict_rows(
    screen: Screen,
    folder: Path,
    sources: Sequence[str],
    target: Path | None,
    read: ReadOptions,
    *,
    how: Mapping[str, Any],
    who: Mapping[str, Any],
    overwrite: bool,
    bom: bool,
) -> dict[str, Any]:
    """Score files or stdin, print the counts of their rows, and return them."""
    from filbert.inference.batch import Workers, check_target, model_for, score_files, scoring
    from filbert.inference.opening import Opening
    from filbert.readers.shards import Shards
    from filbert.readers.stdin import stream_examples

    opening, workers = Opening(str(folder), **how), Workers(**who)
    files = () if sources[0] == "-" else tuple(sources)
    rejects = Path(f"{'stdin' if target is None else target.name}.rejects.jsonl")
    if target is not None:
        overwrite = check_target(target, files, opening.model, overwrite=overwrite)
        rejects = target.with_name(rejects.name)
    model = model_for(opening, workers)
    read = with_trained_columns(read, model)
    with kept_rejects(rejects, read) as kept:
        columns: tuple[str, ...] = ("text",)
        whole = 0  # rows, where they are known
        shards = Shards(files, read, rejects=kept) if files else None
        if shards is None:
            parts: Parts = [stream_examples(stdin_bytes(), "stdin", read.encoding)]
        else:
            for line in shards.found:
                screen.say(line, indent=2)
            screen.progress("reading", 0, 0)
            for line in shards.check():
                screen.say(line, indent=2)
            whole = shards.counts["accepted"]
            parts, columns = shards.parts(), shards.columns

        def done(tally: Tally) -> None:
            if tally.read % 256 == 0:
                screen.progress("scoring", tally.read, whole, texts_per_second=tally.texts_per_second)

        screen.progress("scoring", 0, 0)
        with scoring(opening, model, workers, shards) as score:
            tally = score_files(
                *(model, score, parts, columns, target),
                opening=opening if files else None,
                bom=bom or (bool(files) and _begins_with_bom(files[0])),
                overwrite=overwrite,
                done=done,
                say=screen.say,
            )
    screen.clear()
    quarantined = 0 if shards is None else shards.counts["quarantined"]
    _show_tally(screen, tally, target, quarantined, kept, each=model.task.EXAMPLE)
    rule, rule_facts = model.task.rule(model.settings)
    if rule:
        screen.say(rule)
    return {
        "out": None if target is None else str(target),
        "read": tally.read + quarantined,
        "scored": tally.scored,
        "kept": tally.kept,
        "errors": dict(tally.errors),
        "quarantined": quarantined,
        "truncated": tally.truncated,
        "unreadable": tally.unreadable,
        "by_linear": tally.by_linear,
        "abstained": tally.abstained,
        "unknown": tally.unknown,
        "answers": dict(tally.answers.most_common()),
        **rule_facts,
        "seconds": round(tally.seconds, 3),
    }


def _begins_with_bom(source: str) -> bool:
    """Return whether a file has a byte order mark; its predictions then get one, too, as Excel needs it."""
    if not os.path.isfile(source):
        return False
    from filbert.readers.encodings import BOMS

    with open(source, "rb") as file:
        return file.read(4).startswith(tuple(mark for mark, _ in BOMS))


def _show_tally(
    screen: Screen, tally: Tally, target: Path | None, quarantined: int, rejects: Path, *, each: str
) -> None:
    write: Callable[..., None] = screen.show if target is not None else screen.say
    known = {"empty_text": translated("empty_text")}
    errors = "".join(f" + {count:,} {known.get(name, name)}" for name, count in tally.errors.items())
    bad = f" + {quarantined:,} quarantined" if quarantined else ""
    parts = [
        f"{tally.abstained:,} left unanswered" if tally.abstained else "",
        f"{tally.unknown:,} of no known class" if tally.unknown else "",
        f"{tally.by_linear:,} answered by the linear model" if tally.by_linear else "",
        f"{tally.kept:,} scored before the run was stopped" if tally.kept else "",
        f"{tally.truncated:,} truncated",
    ]
    rows = translated(f"{counted(tally.read + quarantined, 'row')} read = {tally.scored:,} scored")
    speed = f"{translated(counted(round(tally.texts_per_second), each))}/{translated('s')}"
    write(" · ".join([rows + errors + translated(bad), *map(translated, filter(None, parts)), speed]))
    common = tally.answers.most_common(CLASSES)
    for line in table(
        [(fitted(name), f"{n:,}", f"{100 * n / tally.scored:.1f} %") for name, n in common] or [("",)], right=(1, 2)
    ):
        write(f"  {line}")
    if tally.unreadable:
        much = f"much of {tally.unreadable:,} of {counted(tally.scored, each)}"
        screen.say(f"warning: the model's vocabulary has no pieces for {much}: {OUTSIDE}")
    if tally.left_out:
        named = ", ".join(shown(key, 30) for key in sorted(tally.left_out)[:8])
        screen.say(f"warning: keys that only later rows have get no column in the output: {named}")
    if quarantined:
        write(f"bad rows     {rejects}")
    if target is not None:
        write(f"predictions  {target}")
