"""The routes of the labelling page, for one person on this machine, from start to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from filbert.errors import ConfigError
from filbert.labelling.session import Session
from filbert.server.guard import Guard
from filbert.server.pages import page
from filbert.server.requests import body_of
from filbert.server.run import Uvicorn
from filbert.server.status import Rejected, json_response
from filbert.version import __version__

HOST = "127.0.0.1"
BODY = 1 << 16  # bytes of a request
Said = dict[str, Any]


class App:
    """The application over one session. Every change returns the state after it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def router(self) -> Router:
        """Return the routes; what goes wrong in them is raised, for the guard to tell."""
        session = self.session
        changes: dict[str, Callable[[Said], None]] = {
            "answer": lambda said: session.answer(_number(said), _word(said, "label")),
            "skip": lambda said: session.skip(_number(said)),
            "undo": lambda said: session.undo(),
            "label": lambda said: session.add_label(_word(said, "label")),
            "finetune": lambda said: session.finetune(),
        }
        routes = [Route("/", _page, methods=["GET"]), Route("/state", self.state, methods=["GET"])]
        routes += [Route(f"/{name}", self._changing(change), methods=["POST"]) for name, change in changes.items()]
        return Router(routes, redirect_slashes=False)

    async def state(self, request: Request) -> Response:
        """Return what the page shows."""
        return json_response({**await run_in_threadpool(self.session.state), "version": __version__})

    def _changing(self, change: Callable[[Said], None]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            said = _object(await body_of(request.scope, request.receive, BODY))
            await run_in_threadpool(change, said)
            return await self.state(request)

        return route


async def _page(request: Request) -> Response:
    return page("page.html", "filbert.labelling")


def _object(body: bytes) -> Said:
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Rejected(400, "the body is no JSON") from None
    if not isinstance(said, dict):
        raise Rejected(422, "the body is no JSON object")
    return said


def _number(said: Said) -> int:
    found = said.get("id")
    if not isinstance(found, int) or isinstance(found, bool):
        raise Rejected(422, "id — is no whole number", ["id"])
    return found


def _word(said: Said, name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str):
        raise Rejected(422, f"{name} — is no text", [name])
    return found


class Site:
    """A session's page at an address of this machine; `run` serves it until `stop`, SIGINT or SIGTERM."""

    def __init__(self, session: Session, port: int = 0, opened: Callable[[str], None] = lambda url: None) -> None:
        self._session, self._opened = session, opened
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"--port {port} — {error.strerror} — choose another one") from None
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        guard = Guard(App(session).router(), key=None, local=True, count=lambda route, status: None)
        config = uvicorn.Config(
            guard, ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = Uvicorn(config)

    def run(self) -> None:
        """Serve; when it ends, the session is stopped."""
        self._session.start()
        try:
            asyncio.run(self._serve())
        finally:
            self._session.stop()

    def stop(self) -> None:
        """End `run`."""
        self._server.should_exit = True

    async def _serve(self) -> None:
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.stop)
        self._opened(self.url)
        await self._server.serve(sockets=[self._socket])
