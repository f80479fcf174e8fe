"""The server's side of a model's process: started, fed with batches, killed when it stalls, closed when it is done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from filbert.errors import ModelError
from filbert.server.limits import Limits
from filbert.server.wire import LARGEST, Answers, Batch, Item, Message, Ready, Refused, Setup, packed

MODULE = "filbert.server.worker"
SAFE_PATH = ("-P",) if sys.version_info >= (3, 11) else ()  # nothing is imported from the folder we stand in …
HOME = str(Path(__file__).parents[2])  # … but the code that is running here


class Gone(Exception):
    """The process ended or was killed; `begun` says whether this batch was the one it worked on."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("the model's process ended; it is being started again")
        self.begun = begun


@dataclass(eq=False)
class _Sent:
    items: Sequence[Item]
    answers: asyncio.Future[Answers]


class Worker:
    """A running process with its model open."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Ready, limits: Limits) -> None:
        self.ready = ready
        self._process, self._limits = process, limits
        self._sent: deque[_Sent] = deque()  # in the order in which they are answered
        self._stall: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.alive = True
        self._reading = self._loop.create_task(self._read())

    @classmethod
    async def start(cls, setup: Setup, limits: Limits) -> Worker:
        """Start a process and wait until its model is open; ModelError says why it cannot be."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *SAFE_PATH, "-m", MODULE),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (HOME, os.environ.get("PYTHONPATH"))))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is the server's
        )
        try:
            assert process.stdin is not None
            process.stdin.write(packed(setup))
            told = await asyncio.wait_for(_message(process), limits.start)
        except BaseException as error:
            await _ended(process)
            if isinstance(error, (asyncio.IncompleteReadError, ConnectionError)):
                raise ModelError(f"{setup.model} — the process that opened it ended — see the log") from None
            if isinstance(error, asyncio.TimeoutError):
                raise ModelError(f"{setup.model} — was not open after {limits.start:.0f} s — see the log") from None
            raise
        if not isinstance(told, Ready):
            await _ended(process)
            raise ModelError(told.message if isinstance(told, Refused) else "the worker does not speak as it should")
        return cls(process, told, limits)

    @property
    def busy(self) -> int:
        """How many batches it has not answered."""
        return len(self._sent)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def on_end(self, told: Callable[[], None]) -> None:
        """Call a function when the process is gone, its batches failed."""
        self._reading.add_done_callback(lambda _: told())

    def score(self, items: Sequence[Item]) -> asyncio.Future[Answers]:
        """Send a batch; its answers come in the order of the batches. The future raises Gone."""
        found: asyncio.Future[Answers] = self._loop.create_future()
        if not self.alive:
            found.set_exception(Gone(begun=False))
            return found
        self._sent.append(_Sent(items, found))
        if len(self._sent) == 1:
            self._watch()
        assert self._process.stdin is not None
        self._process.stdin.write(packed(Batch(list(items))))
        return found

    def kill(self) -> None:
        """End the process at once."""
        _kill(self._process)

    async def close(self) -> None:
        """Let the process answer what it has, then end it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._reading), self._limits.stop)
        except asyncio.TimeoutError:
            self.kill()
        await self._process.wait()

    def _watch(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        self._stall = self._loop.call_later(self._limits.stall, self.kill) if self._sent else None

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            while True:
                told = await _message(self._process)
                if not isinstance(told, Answers) or not self._sent:
                    break
                sent = self._sent.popleft()
                self._watch()
                if not sent.answers.done():
                    sent.answers.set_result(told)
        self.alive = False
        self.kill()
        begun = True
        while self._sent:
            sent = self._sent.popleft()
            if not sent.answers.done():
                sent.answers.set_exception(Gone(begun=begun))
            begun = False
        self._watch()


async def _message(process: asyncio.subprocess.Process) -> Message:
    assert process.stdout is not None
    size = int.from_bytes(await process.stdout.readexactly(4), "big")
    if size > LARGEST:
        raise ConnectionError
    return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Message)


async def _ended(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
