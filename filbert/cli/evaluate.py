"""`filbert evaluate` and `filbert report`: a finished model measured on other texts, and its pages written again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, fitted, table
from filbert.cli.options import Device, Json, Model, Overwrite, ScoringPrecision, WithoutCascade, reading
from filbert.cli.parts import CLASSES, check_precision, engine_of, kept_rejects, name_of, print_json
from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.engine import Engine
    from filbert.records import Example

WIDEST = 24  # terminal cells of a label in the table of classes


@reading()
def evaluate(
    model: Model,
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    split: Annotated[str | None, typer.Option(help="train, validation or test [test, or all there is].")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write the scores to, as JSON.")] = None,
    read: ReadOptions,
    precision: ScoringPrecision = "fp32",
    no_cascade: WithoutCascade = False,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled texts: accuracy, macro-F1, MCC and every class, with 95 % intervals."""
    check_precision(precision)
    if out is not None and out.exists() and not overwrite:
        raise ConfigError(f"{out} exists — write somewhere else with -o, or allow --overwrite")
    with Screen(results=not as_json) as screen:
        examples, split, counts = _labelled(screen, path, read, split)
        engine = engine_of(model, device, precision, cascade=not no_cascade)
        _refuse_strangers(examples, engine.labels, model)
        measured = _measure(screen, engine, examples)
        _show_scores(screen, measured, split)
    facts = {"model": str(model), "source": path, "split": split, **counts, **measured}
    if out is not None:
        out.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        screen.show("", f"scores  {out}")
    if as_json:
        print_json(facts)


def _labelled(
    screen: Screen, path: str, read: ReadOptions, split: str | None
) -> tuple[list[Example], str, dict[str, int]]:
    """Read the labelled texts of the split asked for, else of test, else all there are."""
    from filbert.readers.sources import open_source

    with kept_rejects(Path(f"{name_of(path)}.rejects.jsonl"), read) as rejects:
        source = open_source(path, read, rejects=rejects)
        for line in source.found:
            screen.say(line, indent=2)
        choice = ", ".join(source.splits)
        if split is None:
            split = "test" if "test" in source.splits else source.splits[0]
            if split != "test" and len(source.splits) > 1:
                raise ConfigError(f"{path} has the splits {choice} — choose one with --split")
        examples = list(source.examples(split))
    counts = source.counts
    if counts["quarantined"]:
        screen.say(f"warning: {counts['quarantined']:,} bad rows were left out and kept in {rejects}")
    if not examples:
        raise DataError([Problem(Place(path), "split", f"there are no texts in {shown(split)}", f"choose of {choice}")])
    return examples, split, counts


def _refuse_strangers(examples: Iterable[Example], labels: Iterable[str], model: Path) -> None:
    """Raise a DataError that names each label the model does not know, where it stands first and how often."""
    known, first, counts = set(labels), dict[str, Place](), dict[str, int]()
    for example in examples:
        if example.label is not None and example.label not in known:
            first.setdefault(example.label, example.place)
            counts[example.label] = counts.get(example.label, 0) + 1
    if first:
        choice = ", ".join(shown(label, 30) for label in sorted(known)[:20])
        todo = f"correct it, or read it as another one: --merge-labels; {model} knows {choice}"
        raise DataError(
            [
                Problem(place, "label", f"the model has no label {shown(name)} ({counts[name]:,} rows)", todo)
                for name, place in first.items()
            ]
        )


def _measure(screen: Screen, engine: Engine, examples: list[Example]) -> dict[str, Any]:
    from filbert.metrics import classes

    number = {label: i for i, label in enumerate(engine.labels)}
    texts = [example.text for example in examples]
    chances_NC = engine.predict_proba(texts, done=lambda n: screen.progress("scoring", n, len(texts)))
    screen.clear()
    return classes.score([number[str(example.label)] for example in examples], chances_NC, engine.labels)


def _show_scores(screen: Screen, measured: Mapping[str, Any], split: str) -> None:
    """Print the overall scores and one line per class."""
    from filbert.report.summary import summary_rows
    from filbert.report.words import value_of, with_interval

    rows = summary_rows({"scores": {"test": measured}})
    rows[0] = (f"{split}{',' * (split != 'all')} {measured['n']:,} texts", "")
    screen.show("", *table(rows))
    classes = [("class", "texts", "precision", "recall", "F1")]
    for each in measured["per_class"][:CLASSES]:
        precision, recall = (value_of(each[key], True) for key in ("precision", "recall"))
        name = fitted(each["label"], WIDEST)
        classes.append((name, f"{each['support']:,}", precision, recall, with_interval(each["f1"], True)))
    screen.show("", *table(classes, right=(1, 2, 3)))
    if len(measured["per_class"]) > CLASSES:
        screen.show(f"… and {len(measured['per_class']) - CLASSES:,} more classes: see --json")


def report(
    model: Annotated[Path, typer.Argument(help="Run folder that `filbert fit` or `pretrain` wrote.")],
    as_json: Json = False,
) -> None:
    """Write report.html and README.md of a finished run again."""
    from filbert.report import write_report

    write_report(model)
    page, card = model / "report.html", model / "README.md"
    if as_json:
        print_json({"folder": str(model), "report": str(page), "card": str(card)})
    else:
        Screen().show(f"written: {page} and {card}")
