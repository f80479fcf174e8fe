"""S24, S25, S26, S27, S30: what is too large, broken, slow or too long."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import time
import zlib

import pytest
from serving import Running, request
from small import LABELS

GOOD = {"inputs": "a good film"}
MB = 1 << 20


def memory() -> float:
    """The most this process has had, in MB: the server runs in it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_S24_a_body_over_the_limit_is_refused(server: Running) -> None:
    before = memory()
    size = 300 * MB
    with server.raw(f"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n".encode()) as made:
        piece = bytes(MB)
        try:
            for _ in range(300):
                made.sendall(piece)
        except OSError:
            pass
        assert b" 413 " in made.recv(4096)
    with server.raw(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n") as made:
        for _ in range(20):
            made.sendall(b"100000\r\n" + piece + b"\r\n")
        made.sendall(b"0\r\n\r\n")
        assert b" 413 " in made.recv(4096)
    packer = zlib.compressobj(6, wbits=31)
    bomb = b"".join([*(packer.compress(piece) for _ in range(300)), packer.flush()])
    assert server.status_of(request(bomb, content_encoding="gzip")) == 413
    assert memory() - before < 16
    assert server.status_of(request(GOOD)) == 200


def test_S24_a_compressed_body_is_read(server: Running) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())
    assert server.status_of(request(body, content_encoding="gzip")) == 200
    assert server.status_of(request(body[:-9], content_encoding="gzip")) == 400
    assert server.status_of(request(b"no gzip", content_encoding="gzip")) == 400
    assert server.status_of(request(body, content_encoding="br")) == 415


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b'{"inputs": "a"} x', 400, "body"),
        (b'{"inputs": NaN}', 400, "body"),
        (b'{"inputs": 1e999}', 400, "body"),
        (b'{"inputs": "\\ud800"}', 400, "body"),
        (b'{"inputs": "\xff"}', 400, "body"),
        (b'{"inputs": "\xed\xa0\x80"}', 400, "body"),
        (b'{"inputs": "a", "x": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b"[]", 422, "body"),
        (b"3", 422, "body"),
        (b"{}", 422, "inputs"),
        (b'{"inputs": null}', 422, "inputs"),
        (b'{"inputs": 3}', 422, "inputs"),
        (b'{"inputs": true}', 422, "inputs"),
        (b'{"inputs": []}', 422, "inputs"),
        (b'{"inputs": [[]]}', 422, "inputs[0]"),
        (b'{"inputs": {}}', 422, "inputs"),
        (b'{"inputs": ""}', 422, "inputs"),
        (b'{"inputs": " \\u200b"}', 422, "inputs"),
        (b'{"inputs": ["a", "b"]}', 422, "inputs"),
        (b'{"inputs": ["a", 3]}', 422, "inputs"),
        (b'{"inputs": ["a", "b", "c"]}', 422, "inputs"),
        (b'{"inputs": [["a"], "b", {"text": 1}]}', 422, "inputs[2]"),
        (b'{"inputs": "a", "truncate": "yes"}', 422, "truncate"),
        (b'{"inputs": "a", "raw_scores": 1}', 422, "raw_scores"),
        (b'{"inputs": "a", "details": []}', 422, "details"),
        (b'{"inputs": "a", "strange": 1}', 422, "strange"),
        (b'{"inputs": ' + json.dumps([["a"]] * 129).encode() + b"}", 422, "inputs"),
    ],
)
def test_S25_what_is_wrong_is_named(server: Running, body: bytes, status: int, field: str) -> None:
    answer = server.client.post("/predict", content=body)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert answer.json()["error_type"] == "Validation"
    assert len(answer.json()["error"]) < 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": "a", "parameters": 3}, "parameters"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "parameters.top_k"),
        ({"inputs": "a", "parameters": {"top_k": True}}, "parameters.top_k"),
        ({"inputs": "a", "parameters": {"function_to_apply": "exp"}}, "parameters.function_to_apply"),
        ({"inputs": ["a", ""]}, "inputs[1]"),
        ({"inputs": {"text": "a", "query": "b"}}, "inputs"),
    ],
)
def test_S25_so_it_is_in_the_hubs_shape(server: Running, body: dict[str, object], field: str) -> None:
    answer = server.client.post("/models/films", json=body)
    assert (answer.status_code, answer.json().get("field")) == (422, field), answer.text


def test_S26_one_bad_item_of_32_is_named_alone(server: Running) -> None:
    items: list[list[object]] = [[f"a good film {n}"] for n in range(32)]
    items[7] = [None]
    answer = server.post(inputs=items)
    assert answer.status_code == 422
    assert answer.json()["fields"] == ["inputs[7]"]
    items[20] = [" "]
    assert server.post(inputs=items).json()["fields"] == ["inputs[7]", "inputs[20]"]


def cut_after(hasty: Running, *sent: bytes, every: float = 0.0, most: float = 6) -> float:
    """Return the seconds until the server closes a connection that gets these bytes, then one at a time."""
    began = time.monotonic()
    with hasty.raw(b"".join(sent)) as made:
        made.settimeout(every or most)
        while time.monotonic() - began < most:
            try:
                if every:
                    made.sendall(b"x")
                if not made.recv(1 << 16):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - began


def test_S27_slow_and_silent_connections_are_cut(hasty: Running) -> None:
    assert 0.5 < cut_after(hasty) < 4  # nothing comes
    assert 0.5 < cut_after(hasty, b"POST /predict HTTP/1.1\r\nhost: local", every=0.1) < 4  # slow headers
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"
    assert 0.5 < cut_after(hasty, head, every=0.1) < 4  # a slow body
    assert 0.5 < cut_after(hasty, request(GOOD)) < 4  # idle after its answer
    assert hasty.status_of(request(GOOD)) == 200


def test_S27_one_who_does_not_read_is_cut(hasty: Running) -> None:
    page = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(hasty.address)
        made.sendall(page * 300)  # a megabyte of answers, and nobody takes them
        time.sleep(0.3)
        assert hasty.status_of(request(GOOD)) == 200
        time.sleep(1.5)
        made.settimeout(5)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := made.recv(1 << 16):
                taken += len(piece)
    assert taken < 300 * len(hasty.client.get("/openapi.json").content) / 2


def test_S27_headers_are_bounded(server: Running) -> None:
    assert server.status_of(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000) == 400


def test_S30_a_million_characters_are_capped_and_told(server: Running) -> None:
    long = "good " * 40_000
    began = time.monotonic()
    answer = server.post(inputs=long)
    assert answer.status_code == 200
    assert time.monotonic() - began < 5
    assert (answer.headers["x-capped"], answer.headers["x-truncated"]) == ("1", "1")
    middle = server.post(inputs="good " * 100)
    assert middle.headers["x-truncated"] == "1"
    assert middle.json() == answer.json()  # head and tail are those of the whole text
    refused = server.post(inputs=[["a"], [long]], truncate=False)
    assert (refused.status_code, refused.json()["field"]) == (422, "inputs[1]")
    too_long = server.post(inputs=[["a"], ["good " * 100]], truncate=False)
    assert (too_long.status_code, too_long.json()["field"]) == (422, "inputs[1]")
    assert "64 tokens" in too_long.json()["error"]
    assert {each["label"] for each in server.ask("a", truncate=False)} == set(LABELS)
