"""The frame of a report page: one HTML file of a header, links to the sections, and the sections.

A section without data in report.json is left out. The tasks and pretraining/page.py make the sections. No scripts, no
network: the content-security policy allows only the style sheet, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from filbert.report.html import Html, plain, tag

Report = Mapping[str, Any]
Log = Sequence[Mapping[str, Any]]
Section = tuple[str, str, Callable[[Report, Log], Html | None]]  # id, heading, builder


def render_page(report: Report, log: Log, top: Html, sections: Sequence[Section]) -> str:
    """Return the HTML page for a report and its training log: the header, then each section that has data.

    >>> render_page({}, [], header("pre-training", {}, []), [])[:15]
    '<!doctype html>'
    """
    sheet = files("filbert.report").joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{report.get('name') or 'model'} — Filbert report"
    rendered = [(key, heading, build(report, log)) for key, heading, build in sections]
    present = [(key, heading, body) for key, heading, body in rendered if body]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", plain(title)),
        tag("style", Html(sheet)),
    )
    links = [tag("a", heading, href=f"#{key}") for key, heading, _ in present]
    main = [
        tag("section", tag("h2", heading, id=f"{key}-heading"), body, id=key, aria_labelledby=f"{key}-heading")
        for key, heading, body in present
    ]
    foot = tag("footer", "Made by Filbert from the files of the run alone. Intervals are 95 %.")
    body = tag("body", top, tag("nav", links, aria_label="Sections"), tag("main", main), foot)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def header(kind: str, report: Report, parts: Sequence[str]) -> Html:
    """Return the header of a page: the task, the model's name, and one line of facts.

    >>> header("pre-training", {"name": "mini"}, ["2 corpora"])[:58]
    '<header><p class="kicker">Filbert · pre-training</p><h1>mi'
    """
    return tag(
        "header",
        tag("p", f"Filbert · {kind}", class_="kicker"),
        tag("h1", report.get("name") or "model"),
        tag("p", " · ".join(parts), class_="lede"),
    )
