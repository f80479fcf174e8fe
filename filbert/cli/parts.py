"""Functions shared by commands: name outputs after a source, keep bad rows, read a text, open a model, quote a line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from filbert.cli.console import cells
from filbert.config import SCORING
from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.failures import say
from filbert.readers.options import ReadOptions

if TYPE_CHECKING:
    from filbert.inference.engine import Engine
    from filbert.inference.opening import Known

TABLES = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet"),
    *(".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"),
)
COMPRESSED = (".gz", ".xz", ".bz2", ".zst", ".zip", ".tar", ".tgz", ".txz")
SUFFIXES = (*TABLES, *COMPRESSED)
MOST = 1 << 27  # bytes of one text
CLASSES = 50  # rows shown of a table of classes


def name_of(path: str) -> str:
    """Return the name of a source: the last part of its path, without the suffixes of its format.

    >>> name_of("data/reviews.csv.gz"), name_of("stanfordnlp/imdb"), name_of("data/v1.2/")
    ('reviews', 'imdb', 'v1.2')
    """
    name = Path(path).name or Path(path).resolve().name or "texts"
    while Path(name).suffix.lower() in SUFFIXES and Path(name).stem:
        name = Path(name).stem
    return "texts" if name in (".", "..") else name


@contextmanager
def kept_rejects(path: Path, read: ReadOptions) -> Iterator[Path]:
    """Yield the path for bad rows; when reading fails, print that all bad rows are in it.

    >>> with kept_rejects(Path("reviews.rejects.jsonl"), ReadOptions()) as rejects:
    ...     print(rejects)
    reviews.rejects.jsonl
    """
    before = _stamp(path)
    try:
        yield path
    except DataError:
        if _stamp(path) != before and read.on_bad_rows == "error":
            say(f"all bad rows are in {path}; --on-bad-rows quarantine leaves them out")
        raise


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def refuse_missing(source: str) -> None:
    """Raise DataError where `source`, which does not exist, looks like a path: it has a suffix or slashes."""
    suffix = Path(source).suffix.lower() in SUFFIXES
    slashes = ("/" in source or "\\" in source) and not any(c.isspace() or cells(c) > 1 for c in source)
    if suffix or slashes:
        todo = "check the path; a text that looks like one can be given on stdin: give - instead"
        raise DataError([Problem(Place(source), "file", "does not exist", todo)])


def stdin_bytes() -> BinaryIO:
    """Return stdin as bytes. Raises DataError where it is closed."""
    if sys.stdin is None:
        raise DataError([Problem(Place("stdin"), "file", "is closed", "pipe a text in, or name a file")])
    return sys.stdin.buffer


def one_text(given: str, encoding: str | None) -> str:
    r"""Return the text of a file or, for "-", of stdin, with \n at the ends of its lines.

    Raises DataError where it is longer than 128 MB or cannot be decoded.
    """
    from filbert.readers.blobs import read_fully
    from filbert.readers.encodings import decode_text

    name = "stdin" if given == "-" else given
    with nullcontext(stdin_bytes()) if given == "-" else open(given, "rb") as stream:
        data = read_fully(stream, MOST + 1)
    if len(data) > MOST:
        raise DataError([Problem(Place(name), "text", f"is longer than {MOST >> 20} MB", "split it")])
    return decode_text(data, name, encoding).replace("\r\n", "\n").replace("\r", "\n")


def check_precision(precision: str) -> None:
    """Raise ConfigError for an unknown precision of scoring, before anything is read or loaded.

    >>> check_precision("int8")
    """
    if precision not in SCORING:
        raise ConfigError(f"precision is {shown(precision)} — choose one of {', '.join(SCORING)}")


def engine_of(
    model: Path,
    device: str | None,
    precision: str,
    *,
    cascade: bool = True,
    abstain: float | None = None,
    unknown: float | None = None,
) -> Engine:
    """Open a model folder for prediction; ModelError where it is not one.

    >>> engine_of(Path("runs/reviews"), None, "fp32").task.NAME  # doctest: +SKIP
    'single-label'
    """
    from filbert.inference.engine import load

    return load(model, device=device, precision=precision, cascade=cascade, abstain=abstain, unknown=unknown)


def with_trained_columns(read: ReadOptions, model: Engine | Known) -> ReadOptions:
    """Return the reading options with the columns that the model was trained on, used for files that have them."""
    return replace(read, columns={key: names for key, names in (model.info.get("columns") or {}).items() if any(names)})


def command_line(*, without: str = "", also: tuple[str, ...] = ()) -> str:
    """Return the command line, quoted for a shell, without the word `without` and with `also` where there is no -o.

    >>> command_line(without="--overwrite", also=("-o", "runs/reviews"))  # doctest: +SKIP
    'filbert fit reviews.csv -o runs/reviews'
    """
    words = [word for word in sys.argv[1:] if word != without]
    if "-o" not in words and "--out" not in words:
        words += also
    return shell_quoted(["filbert", *words])


def shell_quoted(words: Iterable[str]) -> str:
    """Return words quoted for a shell; unlike shlex.join it leaves plain Chinese names unquoted.

    >>> shell_quoted(["filbert", "predict", "runs/评论", "my texts.csv"])
    "filbert predict runs/评论 'my texts.csv'"
    """
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else shlex.quote(word) for word in words)
