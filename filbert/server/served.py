"""A served model: its process kept alive, replaced when the folder changes, and asked.

A new model is opened, checked and replayed beside the old one, which answers until then, and is closed once it has
answered what it was sent. A folder that cannot be opened, or is half copied, changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from filbert.errors import FilbertError, ModelError
from filbert.server.limits import Limits
from filbert.server.line import Down, Expired, Line, Scored
from filbert.server.process import Worker
from filbert.server.wire import Item, Ready, Setup

PATIENCE = (0.0, 0.5, 2.0, 5.0, 15.0)  # seconds before each try to start a process again; the last one for ever
LOOK = 1.0  # seconds between two looks at the folder

Stamp = tuple[object, ...]


@dataclass
class Counts:
    """What happened to a model's process."""

    restarts: int = 0
    reloads: int = 0
    failed_reloads: int = 0


class Served:
    """A model under its name."""

    def __init__(self, name: str, folder: Path, setup: Setup, limits: Limits) -> None:
        self.name, self.folder, self.limits = name, folder, limits
        self.line, self.counts = Line(limits), Counts()
        self._setup = setup
        self._stamp: Stamp = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._swap = asyncio.Lock()
        self.filing = asyncio.Lock()  # held while a file is labelled
        self.ready: Ready  # of the model that was opened last

    async def start(self) -> None:
        """Open the model for the first time; ModelError where that fails."""
        self._stamp = stamp(self.folder)
        self._serve(await self._open())
        self._keep(self._watch())

    async def stop(self) -> None:
        """End the process."""
        for task in self._tasks:
            task.cancel()
        worker = self.line.worker
        self.line.serve_with(None)
        if worker is not None:
            await worker.close()

    @property
    def up(self) -> bool:
        """Whether a process is there to answer."""
        return self.line.worker is not None and self.line.worker.alive

    async def ask(self, items: Sequence[Item], alive: Callable[[], bool]) -> list[Scored]:
        """Have items scored, all by one version of the model; raises Full, Expired and Down."""
        deadline = time.monotonic() + self.limits.deadline
        found = await self._scored(items, alive, deadline)
        for _ in range(3):  # a new model came between two items of a request
            newest = found[-1].version
            older = [i for i, each in enumerate(found) if each.version != newest]
            if not older:
                break
            again = await self._scored([items[i] for i in older], alive, deadline)
            for i, each in zip(older, again, strict=True):
                found[i] = each
        return found

    async def _scored(self, items: Sequence[Item], alive: Callable[[], bool], deadline: float) -> list[Scored]:
        futures = self.line.add(items, alive, deadline)
        if len(futures) > 1:
            await asyncio.wait(futures, timeout=max(0.0, deadline - time.monotonic()))
        else:
            with contextlib.suppress(Down, Expired, asyncio.TimeoutError):
                await asyncio.wait_for(futures[0], max(0.0, deadline - time.monotonic()))
        for future in futures:
            if not future.done() or future.cancelled():
                for each in futures:
                    each.cancel()
                raise Expired(f"not answered within {self.limits.deadline:.0f} s")
        return [future.result() for future in futures]

    async def reload(self, *, forced: bool = False) -> bool:
        """Open the folder's model where it changed, and serve it from then on; say whether it is served."""
        async with self._swap:
            seen = stamp(self.folder)
            if seen == self._stamp and not forced:
                return False
            self._stamp = seen
            try:
                worker = await self._open()
            except (FilbertError, OSError) as error:
                self.counts.failed_reloads += 1
                say(f"{self.name}: the new model is not served, the old one goes on: {error}")
                return False
            old = self.line.worker
            self._serve(worker)
            self.counts.reloads += 1
            say(f"{self.name}: serving version {worker.ready.version}")
            if old is not None:
                self._keep(old.close())
            return True

    async def _open(self) -> Worker:
        self._setup.model = str(self.folder.resolve())  # a link may point elsewhere while the model is read
        return await Worker.start(self._setup, self.limits)

    def _serve(self, worker: Worker) -> None:
        self.ready = worker.ready
        self.line.serve_with(worker)
        worker.on_end(lambda: self._ended(worker))

    def _ended(self, worker: Worker) -> None:
        if self.line.worker is worker:
            say(f"{self.name}: the model's process ended; starting it again")
            self._keep(self._restart(worker))

    async def _restart(self, ended: Worker) -> None:
        for number in range(10**6):
            await asyncio.sleep(PATIENCE[min(number, len(PATIENCE) - 1)])
            async with self._swap:
                if self.line.worker is not ended:
                    return
                self.counts.restarts += 1
                try:
                    self._serve(await self._open())
                    return
                except (FilbertError, OSError) as error:
                    say(f"{self.name}: cannot be started again: {error}")
                    self.line.fail()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            await self.reload()

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def stamp(folder: Path) -> Stamp:
    """Return what changes with the folder: where it leads, and each file's size and time."""
    try:
        files = sorted((each.name, each.stat()) for each in folder.iterdir() if each.is_file())
        return (str(folder.resolve()), *((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in files))
    except OSError:
        return (str(folder),)


def say(text: str) -> None:
    """Tell the log."""
    print(text, file=sys.stderr, flush=True)


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the models by the names under which they are served; ModelError where two have one name.

    >>> list(named([Path("runs/reviews"), Path("runs/tickets/current")]))
    ['reviews', 'tickets']
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.name == "current":
            name = folder.absolute().parent.name or "model"
        elif folder.name in ("", ".", ".."):
            name = folder.resolve().name or "model"
        else:
            name = folder.name
        if name in found:
            raise ModelError(f"two models are called {name!r}: {found[name]} and {folder} — rename or link one of them")
        found[name] = folder
    return found
