"""The command `filbert`: thin verbs over fit, engine, evaluate and report.

    fit → predict → evaluate → report

Results go to stdout, everything else to stderr; with --json stdout holds exactly one JSON object. What can be foreseen
to go wrong is told in plain words, with exit code 2 (input or options), 1 (anything else), 130 or 143 (stopped).
Heavy parts are imported inside the commands, so that help is there at once.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert import __version__
from filbert.config import TrainConfig
from filbert.console import Screen, bars, cells, fitted, safe, table
from filbert.data.options import ReadOptions
from filbert.errors import ConfigError, DataError, FilbertError, Place, Problem, TrainingError, shown

if TYPE_CHECKING:
    from filbert.engine import Engine
    from filbert.records import Example
    from filbert.scored import Tally

TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
PACKED = (".gz", ".xz", ".bz2", ".zst", ".zip", ".tar", ".tgz", ".txz")
WIDEST = 24  # terminal cells of a label in the table of classes
CLASSES = 50  # shown of that table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help takes a quarter of a second to load
    context_settings={"help_option_names": ["-h", "--help"]},
)

# ---- options that several commands have ----

Model = Annotated[Path, typer.Argument(help="Run folder that `filbert fit` wrote, or any BERT classifier folder.")]
Text = Annotated[str | None, typer.Option("--text", help="Column of the texts: its name, or its number from 1.")]
Label = Annotated[str | None, typer.Option("--label", help="Column of the labels, in the same way.")]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="comma, tab, semicolon, pipe, space (label first) or one character.")
]
Header = Annotated[bool | None, typer.Option("--header/--no-header", help="Whether the first row holds column names.")]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="auto (UTF-8, else GB18030) or a codec such as gb18030, latin-1.")
]
BadRows = Annotated[
    str, typer.Option("--on-bad-rows", help="error, or quarantine: leave bad rows out and keep them in a file.")
]
Quotes = Annotated[
    bool | None, typer.Option("--quotes/--no-quotes", help='Whether " quotes a field, or is a plain character.')
]
Merge = Annotated[
    list[str] | None, typer.Option("--merge-labels", help='Read labels as another one: "Pos=pos,POS=pos".')
]
SplitColumn = Annotated[str | None, typer.Option("--split-column", help="Column that says train, dev or test.")]
Precision = Annotated[str, typer.Option("--precision", help="fp32, bf16 (faster, within 0.02) or auto.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:1; the GPU where there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")]


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
        _print_json({"error": told})
    return 2 if isinstance(error, FilbertError) and not isinstance(error, TrainingError) else 1


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


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


# ---- fit ----


@app.command()
@reported
def fit(
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the model [runs/NAME].")] = None,
    base: Annotated[
        str | None, typer.Option(help="Model to start from: minilm, a folder, a hub id, or tiny … large (random).")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for training; the schedule is fitted to it.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the texts [by their number: 8 to 1].")] = None,
    text: Text = None,
    label: Label = None,
    delimiter: Delimiter = None,
    header: Header = None,
    quotes: Quotes = None,
    encoding: Encoding = None,
    on_bad_rows: BadRows = "error",
    merge_labels: Merge = None,
    split_column: SplitColumn = None,
    validation: Annotated[str | None, typer.Option(help="Texts to choose the best step by [a tenth].")] = None,
    test: Annotated[str | None, typer.Option(help="Texts to measure the finished model on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes split, initialisation, order and dropout [0].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts per step [32].")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest text in tokens; longer ones are cut [512].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate [by the model's width].")] = None,
    layer_decay: Annotated[float | None, typer.Option(help="Factor on the rate per layer downwards [1].")] = None,
    precision: Precision = "auto",
    device: Device = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave out the linear baseline.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, too.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on labelled texts, measure it, and leave model and report in a folder."""
    read = ReadOptions(
        text, label, delimiter, header, encoding, on_bad_rows, merges(merge_labels or []), split_column, quotes
    )
    config = TrainConfig().with_options(
        minutes=minutes,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        max_length=max_length,
        learning_rate=learning_rate,
        layer_decay=layer_decay,
        precision=precision,
    )
    with Screen(results=not as_json) as screen:
        folder, report = _fit(
            screen,
            path,
            out,
            read,
            config,
            parts=(validation, test),
            base=base,
            device=device,
            overwrite=overwrite,
            track=tensorboard,
            compare=not no_baseline,
        )
        _show_fitted(screen, folder, report)
    if as_json:
        _print_json(_fit_facts(folder, report))


def _fit(
    screen: Screen,
    path: str,
    out: Path | None,
    read: ReadOptions,
    config: TrainConfig,
    *,
    parts: tuple[str | None, str | None],
    device: str | None,
    **options: Any,
) -> tuple[Path, dict[str, Any]]:
    """Read, say what was found, train; a stopped run says how it goes on."""
    screen.say(f"reading {path}")
    from filbert import fit as fitting
    from filbert.data.splits import load_splits
    from filbert.engine import best_device
    from filbert.runs import default_folder, refuse_taken

    best_device(device)
    name = name_of(path)
    out = out or default_folder(name)
    refuse_taken(out, overwrite=options["overwrite"])
    out.parent.mkdir(parents=True, exist_ok=True)
    validation, test = (Path(part) if part else None for part in parts)
    with _kept_rejects(out.with_name(f"{out.name}.rejects.jsonl"), read) as rejects:
        splits = load_splits(path, read, validation=validation, test=test, seed=config.seed, rejects=rejects)
    for line in splits.found:
        screen.say(line, indent=0 if line.startswith("warning:") else 2)
    try:
        done = fitting.fit(
            splits,
            out,
            name=name,
            source=path,
            config=config,
            device=device,
            command=_command(),
            watch=screen,
            **options,
        )
    except KeyboardInterrupt:
        screen.clear()
        if any((out / "checkpoints").glob("step-*.json")):
            screen.say(f"stopped; nothing is lost. To go on: {_command(without='--overwrite', also=('-o', str(out)))}")
        else:
            screen.say("stopped before the first checkpoint: there is nothing to go on from")
        raise
    return done.folder, done.report


def _show_fitted(screen: Screen, folder: Path, report: Mapping[str, Any]) -> None:
    """Print the scores beside the baseline's, what was cut, and what can be done next."""
    from filbert.evaluate import summary_lines
    from filbert.report_words import CHOSEN_ON, difference_of, main_split, truncation_line, verdict

    split = main_split(report)
    difference = difference_of(report, split)
    *scores, comparison = summary_lines(report) if difference else [*summary_lines(report), ""]
    screen.show("", *scores)
    if difference:
        screen.show("", comparison, prose=True)
    if difference and verdict(difference) != "better":
        screen.show(
            "So far the linear model is the better choice: as good at least, and it takes seconds. More labelled "
            "texts, more --epochs or another --base may change that.",
            prose=True,
        )
    screen.show("", truncation_line(split, report["truncation"][split]), prose=True)
    if split == "validation":
        screen.show(f"No test texts were given. {CHOSEN_ON}", prose=True)
    asked = _pasted([str(folder)])
    rows = [
        ("report", str(folder / "report.html")),
        ("label a text", f'filbert predict {asked} "a new text"'),
        ("label a file", f"filbert predict {asked} new.csv"),
        ("measure again", f"filbert evaluate {asked} labelled.csv"),
    ]
    screen.show("", *table(rows))


def _fit_facts(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what --json prints of a run; all of it is in report.json."""
    from filbert.report_words import difference_of, main_split

    split = main_split(report)
    known = ("accuracy", "macro_f1", "mcc", "auc", "ece", "n")
    beside = (report.get("baseline") or {}).get(split) or {}
    return {
        "folder": str(folder),
        "report": str(folder / "report.html"),
        "labels": report["labels"],
        "base": report["model"]["base"],
        "counts": report["data"]["counts"],
        "quarantined": report["data"]["quarantined"],
        "split": split,
        "scores": {key: report["scores"][split][key] for key in known if key in report["scores"][split]},
        "baseline": {key: beside[key] for key in known if key in beside} or None,
        "difference": difference_of(report, split),
        "truncation": report["truncation"][split],
        "seconds": report["training"]["seconds"],
        "stopped": report["training"]["stopped"],
    }


# ---- predict ----


@app.command()
@reported
def predict(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="File, folder or archive of texts; one text; or - for lines on stdin."),
    ],
    *,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help=".csv, .tsv, .jsonl, .parquet or - [NAME.predictions.csv].")
    ] = None,
    text: Text = None,
    delimiter: Delimiter = None,
    header: Header = None,
    quotes: Quotes = None,
    encoding: Encoding = None,
    on_bad_rows: BadRows = "error",
    precision: Precision = "fp32",
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label one text, every line of stdin, or every row of a file."""
    read = ReadOptions(
        text, delimiter=delimiter, header=header, quotes=quotes, encoding=encoding, on_bad_rows=on_bad_rows
    )
    _check_precision(precision)
    with Screen(results=not as_json and out != "-") as screen:
        if source != "-" and not os.path.exists(source):
            _refuse_missing(source)
            _predict_text(screen, _engine(model, device, precision), source, as_json=as_json)
            return
        if as_json and out == "-":
            raise ConfigError("--json and -o - both write to stdout — choose one")
        target = _target(source, out, as_json=as_json)
        facts = _predict_rows(
            screen, model, source, target, read, device=device, precision=precision, overwrite=overwrite
        )
    if as_json:
        _print_json(facts)


def _refuse_missing(source: str) -> None:
    """Raise where what is no path here looks like one: a file name, or words joined by slashes."""
    suffix = Path(source).suffix.lower() in (*TABLES, *PACKED)
    slashes = ("/" in source or "\\" in source) and not any(c.isspace() or cells(c) > 1 for c in source)
    if suffix or slashes:
        todo = "check the path; a text that looks like one can be given on stdin: filbert predict MODEL -"
        raise DataError([Problem(Place(source), "file", "does not exist", todo)])


def _predict_text(screen: Screen, engine: Engine, text: str, *, as_json: bool) -> None:
    text = os.fsencode(text).decode("utf-8", "replace")
    prediction = engine.predict(text)[0]
    if prediction.label is None:
        raise ConfigError(f"the text {shown(text)} has nothing to read — give at least one visible character")
    chances = dict(zip(engine.labels, prediction.probabilities, strict=True))
    if as_json:
        facts = {"text": text, "label": prediction.label, "probabilities": chances, "truncated": prediction.truncated}
        _print_json(facts)
        return
    screen.show(prediction.label, style="bold")
    screen.show(*(f"  {line}" for line in bars(chances)))
    if prediction.truncated:
        screen.say(f"the text is longer than {engine.max_length} tokens: its head and tail were read")


def _target(source: str, out: str | None, *, as_json: bool) -> Path | None:
    """Return where predictions go; None is stdout."""
    if out is None and source == "-" and not as_json:
        return None
    if out is None:
        return Path(f"{'stdin' if source == '-' else name_of(source)}.predictions.csv")
    return None if out == "-" else Path(out)


def _predict_rows(
    screen: Screen,
    model: Path,
    source: str,
    target: Path | None,
    read: ReadOptions,
    *,
    device: str | None,
    precision: str,
    overwrite: bool,
) -> dict[str, Any]:
    """Score a file or stdin, say what became of its rows, and return it."""
    from filbert.data.sources import open_source
    from filbert.scored import check_output, score_to

    rejects = Path(f"{'stdin' if target is None else target.name}.rejects.jsonl")
    if target is not None:
        check_output(target, None if source == "-" else Path(source), overwrite=overwrite)
        rejects = target.with_name(rejects.name)
    columns: tuple[str, ...] = ("text",)
    with _kept_rejects(rejects, read) as kept:
        if source == "-":
            examples: Iterator[Example] = _stdin(read.encoding)
        else:
            opened = open_source(source, read, labelled=False, rejects=kept)
            for line in opened.found:
                screen.say(line, indent=2)
            examples, columns = opened.examples(), opened.columns
        engine = _engine(model, device, precision)

        def done(tally: Tally) -> None:
            if tally.read % 256 == 0:
                screen.progress("scoring", tally.read, 0, texts_per_second=tally.texts_per_second)

        screen.progress("scoring", 0, 0)
        tally = score_to(engine, examples, columns, target, done=done)
    screen.clear()
    quarantined = 0 if source == "-" else opened.counts["quarantined"]
    _show_tally(screen, tally, target, quarantined, kept)
    return {
        "out": None if target is None else str(target),
        "read": tally.read + quarantined,
        "scored": tally.scored,
        "errors": dict(tally.errors),
        "quarantined": quarantined,
        "truncated": tally.truncated,
        "labels": dict(tally.labels.most_common()),
        "seconds": round(tally.seconds, 3),
    }


def _show_tally(screen: Screen, tally: Tally, target: Path | None, quarantined: int, rejects: Path) -> None:
    tell: Callable[..., None] = screen.show if target is not None else screen.say
    errors = "".join(f" + {count:,} {name}" for name, count in tally.errors.items())
    bad = f" + {quarantined:,} quarantined" if quarantined else ""
    speed = f"{tally.truncated:,} truncated · {tally.texts_per_second:,.0f} texts/s"
    tell(f"{tally.read + quarantined:,} rows read = {tally.scored:,} scored{errors}{bad} · {speed}")
    counted = tally.labels.most_common(CLASSES)
    for line in table(
        [(fitted(name), f"{n:,}", f"{100 * n / tally.scored:.1f} %") for name, n in counted] or [("",)], right=(1, 2)
    ):
        tell(f"  {line}")
    if tally.left_out:
        named = ", ".join(shown(key, 30) for key in sorted(tally.left_out)[:8])
        screen.say(f"warning: keys met only in later rows have no column in the output: {named}")
    if quarantined:
        tell(f"bad rows     {rejects}")
    if target is not None:
        tell(f"predictions  {target}")


def _stdin(encoding: str | None) -> Iterator[Example]:
    """Yield one text a line; undecodable bytes raise, with the line."""
    from filbert.records import Example

    codec = "utf-8-sig" if encoding in (None, "auto", "utf-8", "utf8") else str(encoding)
    sys.stdin.reconfigure(encoding=codec, errors="surrogateescape")  # type: ignore[union-attr]
    for number, line in enumerate(sys.stdin, 1):
        text = line.removesuffix("\n")
        if any("\ud800" <= c <= "\udfff" for c in text):
            wrong = f"cannot be decoded as {codec}: {shown(text)}"
            raise DataError([Problem(Place("stdin", number), "text", wrong, "give --encoding")])
        yield Example(text, None, Place("stdin", number), {"text": text})


# ---- evaluate ----


@app.command()
@reported
def evaluate(
    model: Model,
    path: Annotated[str, typer.Argument(help="File, folder, archive or hub data set of labelled texts.")],
    *,
    split: Annotated[str | None, typer.Option(help="train, validation or test [test, or all there is].")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write the scores to, as JSON.")] = None,
    text: Text = None,
    label: Label = None,
    delimiter: Delimiter = None,
    header: Header = None,
    quotes: Quotes = None,
    encoding: Encoding = None,
    on_bad_rows: BadRows = "error",
    merge_labels: Merge = None,
    split_column: SplitColumn = None,
    precision: Precision = "fp32",
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled texts: accuracy, macro-F1, MCC and every class, with 95 % intervals."""
    read = ReadOptions(
        text, label, delimiter, header, encoding, on_bad_rows, merges(merge_labels or []), split_column, quotes
    )
    _check_precision(precision)
    if out is not None and out.exists() and not overwrite:
        raise ConfigError(f"{out} exists — write somewhere else with -o, or allow --overwrite")
    with Screen(results=not as_json) as screen:
        examples, split, counts = _labelled(screen, path, read, split)
        engine = _engine(model, device, precision)
        _refuse_strangers(examples, engine.labels, model)
        measured = _measure(screen, engine, examples)
        _show_scores(screen, measured, split)
    facts = {"model": str(model), "source": path, "split": split, **counts, **measured}
    if out is not None:
        out.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        screen.show("", f"scores  {out}")
    if as_json:
        _print_json(facts)


def _labelled(
    screen: Screen, path: str, read: ReadOptions, split: str | None
) -> tuple[list[Example], str, dict[str, int]]:
    """Read the labelled texts of the split asked for, else of test, else all there are."""
    from filbert.data.sources import open_source

    with _kept_rejects(Path(f"{name_of(path)}.rejects.jsonl"), read) as rejects:
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
    from filbert import metrics

    number = {label: i for i, label in enumerate(engine.labels)}
    texts = [example.text for example in examples]
    chances_NC = engine.predict_proba(texts, done=lambda n: screen.progress("scoring", n, len(texts)))
    screen.clear()
    return metrics.score([number[str(example.label)] for example in examples], chances_NC, engine.labels)


def _show_scores(screen: Screen, measured: Mapping[str, Any], split: str) -> None:
    """Print the overall scores and one line per class."""
    from filbert.evaluate import summary_rows
    from filbert.report_words import value_of, with_interval

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


# ---- report ----


@app.command()
@reported
def report(
    model: Annotated[Path, typer.Argument(help="Run folder that `filbert fit` wrote.")], as_json: Json = False
) -> None:
    """Write report.html and README.md of a finished run again."""
    from filbert.report import write_report

    write_report(model)
    page, card = model / "report.html", model / "README.md"
    if as_json:
        _print_json({"folder": str(model), "report": str(page), "card": str(card)})
    else:
        Screen().show(f"written: {page} and {card}")


# ---- small parts ----


def merges(given: Iterable[str]) -> dict[str, str]:
    """Return what --merge-labels says, FROM=TO pairs, one or several (with commas) each time it is given.

    Where labels hold `=` themselves, the middle one separates.

    >>> merges(["Pos=pos, POS=pos", "a,b=c", "x=1=x=one"])
    {'Pos': 'pos', 'POS': 'pos', 'a,b': 'c', 'x=1': 'x=one'}
    """
    found = {}
    for text in given:
        pieces = text.split(",")
        pairs = [pieces[0], *(piece.lstrip() for piece in pieces[1:])] if all("=" in p for p in pieces) else [text]
        for pair in pairs:
            parts = pair.split("=")
            if len(parts) % 2 or not pair.strip("="):
                raise ConfigError(f"--merge-labels {shown(pair)} — write FROM=TO, for instance Pos=pos")
            half = len(parts) // 2
            found["=".join(parts[:half])] = "=".join(parts[half:])
    return found


def name_of(path: str) -> str:
    """Return what a source is called: the last part of its path, without the suffixes of its format.

    >>> name_of("data/reviews.csv.gz"), name_of("stanfordnlp/imdb"), name_of("data/v1.2/")
    ('reviews', 'imdb', 'v1.2')
    """
    name = Path(path).name or Path(path).resolve().name or "texts"
    while Path(name).suffix.lower() in (*TABLES, *PACKED) and Path(name).stem:
        name = Path(name).stem
    return "texts" if name in (".", "..") else name


@contextmanager
def _kept_rejects(path: Path, read: ReadOptions) -> Iterator[Path]:
    """Give the file for bad rows; when reading fails, say that all of them are in it."""
    before = _stamp(path)
    try:
        yield path
    except DataError:
        if _stamp(path) != before and read.on_bad_rows == "error":
            print(f"all bad rows are in {safe(str(path))}; --on-bad-rows quarantine leaves them out", file=sys.stderr)
        raise


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _check_precision(precision: str) -> None:
    TrainConfig(precision=precision)


def _engine(model: Path, device: str | None, precision: str) -> Engine:
    from filbert.engine import load

    return load(model, device=device, precision=precision)


def _command(*, without: str = "", also: tuple[str, ...] = ()) -> str:
    """Return the command line as it can be pasted, changed as asked."""
    words = [word for word in sys.argv[1:] if word != without]
    if "-o" not in words and "--out" not in words:
        words += also
    return _pasted(["filbert", *words])


def _pasted(words: Iterable[str]) -> str:
    """Return words as a shell takes them; unlike shlex's own `join` it leaves plain Chinese names bare."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else shlex.quote(word) for word in words)


def main() -> None:
    """Run the command line; SIGTERM ends it as Ctrl-C does, so that nothing half-written stays."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without "…" still gets its answer
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    app()


if __name__ == "__main__":
    main()
