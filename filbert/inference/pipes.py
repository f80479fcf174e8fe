"""Messages between two processes over stdin and stdout: the length in four bytes, big-endian, then the bytes."""

from __future__ import annotations

from typing import IO


def framed(body: bytes) -> bytes:
    r"""Return a message as it is written.

    >>> framed(b"ab")
    b'\x00\x00\x00\x02ab'
    """
    return len(body).to_bytes(4, "big") + body


def read_message(stream: IO[bytes]) -> bytes | None:
    """Return the next message's bytes; None where the other side is gone."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "big")
    body = stream.read(size)
    return body if len(body) == size else None
