"""A request's body: read within bounds, unpacked, parsed, and made into items; each wrong one is named.

    inputs as text-embeddings-inference has them: "text" · ["text", "pair"] · [["one"], ["two"], ["a", "pair"]]
    inputs as the hub's inference API has them:   "text" · {"text": …, "text_pair": …} · a list of either

What an item may hold is the task's (`task.asked`); none is named here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from filbert.errors import Refusal, shown
from filbert.server.limits import Limits
from filbert.server.status import Rejected
from filbert.server.wire import Item
from filbert.text.visible import visible

SHOWN = 20  # wrong fields of a request that are named
LINGER = 5.0  # seconds a body that is too large is still taken, so that its sender sees the answer
TYPES = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15, b"identity": 0}

Asked = Callable[[Any], tuple[str, ...]]


@dataclass
class Asking:
    """What one request asks."""

    items: list[Item]
    many: bool
    """Whether a list is wanted back."""
    details: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    capped: int = 0
    """Items that had more characters than are read."""


async def body_of(scope: Scope, receive: Receive, most: int) -> bytes:
    """Return a request's body, unpacked; Rejected with 413 where it is larger than `most` bytes."""
    return b"".join([piece async for piece in pieces_of(scope, receive, most)])


async def pieces_of(scope: Scope, receive: Receive, most: int) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes, unpacked, `most` bytes at most."""
    headers: dict[bytes, bytes] = scope["filbert.headers"]
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in TYPES:
        raise Rejected(
            415, f"header content-encoding — is {shown(coding.decode('latin-1'))} — send gzip, deflate or none"
        )
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > most:
        await _linger(receive, headers)
        raise _too_large(most)
    unpack = zlib.decompressobj(TYPES[coding]) if TYPES[coding] else None
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "the client hung up")
        piece, more = message.get("body", b""), message.get("more_body", False)
        if unpack is not None:
            try:
                piece = unpack.decompress(piece, most - size + 1)
            except zlib.error:
                raise Rejected(400, f"the body is no {coding.decode()} — send it as it says") from None
        size += len(piece)
        if size > most:
            if more:
                await _linger(receive, headers)
            raise _too_large(most)
        yield piece
    if unpack is not None and not unpack.eof:
        raise Rejected(400, f"the body's {coding.decode()} ends early — send it whole")


def _too_large(most: int) -> Rejected:
    return Rejected(413, f"the body is larger than {most >> 20} MB — send fewer texts at once", ["body"])


async def _linger(receive: Receive, headers: dict[bytes, bytes]) -> None:
    """Take what still comes and forget it, for some seconds: a connection closed on a sender loses the answer."""
    if headers.get(b"expect", b"").lower() == b"100-continue":
        return
    until = time.monotonic() + LINGER
    with contextlib.suppress(asyncio.TimeoutError):
        while (left := until - time.monotonic()) > 0:
            message = await asyncio.wait_for(receive(), left)
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return


def parsed(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return the JSON object of a body; Rejected says what no JSON is."""
    if not body:
        raise Rejected(400, 'the body is empty — send {"inputs": …}', ["body"])
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Rejected(400, f"the body is nested more than {limits.depth} deep — send it flat", ["body"]) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = str(error).replace("Input data was truncated", "it ends early, or holds half of a surrogate pair")
        raise Rejected(400, f"the body is no JSON: {why} — send UTF-8 JSON without NaN", ["body"]) from None
    if not isinstance(value, dict):
        raise Rejected(422, f'the body is {_kind(value)}, no object — send {{"inputs": …}}', ["body"])
    if _deep(value, limits.depth):
        raise Rejected(400, f"the body is nested more than {limits.depth} deep — send it flat", ["body"])
    return value


def _deep(value: Any, left: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return left == 0 or any(_deep(each, left - 1) for each in inner if isinstance(each, (dict, list)))


def _kind(value: Any) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )


def flag(told: dict[str, Any], name: str, usual: bool) -> bool:
    """Return a boolean field; Rejected names it where it is none."""
    value = told.get(name, usual)
    if value is None:
        return usual
    if not isinstance(value, bool):
        raise Rejected(422, f"{name} — is {shown(value)} — send true or false", [name])
    return value


def predict_asking(told: dict[str, Any], asked: Asked, texts: int | None, limits: Limits, *, whole: bool) -> Asking:
    """Return what a request in the shape of text-embeddings-inference asks."""
    given = _inputs(told)
    many = isinstance(given, list) and bool(given) and not isinstance(given[0], str)
    raw, truncate = flag(told, "raw_scores", False), flag(told, "truncate", True)
    _only(told, ("inputs", "raw_scores", "truncate", "truncation_direction", "details", "model", "prompt_name"))
    found = _items(given if many else [given], asked, texts, limits, many=many)
    return _asking(
        found, limits, whole=whole, many=many, raw=raw, truncate=truncate, details=flag(told, "details", False)
    )


def hub_asking(told: dict[str, Any], asked: Asked, texts: int | None, limits: Limits, *, whole: bool) -> Asking:
    """Return what a request in the shape of the hub's inference API asks."""
    given, parameters = _inputs(told), told.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Rejected(422, f"parameters — is {_kind(parameters)} — send an object", ["parameters"])
    function, top = parameters.get("function_to_apply"), parameters.get("top_k")
    if function not in (None, "sigmoid", "softmax", "none"):
        wrong = f"parameters.function_to_apply — is {shown(function)} — send sigmoid, softmax or none"
        raise Rejected(422, wrong, ["parameters.function_to_apply"])
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise Rejected(422, f"parameters.top_k — is {shown(top)} — send a whole number above 0", ["parameters.top_k"])
    many = isinstance(given, list)
    found = _items(given if many else [given], asked, texts, limits, many=many)
    asking = _asking(found, limits, whole=whole, many=many, raw=function is not None)
    asking.parameters = parameters
    return asking


def _inputs(told: dict[str, Any]) -> Any:
    if "inputs" not in told:
        raise Rejected(422, 'inputs — is missing — send {"inputs": "a text"}', ["inputs"])
    return told["inputs"]


def _only(told: dict[str, Any], known: Sequence[str]) -> None:
    if strange := sorted(told.keys() - set(known)):
        raise Rejected(422, f"{shown(strange[0])} — is no field here — choose of {', '.join(known)}", strange[:SHOWN])


def _items(
    given: Sequence[Any], asked: Asked, texts: int | None, limits: Limits, *, many: bool
) -> list[tuple[str, ...]]:
    """Return the inputs of every item; Rejected names all that are wrong."""
    if not given:
        raise Rejected(422, "inputs — is empty — send at least one text", ["inputs"])
    if len(given) > limits.items:
        raise Rejected(422, f"inputs — has {len(given):,} items — send {limits.items} at most at once", ["inputs"])
    found, wrong = [], dict[str, str]()
    for number, value in enumerate(given):
        name = f"inputs[{number}]" if many else "inputs"
        try:
            each = asked(value)
            if texts is not None and len(each) != texts:
                raise Refusal(f"holds {len(each)} of the {texts} texts that the model reads", f"send {texts}")
            if not all(map(visible, each)):
                raise Refusal("has nothing to read", "send at least one visible character in each text")
            found.append(each)
        except Refusal as refusal:
            wrong[name] = f"{name} — {refusal}"
    if wrong:
        lines = list(wrong.values())[:SHOWN]
        if len(wrong) > SHOWN:
            lines.append(f"… and {len(wrong) - SHOWN} more")
        raise Rejected(422, "\n".join(lines), list(wrong)[:SHOWN])
    return found


def _asking(
    found: Sequence[tuple[str, ...]],
    limits: Limits,
    *,
    whole: bool,
    many: bool,
    raw: bool = False,
    truncate: bool = True,
    details: bool = False,
) -> Asking:
    items, capped = [], 0
    for number, each in enumerate(found):
        if any(len(text) > limits.characters for text in each):
            if not truncate:
                name = f"inputs[{number}]" if many else "inputs"
                wrong = f"{name} — has more than the {limits.characters:,} characters that are read — shorten it"
                raise Rejected(422, wrong, [name])
            capped += 1
            each = tuple(cap(text, limits.characters, ends=len(each) == 1 and not whole) for text in each)
        items.append(Item(each, raw, truncate))
    return Asking(items, many, details, capped=capped)


def cap(text: str, most: int, *, ends: bool) -> str:
    """Return the beginning of a text, or a quarter from its beginning and the rest from its end, as the model reads it.

    >>> cap("abcdefghijkl", 4, ends=True), cap("abcdefghijkl", 4, ends=False)
    ('ajkl', 'abcd')
    """
    if len(text) <= most:
        return text
    return text[: most // 4] + text[len(text) - (most - most // 4) :] if ends else text[:most]
