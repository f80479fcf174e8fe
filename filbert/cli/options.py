"""Options shared by several commands.

An option is an annotated type: `device: Device = None`. The options on how files are read go together: a command takes
them as one `read: ReadOptions`, see `reading`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from filbert.errors import ConfigError, shown
from filbert.language import LANGUAGES
from filbert.readers.options import ReadOptions

Model = Annotated[Path, typer.Argument(help="Run folder that `filbert fit` wrote, or any BERT classifier folder.")]
Precision = Annotated[str, typer.Option("--precision", help="fp32, bf16 (faster, within 0.02) or auto.")]
ScoringPrecision = Annotated[
    str, typer.Option("--precision", help="fp32, bf16 (faster, within 0.02), int8 (fastest, within 0.05) or auto.")
]
WithoutCascade = Annotated[
    bool, typer.Option("--no-cascade", help="Score all texts with BERT, without the linear model of a cascade.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:1; the GPU where there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Language = Annotated[
    str | None, typer.Option("--language", metavar="en|zh", help="Language of the report [that of the messages].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")]

Abstain = Annotated[
    str | None,
    typer.Option(
        "--abstain",
        help="Wrong answers that are allowed, 2% for instance: unsure texts get none; 0: all do [as fitted].",
    ),
]

Unknown = Annotated[
    str | None,
    typer.Option(
        "--unknown",
        help="Texts of known classes, 5% for instance, that may be told to be of none; 0: all get one [as fitted].",
    ),
]

Slices = Annotated[
    list[str] | None, typer.Option("--slice", help="Column of the input to tell errors by; may be given several times.")
]

RareLabels = Annotated[
    str,
    typer.Option("--rare-labels", help="Labels with one training text: error, drop or other; drop:10: fewer than 10."),
]

Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Also write the training log to tensorboard or mlflow."),
]

Command = Callable[..., None]
LABELLED = ("label", "merge_labels", "split_column")  # options for labelled texts only


def read_options(
    *,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="Column of the texts: its name, or its number from 1; title,body joins two."),
    ] = None,
    text_pair: Annotated[
        str | None, typer.Option("--text-pair", help="Column of the second text, where each row has two.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="Column of the targets, in the same way; a,b,c: columns of 0 and 1."),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option("--delimiter", help="comma, tab, semicolon, pipe, space (label first), or the characters."),
    ] = None,
    skip_lines: Annotated[int, typer.Option("--skip-lines", min=0, help="Lines above the header to leave out.")] = 0,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first row holds column names.")
    ] = None,
    quotes: Annotated[
        bool | None, typer.Option("--quotes/--no-quotes", help='Whether " quotes a field, or is a plain character.')
    ] = None,
    encoding: Annotated[
        str | None, typer.Option("--encoding", help="auto (UTF-8, else GB18030) or a codec such as gb18030, latin-1.")
    ] = None,
    on_bad_rows: Annotated[
        str, typer.Option("--on-bad-rows", help="error, or quarantine: leave bad rows out and keep them in a file.")
    ] = "error",
    merge_labels: Annotated[
        list[str] | None,
        typer.Option("--merge-labels", help='Read labels as another one: "Pos=pos,POS=pos"; "nan=": leave them out.'),
    ] = None,
    split_column: Annotated[
        str | None, typer.Option("--split-column", help="Column that says train, dev or test.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", help="Sheet of a spreadsheet: its name, or its number from 1.")
    ] = None,
) -> ReadOptions:
    """Return the ReadOptions of these command line options; ConfigError where one is wrong.

    >>> read_options(delimiter="tab", merge_labels=["Pos=pos"]).merge_labels
    {'Pos': 'pos'}
    """
    return ReadOptions(
        text=_once("--text", text, "title,body joins columns, --text-pair names the second text of a pair"),
        text_pair=text_pair,
        label=_once("--label", label, "a,b,c names several columns of 0 and 1"),
        delimiter=delimiter,
        skip_lines=skip_lines,
        header=header,
        quotes=quotes,
        encoding=encoding,
        on_bad_rows=on_bad_rows,
        merge_labels=parse_merges(merge_labels or []),
        split_column=split_column,
        sheet=sheet,
    )


def _once(option: str, given: Sequence[str] | None, todo: str) -> str | None:
    """Return the value of an option; ConfigError where it is given twice, as one value would be ignored silently."""
    if given and len(given) > 1:
        raise ConfigError(f"{option} is given {len(given)} times: {shown(list(given))} — give it once: {todo}")
    return given[0] if given else None


def reading(*, labelled: bool = True, pairs: bool = True) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options of `read_options` in place of its parameter `read`.

    >>> @reading(labelled=False)
    ... def count(path: str, *, read: ReadOptions, as_json: Json = False) -> None:
    ...     print(read.separator)
    >>> names = list(inspect.signature(count).parameters)
    >>> names[:4], names[-2:], "label" in names
    (['path', 'text', 'text_pair', 'delimiter'], ['sheet', 'as_json'], False)
    >>> count("texts.csv", delimiter="comma")
    ,
    """
    without = (*(() if labelled else LABELLED), *(() if pairs else ("text_pair",)))
    return expanded("read", read_options, without=without)


def expanded(name: str, maker: Callable[..., Any], *, without: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Return a decorator that replaces a command's parameter `name` by the options of `maker`.

    Typer and docs/make_commands.py see the options; the command gets the value that `maker` returns for them.
    """
    added = {key: option for key, option in _parameters(maker).items() if key not in without}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> None:
            made = maker(**{key: options.pop(key) for key in added if key in options})
            command(*args, **{name: made}, **options)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            parameters += added.values() if parameter.name == name else [parameter]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer and the docs read it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


@functools.cache
def _parameters(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function; cached, as it takes 0.3 ms."""
    return inspect.signature(maker, eval_str=True).parameters


def rate_of(given: str | None, option: str = "--abstain", of: str = "wrong answers") -> float | None:
    """Return the share that an option allows; None where it is not given. Raises ConfigError.

    >>> rate_of("2%"), rate_of("0.02"), rate_of("0"), rate_of(None)
    (0.02, 0.02, 0.0, None)
    """
    if given is None:
        return None
    text = given.strip().removesuffix("%").removesuffix("％").strip()
    try:
        rate = float(text) / (1 if text == given.strip() else 100)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < 1:
        raise ConfigError(f"{option} {shown(given)} — is no share of {of} — give 2% or 0.02 for two in a hundred")
    return rate


def spoken(language: str | None) -> str | None:
    """Return a language that --language names, or None; ConfigError where there is no such one.

    >>> spoken("zh"), spoken(None)
    ('zh', None)
    """
    if language is not None and language not in LANGUAGES:
        raise ConfigError(f"--language — is {shown(language)} — choose one of: {', '.join(LANGUAGES)}")
    return language


def unknown_of(given: str | None) -> float | None:
    """Return the share of texts that --unknown allows to be told unknown wrongly; None where it is not given.

    >>> unknown_of("5%"), unknown_of("0"), unknown_of(None)
    (0.05, 0.0, None)
    """
    return rate_of(given, "--unknown", "texts")


def parse_merges(given: Iterable[str]) -> dict[str, str]:
    """Parse --merge-labels: each value is one FROM=TO pair, or several separated by commas.

    Where labels contain `=`, the middle one separates.

    >>> parse_merges(["Pos=pos, POS=pos", "a,b=c", "x=1=x=one"])
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
