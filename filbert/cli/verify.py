"""`filbert verify`: the texts stored with a model, answered through every door that is installed, and compared."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from filbert.cli.console import Screen, table
from filbert.cli.options import Json, Model
from filbert.cli.serve import missing_parts
from filbert.errors import ConfigError, counted, shown
from filbert.failures import print_json
from filbert.language import N_
from filbert.language.terminal import translated

if TYPE_CHECKING:
    from filbert.inference.engine import Engine

HOME = str(Path(__file__).parents[2])  # the code that is running here is what the other processes run
COLUMNS = ("text", "text_pair")
PATIENCE = 600  # seconds for another process

Inputs = Sequence[tuple[str, ...]]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """What a door gave: the largest difference of a number; or why it was not opened, or failed."""

    door: str
    apart: float | None
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether it was opened and did not answer alike."""
        from filbert.export.doors import BAR

        return self.why.startswith("failed") or (self.apart is not None and not self.apart <= BAR)


def verify(model: Model, *, as_json: Json = False) -> None:
    """Answer the texts stored with a model in every way there is, and compare: Python, C++, ONNX, server, …"""
    from filbert.export.doors import BAR
    from filbert.inference.engine import load
    from filbert.inference.stored import texts_of

    with Screen(results=not as_json) as screen:
        engine = load(model, device="cpu", cascade=False)
        inputs = texts_of(engine.info)
        if not inputs:
            raise ConfigError(
                f"{model}/filbert.json stored — holds no texts to verify the model by, as a push leaves them out — "
                "verify the folder that it was pushed from, push it with --texts, or fit the model again"
            )
        found = _opened(screen, model, engine, inputs)
        same = [each for each in found if each.apart is not None and not each.failed]
        texts = counted(len(inputs), engine.task.EXAMPLE)
        _show(screen, found, f"{texts} stored with the model, numbers from 0 to 1, fp32", BAR)
    if as_json:
        doors = {each.door: {"largest_difference": _finite(each.apart), "why": each.why} for each in found}
        print_json({"model": str(model), "texts": len(inputs), "bar": BAR, "doors": doors, "same": len(same)})
    if any(each.failed for each in found):
        raise typer.Exit(1)


def _opened(screen: Screen, folder: Path, engine: Engine, inputs: Inputs) -> list[Opened]:
    """Open every door, and return what each gave."""
    from filbert.export.doors import DOORS, largest
    from filbert.inference.model import open_model
    from filbert.inference.stored import apart

    model = open_model(folder)
    rows = [engine.task.row(each, engine.settings) for each in engine.predict(inputs)]
    kinds = engine.task.columns(engine.settings)
    ways: list[tuple[str, str, Callable[[], float]]] = [
        ("Python", "", lambda: max(apart(engine))),
        ("command line", "", lambda: cells_apart(by_command(folder, inputs), rows, kinds)),
        *((door.name, door.missing(model), _of(largest, door, folder, model)) for door in DOORS),
        (N_("server"), missing_parts(), lambda: cells_apart(by_server(folder, inputs), rows, kinds)),
    ]
    found = []
    for number, (name, missing, answer) in enumerate(ways):
        screen.progress(f"asking {name}", number, len(ways))
        if missing:
            found.append(Opened(name, None, missing))
            continue
        try:
            found.append(Opened(name, answer()))
        except Exception as error:  # of whatever library it is: the other doors are tried nevertheless
            found.append(Opened(name, None, f"failed: {shown(str(error) or type(error).__name__, 200)}"))
    screen.clear()
    return found


def _of(largest: Callable[..., float], *given: Any) -> Callable[[], float]:
    return lambda: largest(*given)


def by_command(folder: Path, inputs: Inputs) -> list[Row]:
    """Return the result rows of `filbert predict` in a process of its own."""
    with tempfile.TemporaryDirectory() as draft:
        source, out = Path(draft) / "stored.jsonl", Path(draft) / "out.jsonl"
        lines = (json.dumps(dict(zip(COLUMNS, each, strict=False)), ensure_ascii=False) for each in inputs)
        source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        columns = ["--text", COLUMNS[0], *(["--text-pair", COLUMNS[1]] if len(inputs[0]) == 2 else [])]
        words = [
            "predict",
            str(folder.absolute()),
            str(source),
            "-o",
            str(out),
            "--no-cascade",
            "--device",
            "cpu",
            *columns,
        ]
        ran = subprocess.run(
            [sys.executable, "-m", "filbert", *words],
            cwd=draft,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (HOME, os.environ.get("PYTHONPATH"))))},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit {ran.returncode}")
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def by_server(folder: Path, inputs: Inputs) -> list[Row]:
    """Return the rows that a server on this machine gives over HTTP."""
    from filbert.server.run import Server
    from filbert.server.wire import Setup

    def ask(url: str) -> list[Row]:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        body = json.dumps({"inputs": [list(each) for each in inputs], "details": True})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if not isinstance(answer, list):
            raise RuntimeError(str(answer.get("error", answer)))
        return [each["row"] for each in answer]

    async def served() -> list[Row]:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def tell(line: str) -> None:
            if line.startswith("http://"):
                address.set_result(line)

        server = Server([folder], Setup("", "cpu", "fp32", False), port=0, tell=tell)
        running = asyncio.create_task(server.run())
        running.add_done_callback(lambda task: address.done() or address.cancel())  # it could not start
        try:
            url = await asyncio.wait_for(address, PATIENCE)
            return await asyncio.get_running_loop().run_in_executor(None, ask, url)
        finally:
            server.stop()
            await running

    return asyncio.run(served())


def cells_apart(found: Sequence[Row], wanted: Sequence[Row], kinds: Mapping[str, str]) -> float:
    """Return the largest difference of a number in the cells, relative to it where it is above 1.

    It is infinite where another cell differs: a label, an answer, its place.

    >>> cells_apart([{"label": "a", "p": 0.5}], [{"label": "a", "p": 0.25}], {"label": "string", "p": "float"})
    0.25
    >>> cells_apart([{"label": "b", "p": 0.5}], [{"label": "a", "p": 0.5}], {"label": "string", "p": "float"})
    inf
    """
    largest = 0.0
    for one, two in zip(found, wanted, strict=True):
        for name, kind in kinds.items():
            mine, yours = one.get(name), two.get(name)
            if kind == "float" and mine is not None and yours is not None:
                largest = max(largest, abs(mine - yours) / max(1.0, abs(yours)))
            elif mine != yours:
                return float("inf")
    return largest


def _show(screen: Screen, found: Sequence[Opened], what: str, bar: float) -> None:
    """Print a line for each door, and whether all agree."""
    rows = [(translated("door"), translated("largest difference"), "")]
    for each in found:
        note = each.why if each.why.startswith("failed") else f"not here: {each.why}" if each.why else ""
        said = translated(note or "more than it may be" * each.failed)
        rows.append((translated(each.door), translated(_number(each.apart)), said))
    screen.show(what, "", *table(rows, right=(1,)), "")
    wrong = [each.door for each in found if each.failed]
    here, most = sum(each.apart is not None for each in found), f"{bar:.5f}"
    if wrong:
        screen.show(
            f"{', '.join(map(translated, wrong))} — not the answers that were saved, at most {most} may they differ",
            style="red",
        )
    else:
        screen.show(f"all {here} agree within {most}", style="green")


def _number(apart: float | None) -> str:
    if apart is None:
        return "—"
    return "answers differ" if apart == float("inf") else f"{apart:.7f}"


def _finite(number: float | None) -> float | str | None:
    return "inf" if number == float("inf") else number
