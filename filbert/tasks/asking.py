"""What a request asks of a task that reads a text or two, and the answer in the shape of the hub's inference API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import Refusal, shown
from filbert.records import FloatArray

DIGITS = 6  # of a number: beyond fp32's agreement between machines
FIELDS = ("text", "text_pair")
WANTED = 'send a string, an array of two strings, or {"text": …, "text_pair": …}'


def asked(value: Any) -> tuple[str, ...]:
    """Return the text, or the two, of one item of a request; raises Refusal.

    >>> asked("a"), asked(["a", "b"]), asked({"text": "a", "text_pair": "b"})
    (('a',), ('a', 'b'), ('a', 'b'))
    """
    if isinstance(value, dict):
        if strange := sorted(map(str, value.keys() - set(FIELDS))):
            raise Refusal(f"has a field {shown(strange[0])}", WANTED)
        if FIELDS[0] not in value:
            raise Refusal("has no field 'text'", WANTED)
        value = [value[field] for field in FIELDS if value.get(field) is not None]
    texts = value if isinstance(value, (list, tuple)) else [value]
    if not 1 <= len(texts) <= 2:
        raise Refusal(f"holds {len(texts)} texts: {shown(value)}", WANTED)
    for text in texts:
        if not isinstance(text, str):
            raise Refusal(f"is {shown(text)}, no text", WANTED)
    return tuple(texts)


def ranked(chances: Mapping[str, float], outputs: FloatArray | None = None) -> list[list[dict[str, Any]]]:
    """Return labels with their scores, the largest first: the outputs of the head where they are given.

    >>> ranked({"bad": 0.25, "good": 0.75})
    [[{'label': 'good', 'score': 0.75}, {'label': 'bad', 'score': 0.25}]]
    """
    scores = list(chances.values()) if outputs is None else outputs.tolist()
    found = [{"label": label, "score": round(score, DIGITS)} for label, score in zip(chances, scores, strict=True)]
    return [sorted(found, key=lambda each: -float(str(each["score"])))]
