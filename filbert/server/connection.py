"""uvicorn's connection with patience that ends: slow headers, slow bodies and slow readers are cut.

All by timers of the event loop that are set and cancelled as a request goes on, so that good traffic pays nothing.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from filbert.server.limits import Limits

KERNEL = 64 << 10  # bytes of an answer that the system may hold for a client that does not read


class Connection(HttpToolsProtocol):
    """One connection of a client; `limits` is set on a subclass (see `patient`)."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None  # of headers and body
    _taking: asyncio.TimerHandle | None = None  # of the answer
    _heading = False  # whether the headers of a request are on their way
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Take a connection, if there are not too many, and wait for its first headers."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
        transport.set_write_buffer_limits(high=0)  # tells of a client that does not read, however small the answer
        self._begin_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._set_timer(None)
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; headers are bounded in size and time."""
        if not self._heading and self._idle():
            self._begin_headers()
        if self._heading:
            self._header_bytes += min(len(data), self.limits.header_bytes + 1)
        super().data_received(data)
        if self._heading and self._header_bytes > self.limits.header_bytes and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def _idle(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def on_message_begin(self) -> None:
        """Begin a request, and let the application ask whether its client is still there."""
        super().on_message_begin()
        self.scope["state"]["alive"] = self.alive

    def on_headers_complete(self) -> None:
        """Give the body its time."""
        self._heading, self._header_bytes = False, 0
        self._set_timer(self.limits.sending)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: the request is here."""
        self._set_timer(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Stop the clock of a body that nobody will read."""
        self._set_timer(None)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client its time to take what was written."""
        super().pause_writing()
        self._stop_taking()
        self._taking = self.loop.call_later(self.limits.sending, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock: it has taken it."""
        self._stop_taking()
        super().resume_writing()

    def alive(self) -> bool:
        """Say whether the client is still connected."""
        return not self.transport.is_closing()

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _begin_headers(self) -> None:
        self._heading, self._header_bytes = True, 0
        self._set_timer(self.limits.headers)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def patient(limits: Limits) -> type[Connection]:
    """Return a connection with these limits, as uvicorn wants it: a class."""
    return type("Connection", (Connection,), {"limits": limits})
