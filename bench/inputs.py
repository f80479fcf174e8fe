"""Thirty odd inputs, read as three tools read them, and odd requests, answered by two servers: who is silently wrong?

    filbert       `filbert fit`'s reading (read_dataset)
    transformers  as examples/pytorch/text-classification/run_classification.py: datasets.load_dataset, labels sorted
    pandas        pandas.read_csv, read_json: what AutoGluon and many scripts stand on

    python bench/inputs.py [--only filbert pandas …] [--requests MODEL] [--write]

Each input is forty sound rows and one fault, made here; what is right of it is known: its rows (texts and labels, as
they stand), or that a person has to be told. The outcome is decided here, not by hand:

    works           the rows are right, and where a person has to be told, it was said
    says so         an error or a warning, without all rows
    silently wrong  rows that are not those of the file, or a fault that nobody is told of

A tool whose library is not installed is left out. --requests serves a model folder by `filbert serve` and by FastAPI
with a `transformers` pipeline (rival_server.py) and sends both the same odd requests.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from records import HERE, append

sys.path.insert(0, str(HERE.parent))

RESULTS = HERE / "results" / "inputs.jsonl"
PORT = 18_180
Rows = list[tuple[str, str]]
WORDS = ("bad", "good", "dull", "fine")
SOUND: Rows = [(f"a {WORDS[n % 4]} film, number {n}", ("neg", "pos")[n % 2]) for n in range(40)]


@dataclass(frozen=True)
class Input:
    """A file, and what is right of it: its rows, and whether a person has to be told something."""

    name: str
    file: str
    data: bytes
    rows: Rows | None
    told: bool = False


def table(rows: Sequence[Sequence[str]], *, header: str = "text,label", end: str = "\n", mark: str = ",") -> str:
    """Return a CSV whose texts stand in quotes."""
    lines = [mark.join(f'"{cell}"' if mark in cell or "\n" in cell else cell for cell in row) for row in rows]
    return end.join([*([header] if header else []), *lines]) + end


def csv_of(name: str, text: str | bytes, rows: Rows | None, *, told: bool = False, file: str = "a.csv") -> Input:
    return Input(name, file, text if isinstance(text, bytes) else text.encode(), rows, told)


def broken(name: str, line: str) -> Input:
    """Return an input with one damaged line in the middle, of which a person has to be told."""
    lines = table(SOUND).splitlines(keepends=True)
    return csv_of(name, "".join([*lines[:20], line, *lines[20:]]), None, told=True)


def with_rows(name: str, *more: tuple[str, str], told: bool = False) -> Input:
    rows = [*SOUND[:20], *more, *SOUND[20:]]
    return csv_of(name, table(rows), None if told else rows, told=told)


def inputs() -> Iterator[Input]:
    """Make the thirty inputs."""
    chinese: Rows = [(f"这部电影很{'好' if n % 2 else '差'}看，第{n}遍", label) for n, (_, label) in enumerate(SOUND)]
    plain = table(SOUND)
    objects = [{"text": text, "label": label} for text, label in SOUND]
    yield csv_of("byte order mark", b"\xef\xbb\xbf" + plain.encode(), SOUND)
    yield csv_of("byte order mark twice", b"\xef\xbb\xbf" * 2 + plain.encode(), SOUND)
    yield csv_of("UTF-16", plain.encode("utf-16"), SOUND)
    yield csv_of("GB18030", table(chinese).encode("gb18030"), None, told=True)
    yield csv_of("one byte that is no UTF-8", plain.encode() + b"caf\xe9,pos\n", None, told=True)
    yield with_rows("zero-width and bidi characters", ("a \u200bgood\u202e film", "pos"))
    yield with_rows("NUL in a text", ("a good\0film", "pos"))
    yield broken("quote never closed", '"a film that never ends,pos\n')
    yield broken("stray quote that merges rows", '"a film,pos\nanother one,neg\nthe third",pos\n')
    yield with_rows('inches: 5"6', ('he is 5"6 tall', "pos"))
    yield broken("a field too many", "good, really good,pos\n")
    yield broken("a field too few", "good\n")
    yield with_rows("texts NA, null, None", ("NA", "neg"), ("null", "pos"), ("None", "neg"))
    yield with_rows("labels nan beside real ones", ("one", "nan"), ("two", "nan"), told=True)
    yield csv_of("labels 01 and 02", table([(t, {"neg": "01", "pos": "02"}[x]) for t, x in SOUND]), [
        (t, {"neg": "01", "pos": "02"}[x]) for t, x in SOUND
    ])  # fmt: skip
    yield csv_of("labels 1.0 and 0.0", table([(t, {"neg": "0.0", "pos": "1.0"}[x]) for t, x in SOUND]), [
        (t, {"neg": "0.0", "pos": "1.0"}[x]) for t, x in SOUND
    ])  # fmt: skip
    variants = (("one", "Pos"), ("two", "Pos"), ("three", "pos "), ("four", "pos "))
    yield with_rows("labels Pos and 'pos '", *variants, told=True)
    yield with_rows("a text is empty", ("", "pos"), told=True)
    yield with_rows("a text of blanks", (" \u200b ", "pos"), told=True)
    yield with_rows("a label is missing", ("a film without one", ""), told=True)
    yield csv_of("CR ends lines", table(SOUND, end="\r"), SOUND)
    yield with_rows("a text of two lines", ("good\nreally", "pos"))
    yield csv_of("TSV named .csv", table(SOUND, header="text\tlabel", mark="\t"), SOUND)
    yield csv_of("sep=; above", "sep=;\n" + table(SOUND, header="text;label", mark=";"), SOUND)
    yield csv_of("a title above the header", "Export of May\n\n" + plain, SOUND)
    yield csv_of("blanks after commas", "text, label\n" + "".join(f'"{t}", "{x}"\n' for t, x in SOUND), SOUND)
    yield csv_of("header twice: text,text", table(SOUND, header="text,text"), None, told=True)
    yield csv_of("header, no rows", "text,label\n", None, told=True)
    yield Input("rows under a key of JSON", "a.json", json.dumps({"version": 1, "rows": objects}).encode(), SOUND)
    yield Input(
        "half a character in JSON", "a.json",
        b"".join(json.dumps(each).encode() + b"\n" for each in [*objects, {"text": "a \ud83d", "label": "pos"}]),
        None, told=True,
    )  # fmt: skip


# -- the three readers: rows, and what was said ------------------------------------------------------------------------


def by_filbert(path: Path) -> tuple[Rows, list[str]]:
    """Read as `filbert fit`."""
    from filbert.finetuning.dataset import read_dataset

    data = read_dataset(path)
    rows = [(each.text, str(each.target)) for part in data.splits.parts.values() for each in part]
    said = [line for line in data.found if line.startswith("warning") or "GB18030" in line]
    return rows, said


def by_transformers(path: Path) -> tuple[Rows, list[str]]:
    """Read as run_classification.py does with --text_column_names text --label_column_name label."""
    from datasets import load_dataset

    kind = path.suffix.lstrip(".")
    with tempfile.TemporaryDirectory() as cache:
        found = load_dataset(kind, data_files={"train": str(path)}, cache_dir=cache)["train"]
        labels = [str(value) for value in found["label"]]
        if found.features["label"].dtype not in ("float32", "float64"):  # these are a regression then, without a word
            sorted(found.unique("label"))  # the label list; None beside strings is an error
        texts = list(found["text"])
    for text in texts:
        if not isinstance(text, str):
            raise ValueError("text input must be of type `str`")  # what the tokenizer says
    return list(zip(texts, labels, strict=True)), []


def by_pandas(path: Path) -> tuple[Rows, list[str]]:
    """Read as pandas does by default."""
    import pandas as pd

    found = (
        pd.read_json(path, lines=path.read_bytes().count(b"\n") > 1) if path.suffix == ".json" else pd.read_csv(path)
    )
    return [(str(text), str(label)) for text, label in zip(found["text"], found["label"], strict=True)], []


READERS: dict[str, tuple[str, Callable[[Path], tuple[Rows, list[str]]]]] = {
    "filbert": ("numpy", by_filbert),
    "transformers": ("datasets", by_transformers),
    "pandas": ("pandas", by_pandas),
}


def outcome(given: Input, read: Callable[[Path], tuple[Rows, list[str]]], path: Path) -> tuple[str, str]:
    """Return what became of an input, and the first words of what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rows, said = read(path)
        except Exception as error:
            return "says so", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    said = [*said, *(str(each.message) for each in caught if issubclass(each.category, UserWarning))]
    if given.rows is not None and Counter(rows) == Counter(given.rows):
        return "works", ""
    if given.told and said:
        return "says so", said[0]
    return (
        "silently wrong",
        f"{len(rows)} rows" if given.rows is None else f"{len(rows)} rows, not the {len(given.rows)}",
    )


# -- the two servers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request, and the statuses that are right; a client error where it is wrong."""

    name: str
    body: bytes
    right: tuple[int, ...] = (400, 413, 422)
    headers: str = ""


def asked() -> Iterator[Asked]:
    """Make the odd requests."""
    yield Asked("no JSON", b"{")
    yield Asked("NaN", b'{"inputs": NaN}')
    yield Asked("half a character", b'{"inputs": "a \\ud83d"}')
    yield Asked("no UTF-8", b'{"inputs": "caf\xe9"}')
    yield Asked("a hundred thousand brackets", b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield Asked("a number", b'{"inputs": 3}')
    yield Asked("null", b'{"inputs": null}')
    yield Asked("no text", b'{"inputs": ""}')
    yield Asked("a text of blanks", b'{"inputs": " \\u200b "}')
    yield Asked("a field that is none", b'{"inputs": "a film", "trucate": false}')
    yield Asked("a million characters", json.dumps({"inputs": "film " * 200_000}).encode(), (200, 413, 422))
    yield Asked("64 MB", b'{"inputs": "' + b"a" * (64 << 20) + b'"}', (413,))
    yield Asked("another host's name", b'{"inputs": "a film"}', (400, 403, 421), "host: evil.example")
    yield Asked("a page of another site", b'{"inputs": "a film"}', (400, 403), "origin: https://evil.example")


@contextmanager
def serving(command: Sequence[str]) -> Iterator[None]:
    from serve_load import serving as served

    with served(command, PORT):
        yield


def replied(request: Asked) -> tuple[str, str]:
    """Send one request; return the outcome and what came."""
    import socket

    hosts = "" if request.headers.startswith("host") else "host: 127.0.0.1\r\n"
    more = f"{request.headers}\r\n" if request.headers else ""
    told = f"content-type: application/json\r\ncontent-length: {len(request.body)}\r\nconnection: close\r\n\r\n"
    head = f"POST /predict HTTP/1.1\r\n{hosts}{more}{told}"
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", PORT), timeout=30) as made:
            with suppress(OSError):  # the server has answered, and closed
                made.sendall(head.encode() + request.body)
            status = int(made.recv(1 << 16).split(b" ", 2)[1])
    except (OSError, IndexError, ValueError) as error:
        return "breaks", f"{type(error).__name__} after {time.monotonic() - began:.0f} s"
    if status in request.right:
        return ("works" if status == 200 else "says so"), str(status)
    return ("silently wrong" if status == 200 else "breaks"), str(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=READERS, default=list(READERS))
    parser.add_argument("--requests", type=Path, metavar="MODEL", help="also ask two servers of this model folder")
    parser.add_argument("--write", action="store_true", help="append to bench/results/inputs.jsonl")
    given = parser.parse_args()

    def keep(kind: str, who: str, what: str, outcome: str, said: str) -> None:
        print(f"{who:<13} {what:<32} {outcome:<15} {said[:90]}", flush=True)
        if given.write:
            append(RESULTS, {"kind": kind, "who": who, "input": what, "outcome": outcome, "said": said[:160]})

    with tempfile.TemporaryDirectory() as name:
        for who in given.only:
            package, read = READERS[who]
            if importlib.util.find_spec(package) is None:
                print(f"{who}: {package} is not installed", flush=True)
                continue
            for each in inputs():
                path = Path(name) / each.file
                path.write_bytes(each.data)
                what, said = outcome(each, read, path)
                keep("input", who, each.name, what, said.replace(name, "…"))
    for who in ("filbert", "fastapi") if given.requests else ():
        words = ["-m", "filbert", "serve", str(given.requests), "--port", str(PORT), "--device", "cpu"]
        if who == "fastapi":
            words = [str(HERE / "rival_server.py"), str(given.requests), str(PORT)]
        with serving([sys.executable, *words]):
            for request in asked():
                what, said = replied(request)
                keep("request", who, request.name, what, said)


if __name__ == "__main__":
    main()
