"""Answers as a client wants them: in the shape of text-embeddings-inference, of the hub's API, or with all details."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from filbert.server.line import Scored
from filbert.server.requests import Asking
from filbert.server.status import Rejected


def checked(found: Sequence[Scored], asking: Asking) -> None:
    """Raise Rejected naming the items that the model could not answer."""
    names = [f"inputs[{n}]" if asking.many else "inputs" for n in range(len(found))]
    wrong = [(name, each.answer) for name, each in zip(names, found, strict=True) if each.answer.error]
    if wrong:
        status = 422 if all(answer.refused for _, answer in wrong) else 503
        message = "\n".join(f"{name} — {answer.error}" for name, answer in wrong)
        raise Rejected(status, message, [name for name, _ in wrong])


def predict_reply(found: Sequence[Scored], asking: Asking) -> Any:
    """Return what text-embeddings-inference would: an answer, or a list of them."""
    if asking.details:
        each = [
            {
                **{"answer": a.shown, "bars": a.bars, "row": a.row, "truncated": a.truncated},
                **({"abstained": a.abstained} if "abstained" in a.row else {}),
                **({"unknown": a.unknown} if "unknown" in a.row else {}),
            }
            for a in (one.answer for one in found)
        ]
    else:
        each = [_one(one.answer.hub) for one in found]
    return each if asking.many else each[0]


def hub_reply(found: Sequence[Scored], asking: Asking) -> Any:
    """Return what the hub's inference API would, its parameters applied."""
    top, function = asking.parameters.get("top_k"), asking.parameters.get("function_to_apply")
    if not asking.many:
        return [_cut(_applied(one, function), top) for one in hub] if _ranked(hub := found[0].answer.hub) else hub
    return [
        _cut(_applied(one, function), top) if isinstance(one, list) else one
        for one in (_one(each.answer.hub) for each in found)
    ]


def _one(hub: Any) -> Any:
    return hub[0] if isinstance(hub, list) else hub


def _ranked(hub: Any) -> bool:
    return isinstance(hub, list) and isinstance(hub[0], list)


def _cut(scores: list[Any], top: int | None) -> list[Any]:
    return scores[:top]


def _applied(scores: list[Any], function: str | None) -> list[Any]:
    """Return scores, which are the head's outputs where a function is asked for, with that function applied.

    >>> _applied([{"label": "a", "score": 0.0}], "sigmoid")
    [{'label': 'a', 'score': 0.5}]
    """
    if function in (None, "none") or not scores:
        return scores
    values = [each["score"] for each in scores]
    if function == "sigmoid":
        new = [0.5 * (1 + math.tanh(value / 2)) for value in values]
    else:
        powers = [math.exp(value - max(values)) for value in values]
        new = [power / sum(powers) for power in powers]
    return [{**each, "score": round(value, 6)} for each, value in zip(scores, new, strict=True)]


def reply_headers(found: Sequence[Scored], asking: Asking, began: float, read: float) -> dict[str, str]:
    """Return who answered, how long each stage took, and how many items were cut or had too many characters."""
    now, last = time.monotonic(), max(found, key=lambda each: each.waited)
    stages = {
        "read": read - began,
        "queue": last.waited,
        "tokenize": last.tokenize,
        "infer": last.infer,
        "total": now - began,
    }
    headers = {
        "x-model-version": last.version,
        "server-timing": ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in stages.items()),
    }
    counts = {
        "x-truncated": sum(each.answer.truncated for each in found),
        "x-abstained": sum(each.answer.abstained for each in found),
        "x-unknown": sum(each.answer.unknown for each in found),
        "x-capped": asking.capped,
    }
    return headers | {name: str(count) for name, count in counts.items() if count}
