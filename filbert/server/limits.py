"""What the server bounds, in one place; each number is refused or cut at, never waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of one server."""

    body: int = 8 << 20  # bytes of a request, unpacked: a million characters fit however they are escaped
    upload: int = 16 << 20  # bytes of a file to be labelled
    rows: int = 100_000  # of such a file
    depth: int = 32  # of JSON
    items: int = 128  # texts of one request
    characters: int = 100_000  # code points of a text; what is beyond is left out before tokenising, and told
    queue: float = 1.0  # seconds of work that may wait before a request is refused
    batch: float = 0.03  # seconds of work of a batch
    flight: int = 2  # batches with a worker at once
    deadline: float = 30.0  # seconds from a request's arrival, after which it is not computed any more
    stall: float = 60.0  # seconds a batch may take before its worker is killed
    start: float = 120.0  # seconds a model may take to open
    headers: float = 10.0  # seconds for a request's headers to arrive
    sending: float = 30.0  # seconds for its body to arrive, and for its answer to be taken
    idle: float = 30.0  # seconds a connection may stay open between two requests
    header_bytes: int = 32 << 10  # of a request
    connections: int = 4_096  # open at once
    stop: int = 20  # seconds to answer what is in flight once the server is told to stop
