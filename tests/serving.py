"""A server in a thread of the tests, small models, and clients that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from filbert.server import process
from filbert.server.limits import Limits
from filbert.server.run import Server
from filbert.server.wire import Setup


class Running:
    """A server that runs, and a client of it."""

    def __init__(self, server: Server, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.url, self.loop = server, url, loop
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))

    def post(self, path: str = "/predict", **json_fields: Any) -> httpx.Response:
        return self.client.post(path, json=json_fields)

    def ask(self, inputs: Any, **fields: Any) -> Any:
        answer = self.post(inputs=inputs, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def model(self) -> Any:
        return next(iter(self.server.models.values()))

    def raw(self, data: bytes, timeout: float = 20) -> socket.socket:
        """Send bytes over a connection of their own."""
        made = socket.create_connection(self.address, timeout=timeout)
        made.sendall(data)
        return made

    def status_of(self, data: bytes) -> int:
        """Return the status that the bytes of a request get."""
        with self.raw(data) as made:
            return int(made.recv(1 << 16).split(b" ", 2)[1])


@contextlib.contextmanager
def running(
    folders: Sequence[Path], *, odd: bool = False, each: float = 0, key: str | None = None, limits: Limits | None = None
) -> Iterator[Running]:
    """Serve models at a free port of this machine; `odd`: by a process that does what texts tell it."""
    lines: list[str] = []
    ready, failed = threading.Event(), list[BaseException]()

    def tell(line: str) -> None:
        lines.append(line)
        if line.startswith("http"):
            ready.set()

    server = Server(folders, Setup("", "cpu"), port=0, key=key, limits=limits or Limits(), tell=tell)
    loop = asyncio.new_event_loop()

    def go() -> None:
        try:
            loop.run_until_complete(server.run())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    before = process.MODULE
    process.MODULE = "odd_worker" if odd else before
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the odd one is
    os.environ["ODD_EACH"] = str(each)
    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        assert ready.wait(120)
        if failed:
            raise failed[0]
        made = Running(server, lines[-1], loop)
        yield made
        made.client.close()
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(30)
        process.MODULE = before


def request(body: bytes | dict[str, Any], path: str = "/predict", **headers: str) -> bytes:
    """Return the bytes of a POST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {
        "host": "127.0.0.1",
        "content-length": str(len(data)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data
