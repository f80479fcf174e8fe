"""Before any route: who asks, which host and path, from which page; after it: the headers that keep a browser safe."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import sys
import traceback
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from filbert.server.status import Rejected, error_response, rejected

OPEN = ("/", "/health", "/docs", "/openapi.json")  # without a key: they tell nothing of the models
STRANGE = re.compile(r"[\x00-\x1f\x7f\\%]|//|/\.{1,2}(/|$)")  # in a path, once decoded
SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
NOTHING = b"default-src 'none'; frame-ancestors 'none'"  # of what is no page

Count = Callable[[str, int], None]


def loopback(host: str) -> bool:
    """Say whether an address is this machine's own.

    >>> loopback("127.0.0.1"), loopback("localhost"), loopback("[::1]"), loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """The application with its door: `key` is what a client must know, `local` that only this machine may be named."""

    def __init__(self, app: ASGIApp, *, key: str | None, local: bool, count: Count) -> None:
        self._app, self._local, self._count = app, local, count
        self._key = None if key is None else _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or tell why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._count(scope.get("filbert.route", "other"), message["status"])
                headers = [*message.get("headers", ()), *SAFE]
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append((b"content-security-policy", NOTHING))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            self._check(scope)
            scope["app"] = self  # Starlette's routes raise where there is an application
            await self._app(scope, receive, sending)
        except Exception as error:
            found = rejected(error)
            if found.status == 500:
                _log(error)
            if begun:
                raise RuntimeError("the answer was cut short") from None
            await self._tell(found, scope, receive, sending)

    async def _tell(self, found: Rejected, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = error_response(found)
        if found.status in (400, 401, 413):
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"authorization", b"content-length", b"content-encoding"):
                raise Rejected(400, f"header {name.decode()} — is given twice — send it once", [name.decode()])
            headers[name] = value
        scope["filbert.headers"] = headers
        scope["path"] = _path(scope)
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local and not loopback(_name(host)):
            raise Rejected(400, "header host — names another machine — ask 127.0.0.1 or localhost", ["host"])
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin.decode("latin-1")).netloc != host:
            raise Rejected(400, "header origin — another page may not ask this server", ["origin"])
        if self._key is not None and scope["path"] not in OPEN and not self._knows(headers.get(b"authorization", b"")):
            todo = "send the header Authorization: Bearer KEY"
            raise Rejected(401, f"the API key is missing or wrong — {todo}", **{"www-authenticate": "Bearer"})

    def _knows(self, given: bytes) -> bool:
        kind, _, key = given.partition(b" ")
        right = hmac.compare_digest(_digest(key.strip()), self._key or b"")
        return right and kind.lower() == b"bearer"


def _digest(key: bytes) -> bytes:
    """Return a hash, so that comparing takes as long whatever a key has in common with the right one."""
    return hashlib.sha256(key).digest()


def _path(scope: Scope) -> str:
    """Return the path, decoded once; a path that could mean two things is refused."""
    raw = scope.get("raw_path") or scope["path"].encode()
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(400, "the path is not UTF-8 — write it as it stands in /docs") from None
    if STRANGE.search(path) or b"%2f" in raw.lower():
        raise Rejected(400, "the path has //, .. or characters that no path here has — write it as it stands in /docs")
    return path


def _name(host: str) -> str:
    """Return a host header without its port.

    >>> _name("[::1]:80"), _name("localhost:8080")
    ('[::1]', 'localhost')
    """
    return re.sub(r":\d*$", "", host) if host.startswith("[") or host.count(":") == 1 else host


def _log(error: Exception) -> None:
    """Write where an error came from, and not its message, which may hold a text."""
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])
    print(f"{type(error).__name__} at\n{where}", file=sys.stderr, flush=True)
