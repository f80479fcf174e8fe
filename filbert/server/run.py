"""The server from start to stop: models opened, signals heard, connections accepted, all of it ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvicorn

from filbert.errors import ConfigError
from filbert.server.app import App
from filbert.server.connection import patient
from filbert.server.guard import Guard, loopback
from filbert.server.limits import Limits
from filbert.server.served import Served, named
from filbert.server.wire import Setup

SHORTEST_KEY = 16  # characters
BACKLOG = 2048  # connections that wait to be accepted
OPEN_FILES = 1 << 16

Tell = Callable[[str], None]


def read_key(file: Path | None, host: str) -> str | None:
    """Return the API key of a file; ConfigError where there is none for an address that others can reach.

    >>> read_key(None, "127.0.0.1")
    """
    if file is None:
        if not loopback(host):
            raise ConfigError(f"--host {host} can be reached by others — give a key: --api-key-file FILE")
        return None
    try:
        key = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api-key-file {file} — cannot be read ({error}) — give a file with one line") from None
    if len(key) < SHORTEST_KEY or len(key.split()) != 1 or not key.isascii():
        what = f"holds no key of {SHORTEST_KEY} plain characters or more on one line"
        raise ConfigError(f"--api-key-file {file} — {what} — write a longer one")
    return key


class Uvicorn(uvicorn.Server):
    """uvicorn without its signals: they are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield


@dataclass
class Server:
    """Models served at an address; the first one is asked where a request names none."""

    folders: Sequence[Path]
    setup: Setup
    host: str = "127.0.0.1"
    port: int = 8080
    key: str | None = None
    limits: Limits = field(default_factory=Limits)
    tell: Tell = lambda line: None
    """Hears a line for each model and, last, the address."""

    def __post_init__(self) -> None:
        self.models: dict[str, Served] = {}
        self.app: App  # once it runs
        self._uvicorn: Uvicorn | None = None
        self._reloads: set[asyncio.Task[bool]] = set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; SIGHUP, or a folder that changed, opens the models again.

        Raises ModelError where a model cannot be opened at first, OSError where the address is taken.
        """
        _allow_open_files(self.limits.connections + 256)
        for name, folder in named(self.folders).items():
            self.models[name] = Served(name, folder, msgspec.structs.replace(self.setup), self.limits)
        with self._signals():
            try:
                for served in self.models.values():
                    await served.start()
                    self.tell(f"{served.name} — {served.ready.task}, version {served.ready.version}, {served.folder}")
                await self._serve()
            finally:
                await asyncio.gather(*(served.stop() for served in self.models.values()))

    def stop(self) -> None:
        """Take no more requests, answer those that are here, and end."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    def reload(self) -> None:
        """Open every model again."""
        for served in self.models.values():
            task = asyncio.get_running_loop().create_task(served.reload(forced=True))
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)

    async def _serve(self) -> None:
        app = self.app = App(self.models, self.limits)
        config = uvicorn.Config(
            Guard(app.router(), key=self.key, local=loopback(self.host), count=app.stats.count),
            http=patient(self.limits),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(self.limits.idle),
            timeout_graceful_shutdown=self.limits.stop,
        )
        self._uvicorn = Uvicorn(config)
        listening = await asyncio.get_running_loop().run_in_executor(None, _bound, self.host.strip("[]"), self.port)
        host = f"[{listening.getsockname()[0]}]" if ":" in self.host else listening.getsockname()[0]
        self.tell(f"http://{host}:{listening.getsockname()[1]}")
        await self._uvicorn.serve(sockets=[listening])

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Hear signals, where this is the thread that gets them; before the models are open, too."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            if self._uvicorn is not None:
                self.stop()
            elif main is not None:
                main.cancel()

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: self.reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        except asyncio.CancelledError:
            return
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; OSError says which address is taken."""
    kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(kind, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(BACKLOG)  # who reads the address may ask at once
    except OSError as error:
        made.close()
        raise OSError(f"--host {host} --port {port} — {error.strerror} — choose another --port") from None
    made.setblocking(False)
    return made


def _allow_open_files(wanted: int) -> None:
    """Allow this process as many open connections as it may get, where the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < min(wanted, most):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
