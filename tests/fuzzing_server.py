"""Fuzz target: what a client may send to the server; each gets an answer of a known status, and health stays good."""

from __future__ import annotations

import gzip
import json

from fuzzing import Draw, changed, dumped, json_changed, jsons
from hypothesis import strategies as st
from serving import Running, request

GOOD = [
    {"inputs": "not a good film"},
    {"inputs": [["a"], ["good film"]], "raw_scores": True, "truncate": False, "details": True},
    {"inputs": ["a", "b"], "parameters": {"top_k": 1, "function_to_apply": "sigmoid"}},
    {"inputs": [{"text": "a"}, {"text": "b"}]},
]
PATHS = ("/predict", "/", "/models/films", "/models/films/predict", "/v1/predict", "/health", "/info", "/metrics")
ANSWERED = {200, 307, 400, 401, 403, 404, 405, 411, 413, 414, 415, 417, 422, 426, 429, 431}


@st.composite
def requests(draw: Draw) -> bytes:
    """Return the bytes of a request: a JSON body under a good head, a compressed one, or any bytes."""
    value = draw(st.sampled_from(GOOD).flatmap(json_changed) | jsons.map(lambda inner: {"inputs": inner}) | jsons)
    body = draw(changed(dumped(value), 2))
    headers = {}
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["gzip", "deflate", "br", "identity"]))
        body, headers = (gzip.compress(body) if kind == "gzip" else body), {"content_encoding": kind}
    head = draw(st.sampled_from(PATHS) | st.text(max_size=9).map(lambda text: "/" + json.dumps(text)[1:-1]))
    whole = request(body, head.replace(" ", "%20"), **headers)
    return draw(st.just(whole) | changed(whole, 2))


def answered(server: Running, data: bytes) -> None:
    """Send bytes and say no more: a known status must come, or, for half a request, the end of the connection."""
    with server.raw(data, timeout=20) as made:
        made.shutdown(1)
        reply = b""
        while piece := made.recv(1 << 16):
            reply += piece
    if not reply:
        return
    head, _, body = reply.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status in ANSWERED, reply[:200]
    if status in (400, 422) and b"application/json" in head:
        assert json.loads(body[: int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])])["error"]


def well(server: Running) -> None:
    """The server still answers others."""
    assert server.client.get("/health").status_code == 200
    assert server.ask("a good film")
