"""Build HTML that is safe against injection: text is escaped by its type.

`tag` builds elements and escapes every child that is not already Html; only `tag` and `join` make Html. Invisible
characters, and those that change the display (control, bidirectional, zero-width, lone surrogates), are shown as their
code point. No templates, no layout (page.py), no scripts.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

from filbert.language import _

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories without a glyph of their own
SHORT = {"\n": "↵", "\t": "⇥", "\r": "␍"}


class Html(str):
    """A string that is already HTML; any other string is text and is escaped."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """Return one element; None and False attributes are left out, trailing underscores (`class_`) removed.

    >>> tag("td", "<script>", class_="label")
    '<td class="label">&lt;script&gt;</td>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{html.escape(plain(str(value)))}"')
    opened = " ".join(parts)
    if name in {"meta", "br", "hr"}:
        return Html(f"<{opened}>")
    return Html(f"<{opened}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Return the children concatenated: Html unchanged, text escaped, None left out.

    >>> join("a & b", None, tag("b", "c"))
    'a &amp; b<b>c</b>'
    """
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(visible(child))
        elif child is not None:
            parts.append(join(*child))
    return Html("".join(parts))


def table(
    caption: str, head: Html | Sequence[Html], rows: Sequence[Html], *, tall: bool = False, kind: str = ""
) -> Html:
    """Return a table inside a scrolling box, so that a wide one does not widen the page.

    >>> table("Two.", tag("tr"), [])[:37]
    '<figure><figcaption>Two.</figcaption>'
    """
    inner = tag("table", tag("thead", head), tag("tbody", rows), class_=kind or None, aria_label=caption)
    classes = "scroll tall" if tall and len(rows) > 12 else "scroll"
    box = tag("div", inner, class_=classes, tabindex="0", role="region", aria_label=_("Table"))
    return tag("figure", tag("figcaption", caption), box)


def visible(text: str) -> Html:
    """Return text escaped, with every invisible character marked: a line break as ↵, others as their code point.

    >>> visible("a\u202eb")
    'a<span class="hidden">U+202E</span>b'
    """
    if text.isprintable():
        return Html(html.escape(text))
    shown = []
    for ch in text:
        if unicodedata.category(ch) in HIDDEN:
            shown.append(f'<span class="hidden">{SHORT.get(ch) or f"U+{ord(ch):04X}"}</span>')
        else:
            shown.append(html.escape(ch))
    return Html("".join(shown))


def plain(text: str) -> str:
    """Return text with invisible characters spelled out, for places that take no elements (attributes, Markdown).

    >>> plain("a\u200bb")
    'a[U+200B]b'
    """
    if text.isprintable():
        return text
    return "".join(SHORT.get(ch) or f"[U+{ord(ch):04X}]" if unicodedata.category(ch) in HIDDEN else ch for ch in text)
