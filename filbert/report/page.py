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

from filbert.language import _, language
from filbert.report.html import Html, plain, tag

Report = Mapping[str, Any]
Log = Sequence[Mapping[str, Any]]
Section = tuple[str, str, Callable[[Report, Log], Html | None]]  # id, heading, builder


def render_page(report: Report, log: Log, top: Html, sections: Sequence[Section]) -> str:
    """Return the HTML page for a report and its training log: the header, then each section that has data.

    >>> render_page({}, [], header("pre-training", {}, []), [])[:15]
    '<!doctype html>'
    """
    title = _("{name} — Filbert report", name=report.get("name") or _("model"))
    rendered = [(key, _(heading), build(report, log)) for key, heading, build in sections]
    present = [(key, heading, body) for key, heading, body in rendered if body]
    foot = tag("footer", _("Made by Filbert from the files of the run alone. Intervals are 95 %."))
    body = tag("body", top, navigated(present), foot)
    return f"<!doctype html>\n{tag('html', head(title, read_part('report.css')), body, lang=language())}\n"


def head(title: str, sheet: str, script: str = "") -> Html:
    """Return the head of a page whose policy allows this style sheet and this script, by their hashes, and no more.

    >>> "script-src" in head("a page", "p {}"), "script-src" in head("a page", "p {}", "1")
    (False, True)
    """
    allowed = f"style-src {_hash(sheet)}" + (f"; script-src {_hash(script)}" if script else "")
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", plain(title)),
        tag("style", Html(sheet)),
    )


def navigated(sections: Sequence[tuple[str, str, Html]]) -> list[Html]:
    """Return links to the sections, given as (id, heading, body), and the sections.

    >>> navigated([("a", "First", Html("<p>1</p>"))])[0]
    '<nav aria-label="Sections"><a href="#a">First</a></nav>'
    """
    links = [tag("a", heading, href=f"#{key}") for key, heading, _body in sections]
    main = [
        tag("section", tag("h2", heading, id=f"{key}-heading"), body, id=key, aria_labelledby=f"{key}-heading")
        for key, heading, body in sections
    ]
    return [tag("nav", links, aria_label=_("Sections")), tag("main", main)]


def read_part(name: str) -> str:
    """Return a style sheet or script of this package."""
    return files("filbert.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def header(kind: str, report: Report, parts: Sequence[str]) -> Html:
    """Return the header of a page: the task, the model's name, and one line of facts.

    >>> header("pre-training", {"name": "mini"}, ["2 corpora"])[:58]
    '<header><p class="kicker">Filbert · pre-training</p><h1>mi'
    """
    return tag(
        "header",
        tag("p", f"Filbert · {_(kind)}", class_="kicker"),
        tag("h1", report.get("name") or _("model")),
        tag("p", " · ".join(parts), class_="lede"),
    )
