"""`filbert evaluate`: measure a finished model on labelled texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, fitted, table
from filbert.cli.options import (
    Abstain,
    Device,
    Json,
    Model,
    Overwrite,
    ScoringPrecision,
    Slices,
    Unknown,
    WithoutCascade,
    rate_of,
    reading,
    unknown_of,
)
from filbert.cli.parts import CLASSES, check_precision, engine_of, kept_rejects, name_of, with_trained_columns
from filbert.errors import ConfigError, DataError, Place, Problem, counted, shown
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import terminal, translated
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.engine import Engine
    from filbert.readers.sources import Source
    from filbert.records import Example, Prediction

WIDEST = 24  # terminal cells of a label in the table of classes


@reading()
def evaluate(
    model: Model,
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    split: Annotated[str | None, typer.Option(help="train, validation or test [test, or all texts].")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write the scores to, as JSON.")] = None,
    read: ReadOptions,
    precision: ScoringPrecision = "fp32",
    no_cascade: WithoutCascade = False,
    abstain: Abstain = None,
    unknown: Unknown = None,
    slices: Slices = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled texts: every metric of its task, with 95 % intervals."""
    from filbert.files import write_json
    from filbert.inference.writers import check_output

    check_precision(precision)
    if out is not None:
        check_output(out, (path,), (model,), overwrite=overwrite, formats=())
    with Screen(results=not as_json) as screen:
        rates = {"abstain": rate_of(abstain), "unknown": unknown_of(unknown)}
        engine = engine_of(model, device, precision, cascade=not no_cascade, **rates)
        examples, split, counts = targets_of(screen, engine, path, with_trained_columns(read, engine), split)
        predictions = _answers(screen, engine, examples)
        measured = {
            **engine.task.score(examples, predictions, engine.settings),
            **_withheld(engine, examples, predictions),
        }
        if slices:
            measured["slices"] = _sliced(engine, examples, predictions, slices, path)
        met, fresh = _without_seen(screen, engine, model, examples, predictions)
        with speaking(terminal()):
            _show_scores(screen, engine, measured, fresh, split)
        cut = sum(prediction.truncated for prediction in predictions)
        of = counted(len(examples), engine.task.EXAMPLE)
        longest = f", each to {engine.max_length} tokens" * (cut > 0)
        screen.show("", f"truncated: {cut:,} of {of}{longest}")
    facts = {"model": str(model), "source": path, "split": split, **counts, **met, **measured}
    facts |= {"truncated": cut, "unseen": fresh}
    if out is not None:
        check_output(out, (path,), (model,), overwrite=overwrite, formats=())  # it may have come in the meantime
        write_json(out, facts)
        screen.show("", f"scores  {out}")
    if as_json:
        print_json(facts)


def targets_of(
    screen: Screen, engine: Engine, path: str, read: ReadOptions, split: str | None
) -> tuple[list[Example], str, dict[str, int]]:
    """Return the examples of the split asked for, else of test, else all; the split's name; and counts of rows.

    >>> targets_of(screen, engine, "labelled.csv", ReadOptions(), None)[1]  # doctest: +SKIP
    'all'
    """
    from filbert.readers.sources import open_source

    rejects = Path(f"{name_of(path)}.rejects.jsonl")
    source = open_source(path, read, rejects=rejects)
    for line in source.found:
        screen.say(line, indent=2)
    check_texts(engine, source)
    choice = ", ".join(source.splits)
    if split is None:
        split = "test" if "test" in source.splits else source.splits[0]
        if split != "test" and len(source.splits) > 1:
            raise ConfigError(f"{path} has the splits {choice} — choose one with --split")
    with kept_rejects(rejects, read), _for_its_task(engine, source):
        reading = engine.task.read(source.sample_targets(), read.merge_labels)
        screen.say(reading.how, indent=2)
        examples = list(source.examples(split, parse=reading.parse, locate=reading.locate))
        for line in reading.notes():
            screen.say(line, indent=0 if line.startswith("warning:") else 2)
        if unknown := engine.task.unknown(examples, engine.settings):
            raise DataError(unknown)
    counts = source.counts
    if counts["quarantined"]:
        screen.say(f"warning: {counted(counts['quarantined'], 'bad row')} left out, kept in {rejects}")
    if not examples:
        raise DataError(
            [Problem(Place(path), "split", f"there are no texts in {shown(split)}", f"choose one of {choice}")]
        )
    return examples, split, counts


def check_texts(engine: Engine, source: Source) -> None:
    """Raise ConfigError where the rows have one text and the model reads two, or the other way round.

    >>> check_texts(engine, open_source("labelled.csv"))  # doctest: +SKIP
    """
    names, wanted = source.input_names, engine.texts
    if wanted is None or len(names) == wanted:
        return
    reads = {1: "one text", 2: "two texts"}
    cure = "name the second with --text-pair" if wanted == 2 else "give a file with one text a row"
    raise ConfigError(
        f"{source.path} — its rows have {reads[len(names)]} ({', '.join(map(shown, names))}), the model, for "
        f"{engine.task.NAME}, reads {reads[wanted]} — {cure}, or another model"
    )


@contextmanager
def _for_its_task(engine: Engine, source: Source) -> Iterator[None]:
    """Where the targets cannot be read, say so if that is because they are another task's."""
    from filbert import tasks

    try:
        yield
    except DataError as error:
        names = (*source.input_names, *source.target_names)
        found = tasks.better(engine.task, source.sample_targets(), names)
        if found is None:
            raise
        name, why = found
        wrong = f"is for {name} ({why}), and the model for {engine.task.NAME}"
        cure = f"give another column with --label, or a model fitted with --task {name}"
        raise DataError([Problem(Place(str(source.path)), ",".join(names[-1:]), wrong, cure)]) from error


def _answers(screen: Screen, engine: Engine, examples: list[Example]) -> list[Prediction]:
    def done(texts: int) -> None:
        screen.progress("scoring", texts, len(examples))

    predictions = engine.answer(engine.encode([example.inputs for example in examples]), done)
    screen.clear()
    return predictions


def _withheld(engine: Engine, examples: list[Example], predictions: list[Prediction]) -> dict[str, Any]:
    """Return how many texts a model that abstains answers, and how many of these answers are wrong."""
    from filbert.metrics.selective import measured, share

    found_as = {}
    if engine.farthest is not None:
        count = sum(prediction.unknown for prediction in predictions)
        found_as["unknown"] = {"farthest": engine.farthest, "share": share(count, len(predictions))}
    if not engine.least_confidence:
        return found_as
    wrong_N = engine.task.errors(examples, predictions, engine.settings)[1]
    found = measured([prediction.abstained for prediction in predictions], wrong_N)
    return {**found_as, "abstention": {"threshold": engine.least_confidence, **found}}


def _sliced(
    engine: Engine, examples: list[Example], predictions: list[Prediction], columns: list[str], path: str
) -> dict[str, Any]:
    """Return the error by class and by these columns."""
    from filbert.inference.slices import check_columns, sliced

    check_columns(columns, examples, path)
    return sliced(engine.task, examples, engine.task.errors(examples, predictions, engine.settings), columns)


def _without_seen(
    screen: Screen, engine: Engine, model: Path, examples: list[Example], predictions: list[Prediction]
) -> tuple[dict[str, int], dict[str, Any] | None]:
    """Say which texts the model has seen → their counts, and the scores of the others where there are both."""
    from filbert.folder.seen import which_seen

    met = which_seen(model, engine.info, examples)
    counts = {f"seen_in_{name}": len(places) for name, places in met.items()}
    if not any(counts.values()):
        return counts, None
    of = counted(len(examples), engine.task.EXAMPLE)
    screen.say(
        f"warning: of {of} the model was trained on {len(met['train']):,} and chosen by {len(met['validation']):,}: "
        "their scores say little about new ones"
    )
    rest = sorted({*range(len(examples))} - {*(at for places in met.values() for at in places)})
    if not rest:
        return counts, None
    return counts, engine.task.score([examples[i] for i in rest], [predictions[i] for i in rest], engine.settings)


def _show_scores(
    screen: Screen, engine: Engine, measured: Mapping[str, Any], fresh: Mapping[str, Any] | None, split: str
) -> None:
    """Print the overall scores, beside them those of new texts, and, where there are labels, one line for each."""
    from filbert.report.figures import value_of, with_interval
    from filbert.report.selective import measured_line
    from filbert.report.slices import named, valued
    from filbert.report.summary import summary_rows
    from filbert.report.words import example_of

    report = {"scores": {"test": measured}, "data": {"inputs": engine.texts, "example": engine.task.EXAMPLE}}
    rows = summary_rows({**report, "baseline": {"test": fresh} if fresh else None}, engine.task.page().metrics)
    texts = counted(measured["n"], example_of(report))
    beside = [translated(f"the {fresh['n']:,} it has not seen")] if fresh else []
    rows[0] = (
        translated(f"all {texts}" if split == "all" else f"{split}, {texts}"),
        translated("all") if fresh else "",
        *beside,
    )
    screen.show("", *table(rows), data=True)
    if "abstention" in measured:
        screen.show("", f"{measured_line(split, measured['abstention'])} The scores are of all texts.", prose=True)
    if "unknown" in measured:
        share = with_interval(measured["unknown"]["share"], True)
        line = f"{share} of them were told to be of none of the known classes. The scores are of all texts."
        screen.show("", line, prose=True)
    slices = measured.get("slices") or {"by": ()}
    for each in slices["by"]:
        with speaking(terminal()):
            told = [(named(each), translated("texts"), translated(slices["error"]))]
            for row in each["rows"]:
                figure = with_interval(row["error"], slices["share"])
                told.append((fitted(valued(each, row), WIDEST), f"{row['texts']:,}", figure))
        screen.show("", *table(told, right=(1,)), data=True)
    found = measured.get("per_class") or measured.get("per_label") or []
    if not found:
        return
    lines = [(*map(translated, ("label", "texts", "precision", "recall")), "F1")]
    for each in found[:CLASSES]:
        precision, recall = (value_of(each[key], True) for key in ("precision", "recall"))
        name = fitted(each["label"], WIDEST)
        lines.append((name, f"{each['support']:,}", precision, recall, with_interval(each["f1"], True)))
    screen.show("", *table(lines, right=(1, 2, 3)), data=True)
    if len(found) > CLASSES:
        screen.show(f"… and {counted(len(found) - CLASSES, 'more label')}: see --json")
