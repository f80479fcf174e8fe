"""The chains of sectors of an OLE2 compound file, in which an .xls stands ([MS-CFB]), walked before calamine does.

calamine follows them as they are, and asks for memory by the lengths that are stated: a damaged file makes it run in a
circle, or ends the process. Here every chain must end, and no length may be beyond the file's.
"""

from __future__ import annotations

import struct

_LAST = 0xFFFFFFFA  # sector numbers from here on are marks: free, end of chain …
_STREAM, _ROOT = 2, 5


def workbook_stream(data: bytes) -> bytes:
    """Return the stream that holds the workbook; ValueError where the file is damaged, or has none."""
    if len(data) < 512:
        raise ValueError("the header is cut short")
    size = 1 << min(struct.unpack_from("<H", data, 30)[0], 16)
    if size not in (512, 4096):
        raise ValueError("the sector size is neither 512 nor 4096")
    directories, fats, directory, _, _, small, smalls, more, mores = struct.unpack_from("<9I", data, 40)
    sectors = len(data) // size
    if max(directories, fats, smalls, mores) > sectors:
        raise ValueError("it states more sectors than it has")
    table = _allocation(data, size, more)
    small_table = _numbers(b"".join(_sector(data, size, at) for at in _chain(table, small, sectors)))
    entries = b"".join(_sector(data, size, at) for at in _chain(table, directory, sectors))
    found, container = {}, b""
    for at in range(0, len(entries) - 127, 128):
        kind = entries[at + 66]
        first, extent = struct.unpack_from("<IQ" if size > 512 else "<II", entries, at + 116)
        if kind not in (_STREAM, _ROOT):
            continue
        if extent > len(data):
            raise ValueError("a stream is longer than the file")
        if kind == _ROOT or extent >= 4096:
            stream = b"".join(_sector(data, size, at) for at in _chain(table, first, sectors))
            container = stream if kind == _ROOT else container
        else:
            most = len(container) // 64 + 1
            chain = _chain(small_table, first, most) if extent else []
            stream = b"".join(container[at * 64 : at * 64 + 64] for at in chain)
        found[entries[at : at + 64].decode("utf-16-le", "replace").partition("\0")[0]] = stream[:extent]
    for name in ("Workbook", "Book"):
        if name in found:
            return found[name]
    raise ValueError("it has no workbook")


def _allocation(data: bytes, size: int, more: int) -> list[int]:
    """Return the allocation table: sector → the next one of its chain."""
    parts = [at for at in _numbers(data[76:512]) if at < _LAST]
    seen = set()
    while more < _LAST:
        if more in seen:
            raise ValueError("the allocation table runs in a circle")
        seen.add(more)
        *found, more = _numbers(_sector(data, size, more))
        parts += [at for at in found if at < _LAST]
    if len(parts) > len(data) // size:
        raise ValueError("the allocation table is longer than the file")
    return _numbers(b"".join(_sector(data, size, at) for at in parts))


def _numbers(data: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4]))


def _sector(data: bytes, size: int, at: int) -> bytes:
    start = (at + 1) * size
    if start >= len(data):
        raise ValueError(f"sector {at} is beyond the end")
    return data[start : start + size]


def _chain(table: list[int], first: int, most: int) -> list[int]:
    """Return the sectors from `first` to the last."""
    found = []
    while first < _LAST:
        found.append(first)
        if len(found) > most or first >= len(table):
            raise ValueError("a chain of sectors does not end")
        first = table[first]
    return found
