"""A writer of Google's checkpoints (TensorFlow's table format), so that each field can be wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from filbert.bases.crc32c import crc32c

FLOAT = 1  # TensorFlow's number of a dtype


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(items: list[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    body, before = b"", b""
    for key, value in items:
        shared = next(
            (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    body += struct.pack("<II", 0, 1) + bytes([kind])  # one restart point, at 0
    return body + struct.pack("<I", masked(body))


def index(items: list[tuple[bytes, bytes]], *, per_block: int = 3, kind: int = 0) -> bytes:
    data, handles = b"", []
    for i in range(0, len(items), per_block):
        made = block(items[i : i + per_block], kind)
        handles.append((items[i : i + per_block][-1][0], varint(len(data)) + varint(len(made) - 5)))
        data += made
    meta, top = block([]), block(handles)
    footer = varint(len(data)) + varint(len(meta) - 5) + varint(len(data + meta)) + varint(len(top) - 5)
    return data + meta + top + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def entry(dtype: int, shape: tuple[int, ...], place: tuple[int, int, int], crc: int) -> bytes:
    dims = b"".join(field(2, field(1, n)) for n in shape)
    shard, offset, size = place
    numbers = field(3, shard) + field(4, offset) + field(5, size)
    return field(1, dtype) + field(2, dims) + numbers + varint(6 << 3 | 5) + struct.pack("<I", crc)


FLOATS = np.arange(6, dtype=np.float32) / 7
BYTES = FLOATS.tobytes()
GOOD = entry(FLOAT, (2, 3), (0, 0, 24), masked(BYTES))
HEADER = field(1, 1) + field(3, field(1, 1))


def write(folder: Path, record: bytes = GOOD, header: bytes = HEADER, kind: int = 0) -> Path:
    """Write a checkpoint of one tensor `a`, 0/7 … 5/7."""
    (folder / "m.ckpt.index").write_bytes(index([(b"", header), (b"a", record)], kind=kind))
    (folder / "m.ckpt.data-00000-of-00001").write_bytes(BYTES)
    return folder / "m.ckpt"
