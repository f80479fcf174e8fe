"""The line before a model: texts of all requests, first come, first served, in batches of some milliseconds of work.

Work is counted in seconds: tokens are guessed by bytes, what a batch and a token cost was measured when the model was
opened, and how much slower it goes by now is learned from each batch. Beyond so many seconds of waiting work a request
is refused at once; what nobody waits for any more is never computed.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filbert.server.limits import Limits
from filbert.server.process import Gone, Worker
from filbert.server.wire import Answer, Answers, Item, guessed

FIXED, PER_TOKEN = 1e-3, 2e-5  # seconds, before a model is there
LEARNED = 0.3  # how much of how slow it goes the newest batch says
WORTH = 10  # times what a batch takes by itself, beyond which a larger one gains little
RETRIES = 2  # how often a batch that a process left unbegun is sent again


class Full(Exception):
    """More work is waiting than is let in; `after` is when to come again, in seconds."""

    def __init__(self, after: float) -> None:
        super().__init__("more requests are waiting than can be answered in time")
        self.after = max(1, math.ceil(after))


class Expired(Exception):
    """The deadline passed, or the client hung up, before the text was scored."""


class Down(Exception):
    """The process that worked on the text ended, or cannot be started again."""


@dataclass(frozen=True)
class Scored:
    """An item's answer with the model that gave it, and how long it waited and took."""

    answer: Answer
    version: str
    waited: float
    tokenize: float
    infer: float


@dataclass(eq=False)
class _Waiting:
    item: Item
    tokens: int
    found: asyncio.Future[Scored]
    alive: Callable[[], bool]
    deadline: float
    since: float
    tries: int = 0


class Line:
    """The texts that wait for one model."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.worker: Worker | None = None
        self.fixed, self.per_token = FIXED, PER_TOKEN  # seconds of a batch, and of a token beside …
        self.slow = 1.0  # … times this
        self.computed = 0  # texts sent to a worker
        self._broken = False  # whether there is no process and none could be started
        self._waiting: deque[_Waiting] = deque()
        self._tokens = 0  # of those waiting
        self._flying: dict[asyncio.Future[Answers], tuple[list[_Waiting], int]] = {}

    @property
    def seconds(self) -> float:
        """How long the work that is there will take."""
        work = self._cost(self._tokens + sum(tokens for _, tokens in self._flying.values()))
        batches = max(work / self._room, len(self._flying))
        return work + batches * self.slow * self.fixed

    def _cost(self, tokens: int) -> float:
        """Return the seconds of so many tokens, without what a batch takes however small."""
        return tokens * self.per_token * self.slow

    @property
    def _room(self) -> float:
        """Return the seconds of tokens that go into a batch.

        At least as many as the batch takes by itself, and more where much waits: a batch of tokens that take ten times
        as long as the batch by itself wastes a tenth, and a small one keeps who comes next waiting less.
        """
        fixed = self.slow * self.fixed
        return max(self.limits.batch, fixed, min(WORTH * fixed, self._cost(self._tokens) / 2))

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self._waiting)

    def serve_with(self, worker: Worker | None) -> None:
        """Send batches to this process from now on."""
        self.worker = worker
        if worker is not None:
            self._broken = False
            self.fixed, self.per_token, self.slow = worker.ready.fixed, worker.ready.per_token, 1.0
        self._fill()

    def add(self, items: Sequence[Item], alive: Callable[[], bool], deadline: float) -> list[asyncio.Future[Scored]]:
        """Put texts into the line; raises Full, and Down where there is no model."""
        if self._broken:
            raise Down("the model is not available")
        if self.seconds > self.limits.queue:
            raise Full(self.seconds - self.limits.queue)
        now, loop = time.monotonic(), asyncio.get_running_loop()
        added = [_Waiting(item, self._guess(item), loop.create_future(), alive, deadline, now) for item in items]
        self._waiting.extend(added)
        self._tokens += sum(each.tokens for each in added)
        self._fill()
        return [each.found for each in added]

    def fail(self) -> None:
        """Fail all that waits, and what comes until there is a process again: none can be started."""
        self._broken = True
        while self._waiting:
            _fail(self._take(), Down("the model is not available"))

    def _guess(self, item: Item) -> int:
        size = guessed(item.inputs)
        ready = self.worker.ready if self.worker else None
        return size if ready is None or ready.whole else min(size, ready.max_length)

    def _take(self) -> _Waiting:
        each = self._waiting.popleft()
        self._tokens -= each.tokens
        return each

    def _fill(self) -> None:
        """Send batches while the worker has room for them."""
        worker = self.worker
        while worker is not None and worker.alive and self._waiting and len(self._flying) < self.limits.flight:
            batch, tokens, now = list[_Waiting](), 0, time.monotonic()
            while self._waiting and (not batch or self._cost(tokens + self._waiting[0].tokens) <= self._room):
                each = self._take()
                if each.found.done():
                    continue
                if each.deadline < now or not each.alive():
                    _fail(each, Expired("nobody waits for it any more"))
                    continue
                batch.append(each)
                tokens += each.tokens
            if batch:
                self.computed += len(batch)
                sent = worker.score([each.item for each in batch])
                self._flying[sent] = batch, tokens
                sent.add_done_callback(functools.partial(self._arrived, worker))

    def _arrived(self, worker: Worker, sent: asyncio.Future[Answers]) -> None:
        batch, tokens = self._flying.pop(sent)
        error = sent.exception()
        if error is None:
            told = sent.result()
            took = told.tokenize + told.infer
            self.slow += LEARNED * (took / (self.fixed + tokens * self.per_token) - self.slow)
            for each, answer in zip(batch, told.answers, strict=True):
                if not each.found.done():
                    waited = max(0.0, time.monotonic() - each.since - took)
                    each.found.set_result(Scored(answer, worker.ready.version, waited, told.tokenize, told.infer))
        elif isinstance(error, Gone) and not error.begun:
            for each in reversed(batch):
                each.tries += 1
                if each.tries > RETRIES:
                    _fail(each, Down(str(error)))
                else:
                    self._waiting.appendleft(each)
                    self._tokens += each.tokens
        else:
            for each in batch:
                _fail(each, Down(str(error)))
        self._fill()


def _fail(each: _Waiting, error: Exception) -> None:
    if not each.found.done():
        each.found.set_exception(error)
