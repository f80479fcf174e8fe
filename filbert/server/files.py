"""A file in, the same rows with their answers out: read and written in a thread, scored in the line like any request.

One file at a time for each model, rows in chunks, so that single texts are answered in between.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse

from filbert.errors import ConfigError, shown
from filbert.inference.rows import LAST, result_names
from filbert.inference.writers import FORMATS, open_writer
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example
from filbert.server.limits import Limits
from filbert.server.line import Full
from filbert.server.requests import cap, pieces_of
from filbert.server.served import Served
from filbert.server.status import Rejected
from filbert.server.wire import Answer, Item
from filbert.text.visible import visible

CHUNK = 32  # rows that are in the line at once
PAUSE = 0.05  # seconds before a full line is tried again
TYPES = {
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv; charset=utf-8",
}
READ = (*FORMATS, ".json", ".txt", ".ndjson", ".xls", ".xlsb", ".xlsm", ".ods")

Score = Callable[[Sequence[tuple[str, ...]]], list[Answer]]


async def label_file(request: Request, served: Served, limits: Limits, alive: Callable[[], bool]) -> FileResponse:
    """Answer every row of the file that is the request's body; its name is the query's `name`."""
    name = PurePosixPath(request.query_params.get("name") or "texts.csv").name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in READ:
        raise Rejected(
            422, f"name — {shown(name)} has a suffix that is not read here — send {', '.join(READ)}", ["name"]
        )
    if served.filing.locked():
        raise Rejected(429, "a file is being labelled — send this one when it is done", **{"retry-after": "5"})
    async with served.filing:
        folder = tempfile.TemporaryDirectory(prefix="filbert-file-")
        try:
            source = Path(folder.name) / f"texts{suffix}"
            with source.open("wb") as file:
                async for piece in pieces_of(request.scope, request.receive, limits.upload):
                    file.write(piece)
            loop = asyncio.get_running_loop()

            def score(inputs: Sequence[tuple[str, ...]]) -> list[Answer]:
                return asyncio.run_coroutine_threadsafe(_score(served, inputs, limits, alive), loop).result()

            out = Path(folder.name) / f"answers{suffix if suffix in FORMATS else '.csv'}"
            await asyncio.to_thread(_label, _Job(source, out, served, limits), score)
        except BaseException as error:
            folder.cleanup()
            if isinstance(error, (ConfigError, ValueError)) and not isinstance(error, Rejected):
                raise Rejected(422, str(error).replace(str(source), name), ["file"]) from None
            raise
    shown_as = quote(f"{PurePosixPath(name).stem}.predictions{out.suffix}")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{shown_as}",
        "x-model-version": served.ready.version,
    }
    kind = TYPES.get(out.suffix, "application/octet-stream")
    return FileResponse(out, headers=headers, media_type=kind, background=BackgroundTask(folder.cleanup))


@dataclass(frozen=True)
class _Job:
    source: Path
    out: Path
    served: Served
    limits: Limits


def _label(job: _Job, score: Score) -> None:
    """Read, have scored, write: in a thread, as reading a file takes its time."""
    ready = job.served.ready
    read = ReadOptions(columns={role: tuple(names) for role, names in ready.columns.items() if any(names)})
    source = open_source(str(job.source), read, labelled=False, rejects=job.source.with_suffix(".rejects"))
    types = {**ready.types, **LAST}
    names = result_names(source.columns, types)
    named = {names[key]: kind for key, kind in types.items()}
    examples: Iterator[Example] = iter(source.examples())
    rows = 0
    bom = job.source.read_bytes()[:3] == b"\xef\xbb\xbf"
    with open_writer(job.out, [*source.columns, *named], named, bom=bom) as write:
        while chunk := list(islice(examples, CHUNK)):
            rows += len(chunk)
            if rows > job.limits.rows:
                raise ConfigError(f"the file has more than {job.limits.rows:,} rows — label it with filbert predict")
            for example, cells in zip(chunk, _rows(chunk, ready.types, score), strict=True):
                row: dict[str, Any] = {column: example.columns.get(column, "") for column in source.columns}
                write(row | {names[key]: cells[key] for key in types})


def _rows(chunk: Sequence[Example], types: dict[str, str], score: Score) -> list[dict[str, Any]]:
    """Return the result cells of each row; of a text without anything to read, that it was empty."""
    read = [all(map(visible, example.inputs)) for example in chunk]
    found = iter(score([each.inputs for each, has in zip(chunk, read, strict=True) if has]) if any(read) else [])
    empty = {**dict.fromkeys(types), "truncated": False, "unk_ratio": 0.0, "error": "empty_text"}
    cells = []
    for has in read:
        answer = next(found) if has else Answer(row=empty)
        cells.append({**empty, "error": answer.error} if answer.error else answer.row)
    return cells


async def _score(
    served: Served, inputs: Sequence[tuple[str, ...]], limits: Limits, alive: Callable[[], bool]
) -> list[Answer]:
    texts = served.ready.texts
    if texts is not None and any(len(each) != texts for each in inputs):
        raise ConfigError(f"the rows hold {len(inputs[0])} texts, and the model reads {texts} — name its columns")
    most, whole = limits.characters, served.ready.whole
    items = [Item(tuple(cap(text, most, ends=len(each) == 1 and not whole) for text in each)) for each in inputs]
    while True:
        try:
            return [each.answer for each in await served.ask(items, alive)]
        except Full:
            if not alive():
                raise
            await asyncio.sleep(PAUSE)
