"""The section and the sentence on a model that tells texts of none of the classes it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.language import _
from filbert.report.figures import with_interval
from filbert.report.html import Html, tag
from filbert.report.page import Log, Report


def unknown_line(found: Mapping[str, Any] | None) -> str:
    """Return sentences on which texts are of no known class; "" where none is told so.

    >>> share = {"value": 0.04, "low": 0.03, "high": 0.05}
    >>> unknown_line({"rate": 0.05, "farthest": 21.5, "texts": 900, "measured": {"test": share}})
    'A text farther than 21.5 from the nearest class gets no answer, as of none of the known classes: about 5 % of the \
texts of known classes are so far (900 validation texts). On test, whose texts are all of known classes, it was 4.0 % \
(3.0–5.0).'
    """
    if not found:
        return ""
    texts, rate = counted(found["texts"], "validation text"), 100 * found["rate"]
    if found["farthest"] is None:
        return _(
            "warning: {texts} do not show from where on {rate:g} % of the texts are too far from the known classes: "
            "every text gets an answer. Allow {least:.1f} % with --unknown, or give more texts with --validation.",
            texts=texts,
            rate=rate,
            least=100 / (found["texts"] + 1),
        )
    line = _(
        "A text farther than {farthest:.3g} from the nearest class gets no answer, as of none of the known classes: "
        "about {rate:g} % of the texts of known classes are so far ({texts}).",
        farthest=found["farthest"],
        rate=rate,
        texts=texts,
    )
    measured = [
        _(
            "On {split}, whose texts are all of known classes, it was {share}.",
            split=_(split),
            share=with_interval(each, True),
        )
        for split, each in (found.get("measured") or {}).items()
    ]
    return _(" ").join([line, *measured])


def unknown_section(report: Report, log: Log) -> Html | None:
    """Return these sentences, or None.

    >>> unknown_section({}, []) is None
    True
    """
    line = unknown_line(report.get("unknown"))
    return tag("div", tag("p", line)) if line else None
