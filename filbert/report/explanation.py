"""The page of one explanation: words coloured in their text, the most important ones as a table, attention.

    header · words · table · attention

One HTML file without network: its content-security policy allows its own style sheet and script by their hashes and
nothing else. Texts and names are escaped by html.py, and reach the script as data. No numbers are computed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.language import N_, _, language, retold
from filbert.report.figures import in_percent, share_of
from filbert.report.html import Html, table, tag
from filbert.report.page import head, header, navigated, read_part
from filbert.report.words import listed

Facts = Mapping[str, Any]

WITHIN = 0.02  # of the change: how far from it the sum of integrated gradients may be
SHADES = 10
SHOWN = 20  # words in the table
BARS = 12  # probabilities of the answer
LONGEST = 160  # tokens of a window whose matrix is drawn: one pixel a weight, several on the screen


def explanation_page(facts: Facts) -> str:
    """Return the page of an explanation: what `Explanation.json` says, the model's name, and the attention weights.

    >>> explanation_page({"name": "mood", "answer": "good"})  # doctest: +SKIP
    '<!doctype html>…'
    """
    script = read_part("explanation.js")
    title = _("Why {answer} — Filbert", answer=facts["answer"][:60])
    sheet = read_part("report.css") + read_part("explanation.css")
    parts = (
        ("words", _("The words"), _words(facts)),
        ("table", _("The most important words"), _table(facts)),
        ("attention", _("Attention"), _attention(facts["attention"])),
    )
    top = header(N_("explanation"), {"name": facts["answer"]}, [_("the answer of {name}", name=facts["name"])])
    body = tag(
        "body",
        top,
        _shares(facts),
        navigated(parts),
        tag("footer", _("Made by Filbert. An explanation says what the model did, not whether it is right.")),
        tag(
            "script",
            _data({**facts["attention"], "words": _script_words()}),
            type="application/json",
            id="attention-data",
        ),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head(title, sheet, script), body, lang=language())}\n"


def _script_words() -> dict[str, str]:
    """Return what the script says, its places to be filled there."""
    return {
        "numbered": _("{n} of {all}"),
        "looks": _("Layer {layer}, head {head}: {token} (token {n}) looks at"),
        "seen": _("{token} (token {n}) {share}"),
        "percent": _("{number} %"),
        "cell": _("layer {layer}, head {head}"),
    }


def _data(attention: Facts) -> Html:
    """Return the weights as JSON that cannot end its element."""
    text = json.dumps(dict(attention), ensure_ascii=True)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _shares(facts: Facts) -> Html | None:
    """Return the probabilities of the answer, best first."""
    if not facts["shares"]:
        return None
    best = sorted(facts["shares"].items(), key=lambda item: -item[1])[:BARS]
    more = len(facts["shares"]) - len(best)
    words = [tag("span", f"{name} {in_percent(100 * share)}") for name, share in best]
    return tag(
        "p",
        [(each, " · " if i < len(words) - 1 else "") for i, each in enumerate(words)],
        _(" and {more} more", more=more) if more else None,
        class_="lede",
    )


def sentences(facts: Facts) -> list[str]:
    """Return what is to be said of an explanation; a warning begins with "warning: ".

    >>> facts = {"by": "gradients", "gap": 0.004, "points": 32, "value": 2.5, "start": -0.5, "meaning": "the logit"}
    >>> sentences({**facts, "tokens": 9, "unread": 0, "elsewhere": 0, "windows": 1})[1][:62]
    'The weights of all words add up to +3.00, the change from the '
    """
    change, gap = facts["value"] - facts["start"], facts["gap"]
    values = {"meaning": retold(facts["meaning"]), "value": facts["value"], "start": facts["start"]}
    if facts["by"] == "linear":
        first = _(
            "What is explained: {meaning}. It is {value:+.2f} for this text, and {start:+.2f} without its words.",
            **values,
        )
    else:
        first = _(
            "What is explained: {meaning}. It is {value:+.2f} for this text, and {start:+.2f} with [MASK] in the place "
            "of its words.",
            **values,
        )
    said = [first]
    if facts["by"] == "linear":
        alone = _(
            "The linear model answers alone here, BERT has no part in it: the weight of a word is by how much this "
            "falls without it."
        )
        said.append(alone)
    elif facts["by"] == "occlusion":
        said.append(_("The weight of a word is by how much this falls with [MASK] in its place (occlusion)."))
    elif gap <= WITHIN:
        exact = _("within {gap:.1f} %", gap=100 * gap) if gap >= 0.0005 else _("exactly")
        added = _(
            "The weights of all words add up to {change:+.2f}, the change from the masked text, {exact} (integrated "
            "gradients, {points:,} points).",
            change=change,
            exact=exact,
            points=facts["points"],
        )
        said.append(added)
    else:
        missed = _(
            "warning: the weights of all words miss the change of {change:+.2f} by {gap:.0f} % with {points:,} points: "
            "read them with care, or explain by occlusion.",
            change=change,
            gap=100 * gap,
            points=facts["points"],
        )
        said.append(missed)
    if facts["unread"]:
        unread = _(
            "warning: {unread:,} of {tokens:,} tokens ({share}) were cut and not read: they are struck through.",
            unread=facts["unread"],
            tokens=facts["tokens"],
            share=share_of(facts["unread"], facts["tokens"]),
        )
        said.append(unread)
    if facts["elsewhere"]:
        outside = _(
            "The text was read in {windows:,} windows; {elsewhere:,} tokens stand outside the one that is explained, "
            "and are struck through.",
            windows=facts["windows"],
            elsewhere=facts["elsewhere"],
        )
        said.append(outside)
    return said


def _words(facts: Facts) -> Html:
    largest = max((abs(word["weight"] or 0.0) for word in facts["words"]), default=0.0)
    titles = (_("First text"), _("Second text")) if len(facts["texts"]) > 1 else ("",)
    texts = []
    for part, (text, name) in enumerate(zip(facts["texts"], titles, strict=True)):
        words = [word for word in facts["words"] if word["part"] == part]
        texts.append(
            tag(
                "div",
                tag("h3", name) if name else None,
                tag("p", _coloured(text, words, largest), class_="prose", dir="auto"),
            )
        )
    scale = tag(
        "p",
        tag("span", _("against")),
        [tag("i", class_=f"against s{n}") for n in (9, 6, 3)],
        [tag("i", class_=f"for s{n}") for n in (3, 6, 9)],
        tag("span", _("for "), tag("b", facts["output"])),
        class_="scale",
    )
    checks = [
        tag("p", sentence, class_="check bad" if sentence.startswith(_("warning: ")) else "check")
        for sentence in sentences(facts)
    ]
    others = [name for name in facts["outputs"] if name != facts["output"]]
    more = None
    if others:
        names = listed(others, BARS)
        more = tag("p", _("Others that can be explained, by --output: {names}.", names=names), class_="note")
    return tag("div", scale, texts, checks, more)


def _coloured(text: str, words: Sequence[Facts], largest: float) -> list[Html | str]:
    """Return a text with each word in the shade of its weight; line breaks stay."""
    found: list[Html | str] = []
    at = 0
    for word in words:
        found += _between(text[at : word["begin"]])
        kind, title = _shade(word["weight"], largest)
        found.append(tag("span", text[word["begin"] : word["end"]], class_=kind, title=title))
        at = word["end"]
    return [*found, *_between(text[at:])]


def _between(text: str) -> list[Html | str]:
    """Return what stands between words; a line break is one here, as the page keeps them."""
    return [Html("\n") if part.endswith("\n") else part for part in re.split("(\r?\n)", text)]


def _shade(weight: float | None, largest: float) -> tuple[str, str]:
    if weight is None:
        return "unread", _("not read")
    step = round(SHADES * abs(weight) / largest) if largest else 0
    side = "even" if not step else "for" if weight > 0 else "against"
    return f"{side} s{step}", f"{weight:+.3f}".replace("-", "−")


def _table(facts: Facts) -> Html:
    read = [word for word in facts["words"] if word["weight"]]
    top = sorted(read, key=lambda word: -abs(word["weight"]))[:SHOWN]
    largest = max((abs(word["weight"]) for word in top), default=1.0)
    rows = []
    for word in top:
        weight = word["weight"]
        cells = [
            tag("td", f"{weight:+.3f}".replace("-", "−")),
            tag("td", _bar(weight / largest), class_="bar"),
        ]
        rows.append(tag("tr", tag("th", tag("bdi", word["text"]), scope="row"), cells))
    names = (_("word"), _("weight"))
    heads = [tag("th", name, scope="col") for name in names]
    head = tag("tr", heads, tag("th", _("against · for"), scope="col", class_="text"))
    rest = len(read) - len(top)
    caption = _("Words with the largest weights, for or against {output}", output=facts["output"])
    return table(caption + (_("; {rest:,} more have smaller ones.", rest=rest) if rest else _(".")), head, rows)


def _bar(share: float) -> Html:
    """Return a bar from the middle: to the right for, to the left against."""
    width = max(1.0, round(70 * abs(share), 1))
    bar = tag(
        "rect",
        x=72 if share > 0 else 72 - width,
        y=2,
        width=width,
        height=10,
        class_="for-bar" if share > 0 else "against-bar",
    )
    middle = tag("line", x1=72, x2=72, y1=0, y2=14, class_="rule")
    return tag("svg", bar, middle, viewBox="0 0 144 14", width=144, height=14, aria_hidden="true")


def _attention(attention: Facts) -> Html:
    length = len(attention["tokens"])
    intro = _(
        "In each layer, each head gives every token a share of every token of the text: softmax(QKᵀ/√d) of Vaswani et "
        "al. 2017. Point at a token, or move with the arrow keys, to see where it looks: ← → the token, ↑ ↓ the head, "
        "Page Up and Page Down the layer. Attention says where information can flow, not what it did: that is above."
    )
    kept = None
    if attention["kept"] < length:
        kept = _(
            " Of each token the {kept} largest of {length:,} shares are kept: {share:.0f} % of all attention.",
            kept=attention["kept"],
            length=length,
            share=100 * attention["share"],
        )
    picks = tag(
        "div",
        tag("label", _("Layer"), tag("select", id="layer")),
        tag("label", _("Head"), tag("select", id="head")),
        class_="picks",
    )
    tokens = tag("div", id="tokens", class_="tokens", role="toolbar", aria_label=_("Tokens"))
    left = tag("div", tokens, tag("div", id="seen", class_="seen", aria_live="polite"))
    square = grid = None
    if length <= LONGEST:
        square = tag(
            "figure",
            tag(
                "canvas", id="matrix", role="img", aria_label=_("The matrix of shares, also told by the list of tokens")
            ),
            tag("figcaption", _("Rows look, columns are looked at; the stronger the colour, the larger the share.")),
            class_="matrix-box",
        )
        grid = tag(
            "details",
            tag(
                "summary",
                _("All {layers} × {heads} heads at once", layers=attention["layers"], heads=attention["heads"]),
            ),
            tag(
                "div",
                tag("div", id="heads", class_="heads"),
                tag("p", _("A row is a layer, the first above."), class_="note"),
            ),
        )
    return tag("div", tag("p", intro, kept, class_="note"), picks, tag("div", left, square, class_="looks"), grid)
