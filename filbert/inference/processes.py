"""Score chunks of texts in several processes, each with its own copy of the model and its own share of the processors.

    chunks → the process that is idle → results, in the order of the chunks

A process speaks JSON over stdin and stdout (worker.py), and ends when this one does, however it does. At most two
chunks a process are held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from typing_extensions import Self

from filbert import errors
from filbert.inference.opening import Opening
from filbert.inference.pipes import framed, read_message
from filbert.inference.rows import Pairs, Scored
from filbert.model.native_encoder import processors
from filbert.records import Example

MODULE = "filbert.inference.worker"
SAFE_PATH = ("-P",) if sys.version_info >= (3, 11) else ()  # nothing is imported from the folder we stand in …
HOME = str(Path(__file__).parents[2])  # … but the code that is running here
GONE = "ended while it scored — give fewer --processes if memory ran out; the same command goes on where it stopped"


class Processes:
    """Processes with a model open; a context manager, at whose end they are gone.

    >>> with Processes(Opening("runs/reviews"), 4) as processes:  # doctest: +SKIP
    ...     pairs = list(processes.scored(chunks(source.examples())))
    """

    def __init__(self, opening: Opening, count: int) -> None:
        self._opening, self._count = opening, count
        self._running: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        share = str(max(1, processors() // self._count))
        path = os.pathsep.join(filter(None, (HOME, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": share, "RAYON_NUM_THREADS": share}
        try:
            for _ in range(self._count):
                process = subprocess.Popen(
                    (sys.executable, *SAFE_PATH, "-m", MODULE),
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C in a terminal is for this process
                )
                self._running.append(process)
                _send(process, asdict(self._opening))
            for process in self._running:
                _received(process)
                self._idle.put(process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        for process in self._running:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._running:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # what was being written when the process was killed
                        continue

    def scored(self, chunks: Iterator[list[Example]], done: int = 0) -> Pairs:
        """Yield each chunk with its results, in order; what a process raises is raised here."""
        waiting: deque[tuple[list[Example], Future[list[Scored]]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, self._threads.submit(self._ask, [example.inputs for example in chunk])))
            if len(waiting) > 2 * self._count:
                yield _done(waiting)
        while waiting:
            yield _done(waiting)

    def _ask(self, inputs: Sequence[tuple[str, ...]]) -> list[Scored]:
        process = self._idle.get()
        try:
            _send(process, inputs)
            return [Scored(*row) for row in _received(process)]
        finally:
            self._idle.put(process)


def _done(waiting: deque[tuple[list[Example], Future[list[Scored]]]]) -> tuple[list[Example], list[Scored]]:
    chunk, found = waiting.popleft()
    return chunk, found.result()


def _send(process: subprocess.Popen[bytes], value: Any) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(framed(json.dumps(value).encode()))
        process.stdin.flush()
    except BrokenPipeError:
        raise _gone(process) from None


def _received(process: subprocess.Popen[bytes]) -> Any:
    """Return what a process says; raise what it raised."""
    assert process.stdout is not None
    body = read_message(process.stdout)
    if body is None:
        raise _gone(process)
    told = json.loads(body)
    if "error" in told:
        kind = getattr(errors, told["error"], None)
        raise (kind if kind in (errors.ConfigError, errors.ModelError) else OSError)(told["message"])
    return told["found"]


def _gone(process: subprocess.Popen[bytes]) -> OSError:
    return ChildProcessError(f"process {process.pid} — {GONE}")
