"""Charts of the report as inline SVG: intervals, curves, bars. Colours are in report.css alone, for dark mode.

Each chart has `role="img"` and a label that describes it. No scripts, no styles, and no number that the report does not
also print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import _
from filbert.report.html import Html, tag

WIDTH, HEIGHT, WIDE = 460, 200, 720
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 10, 28  # room for the axis labels
POINTS = 300  # of a curve, at most: more than the pixels can show

Point = tuple[float, float]


def whiskers(
    rows: Sequence[tuple[str, dict[str, Any]]], label: str, *, limits: tuple[float, float] | None = None
) -> Html:
    """Draw intervals under each other on one scale, from their lowest end to their highest or between `limits`.

    An interval is a line from low to high, and a dot at the value.
    """
    known = [(kind, each) for kind, each in rows if each.get("value") is not None]
    low, high = limits or (min(each["low"] for _kind, each in known), max(each["high"] for _kind, each in known))
    room = max((high - low) * 0.08, 1e-3)
    scale = Scale(low - room, high + room, 6, 214)
    elements = []
    for i, (kind, each) in enumerate(known):
        y = 9 + 14 * i
        elements.append(
            tag("line", x1=scale(each["low"]), x2=scale(each["high"]), y1=y, y2=y, class_=f"whisker {kind}")
        )
        elements.append(tag("circle", cx=scale(each["value"]), cy=y, r=4.5, class_=kind))
    return _svg(220, 14 * len(known) + 4, label, elements)


def interval_bar(found: Mapping[str, Any], low: float, chance: float | None = None) -> Html | str:
    """Draw one interval on the scale from `low` to 1, for a table cell; `chance` gets a dashed line."""
    if found.get("value") is None:
        return ""
    scale = Scale(low, 1, 4, 116)
    elements = [
        tag("line", x1=2, x2=118, y1=7, y2=7, class_="rail"),
        *([] if chance is None else [tag("line", x1=scale(chance), x2=scale(chance), y1=0, y2=14, class_="mark")]),
        tag("line", x1=scale(found["low"]), x2=scale(found["high"]), y1=7, y2=7, class_="whisker model"),
        tag("circle", cx=scale(found["value"]), cy=7, r=3.5, class_="model"),
    ]
    return tag("svg", elements, viewBox="0 0 120 14", width=120, height=14, aria_hidden="true")


def curves(lines: Sequence[tuple[str, Sequence[Point]]], label: str, *, mark: float | None = None) -> Html | None:
    """Draw curves over steps, as (CSS class, points); `mark` is a step with a dashed line. None without two points."""
    kept = [(kind, thin([p for p in points if all(map(math.isfinite, p))])) for kind, points in lines]
    kept = [(kind, points) for kind, points in kept if points]
    if not any(len(points) > 1 for _kind, points in kept):
        return None
    xs = [x for _kind, points in kept for x, _y in points]
    ys = [y for _kind, points in kept for _x, y in points]
    x_scale = Scale(min(0.0, *xs), max(xs), LEFT, WIDTH - RIGHT)
    ticks_y = ticks(min(ys), max(ys))
    y_scale = Scale(ticks_y[0], ticks_y[-1], HEIGHT - BOTTOM, TOP)
    elements = _axes(x_scale, y_scale, ticks(x_scale.low, x_scale.high, 4, inside=True), ticks_y)
    if mark is not None and x_scale.low <= mark <= x_scale.high:
        elements.append(tag("line", x1=x_scale(mark), x2=x_scale(mark), y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
    for kind, points in kept:
        path = " ".join(f"{x_scale(x)},{y_scale(y)}" for x, y in points)
        elements.append(tag("polyline", points=path, class_=f"curve {kind}"))
        if len(points) <= 40:
            elements += [tag("circle", cx=x_scale(x), cy=y_scale(y), r=2.2, class_=kind) for x, y in points]
    return _svg(WIDTH, HEIGHT, label, elements)


def length_bars(edges: Sequence[int], counts: Sequence[int], max_length: int, label: str, each: str = "text") -> Html:
    """Draw a histogram of lengths in tokens; bars beyond `max_length` are truncated."""
    slot = (WIDE - LEFT - RIGHT) / len(counts)
    ticks_y = ticks(0, max(max(counts), 1))
    y_scale = Scale(0, ticks_y[-1], HEIGHT - BOTTOM, TOP)
    elements = _rules(y_scale, ticks_y, WIDE)
    every = max(1, round(len(counts) / 8))
    for i, count in enumerate(counts):
        x = LEFT + i * slot
        y = y_scale(count)
        kind = "cut" if edges[i] >= max_length else "model"
        tokens, texts = counted(edges[i + 1], "token"), counted(count, each)
        box = tag("title", _("{first:,}–{tokens}: {texts}", first=edges[i] + 1, tokens=tokens, texts=texts))
        elements.append(
            tag(
                "rect",
                box,
                x=f"{x + 1:.1f}",
                y=y,
                width=f"{slot - 2:.1f}",
                height=round(y_scale(0) - y, 1),
                class_=kind,
            )
        )
    last = len(counts)
    for i in sorted({*range(0, last - every // 2, every), last}):
        end = "end" if i == last else "middle"
        elements.append(tag("text", f"{edges[i]:,}", x=f"{LEFT + i * slot:.1f}", y=HEIGHT - 8, text_anchor=end))
    if max_length in edges:
        border = f"{LEFT + list(edges).index(max_length) * slot:.1f}"
        elements.append(tag("line", x1=border, x2=border, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
    return _svg(WIDE, HEIGHT, label, elements)


def histogram(edges: Sequence[float], counts: Sequence[int], label: str, each: str = "text") -> Html:
    """Draw a histogram: the number of texts, or whatever `each` is, with a value between one edge and the next."""
    slot = (WIDE - LEFT - RIGHT) / len(counts)
    ticks_y = ticks(0, max(max(counts), 1))
    y_scale = Scale(0, ticks_y[-1], HEIGHT - BOTTOM, TOP)
    elements = _rules(y_scale, ticks_y, WIDE)
    for i, count in enumerate(counts):
        y, x = y_scale(count), LEFT + i * slot
        low, high, texts = edges[i], edges[i + 1], counted(count, each)
        box = tag("title", _("{low:.4g} to {high:.4g}: {texts}", low=low, high=high, texts=texts))
        size = {"x": f"{x + 1:.1f}", "width": f"{slot - 2:.1f}", "height": round(y_scale(0) - y, 1)}
        elements.append(tag("rect", box, y=y, class_="model", **size))
    x_scale = Scale(edges[0], edges[-1], LEFT, WIDE - RIGHT)
    for value in ticks(edges[0], edges[-1], 6, inside=True):
        elements.append(tag("text", _number(value), x=x_scale(value), y=HEIGHT - 8, text_anchor="middle"))
    return _svg(WIDE, HEIGHT, label, elements)


def reliability_bars(bins: Sequence[dict[str, Any]], label: str, each: str = "text") -> Html:
    """Draw the accuracy of each bin as a bar and its confidence as a line: where they meet, it is calibrated."""
    slot = (WIDE - LEFT - RIGHT) / len(bins)
    y_scale = Scale(0, 1, HEIGHT - BOTTOM, TOP)
    elements = _rules(y_scale, [0, 0.25, 0.5, 0.75, 1], WIDE)
    every = max(1, -(-len(bins) // 15))
    for i, one in enumerate(bins):
        x, y = LEFT + i * slot, y_scale(one["accuracy"])
        words = _(
            "confidence {confidence:.3f}, accuracy {accuracy:.3f}, {texts}",
            confidence=one["confidence"],
            accuracy=one["accuracy"],
            texts=counted(one["count"], each),
        )
        box = tag("title", words)
        wide = {"x": f"{x + slot * 0.15:.1f}", "width": f"{slot * 0.7:.1f}"}
        elements.append(tag("rect", box, y=y, height=round(y_scale(0) - y, 1), class_="model", **wide))
        claimed = y_scale(one["confidence"])
        ends = {"x1": f"{x + 1:.1f}", "x2": f"{x + slot - 1:.1f}"}
        elements.append(tag("line", y1=claimed, y2=claimed, class_="claimed", **ends))
        if i % every == 0:
            middle = f"{x + slot / 2:.1f}"
            elements.append(tag("text", f"{one['confidence']:.3f}", x=middle, y=HEIGHT - 8, text_anchor="middle"))
    return _svg(WIDE, HEIGHT, label, elements)


def figure(picture: Html, legend: Html | None, caption: str) -> Html:
    """Return a wide chart between its legend and its caption.

    >>> figure(Html("<svg></svg>"), None, "Lengths.")
    '<figure><div class="chart"><svg></svg></div><figcaption>Lengths.</figcaption></figure>'
    """
    return tag("figure", legend, tag("div", picture, class_="chart"), tag("figcaption", caption))


def legend_of(*entries: tuple[str, str]) -> Html | None:
    """Return a chart's legend of (CSS class, text), without entries that have no text.

    >>> legend_of(("model", "accuracy"))
    '<span class="legend"><span><i class="key model"></i>accuracy</span></span>'
    """
    shown = [tag("span", tag("i", class_=f"key {kind}"), words) for kind, words in entries if words]
    return tag("span", shown, class_="legend") if shown else None


class Scale:
    """A linear scale from values to pixels, rounded to a tenth.

    >>> Scale(0, 10, 100, 200)(5)
    150.0
    """

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; the middle where there is only one value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, about: int = 4, *, inside: bool = False) -> list[float]:
    """Return round values that cover low to high, or lie inside it.

    >>> ticks(0.03, 0.92)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= span / about * 0.999)
    first = math.ceil(low / step - 1e-9) if inside else math.floor(low / step + 1e-9)
    last = math.floor(high / step + 1e-9) if inside else math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + (0 if inside else 1)) + 1)]


def thin(points: Sequence[Point]) -> list[Point]:
    """Return at most 300 points: means of equally long runs of points.

    >>> len(thin([(float(i), 1.0) for i in range(1000)]))
    250
    """
    run = -(-len(points) // POINTS)
    if run <= 1:
        return list(points)
    parts = [points[i : i + run] for i in range(0, len(points), run)]
    return [(sum(x for x, _y in part) / len(part), sum(y for _x, y in part) / len(part)) for part in parts]


def smooth(points: Sequence[Point], share: float = 0.05) -> list[Point]:
    """Return a moving average over `share` of all points.

    >>> smooth([(0, 1.0), (1, 3.0), (2, 5.0)], share=0.5)
    [(0, 2.0), (1, 3.0), (2, 4.0)]
    """
    half, sums, found = max(1, round(len(points) * share / 2)), [0.0], []
    if len(points) < 3:
        return list(points)
    for _x, y in points:
        sums.append(sums[-1] + y)
    for i, (x, _y) in enumerate(points):
        first, last = max(0, i - half), min(len(points), i + half + 1)
        found.append((x, (sums[last] - sums[first]) / (last - first)))
    return found


def _svg(width: int, height: int, label: str, elements: Sequence[Html]) -> Html:
    return tag("svg", elements, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_=f"wide-{width}")


def _number(value: float) -> str:
    if 0 < value < 0.001:  # a learning rate: there is no room for 0.00025 beside the axis
        power = math.floor(math.log10(value))
        return f"{value / 10**power:.3g}e{power}"
    return f"{value:,.6g}"


def _rules(y_scale: Scale, values: Sequence[float], width: int) -> list[Html]:
    """Return the horizontal grid lines with their values."""
    elements = []
    for value in values:
        elements.append(tag("line", x1=LEFT, x2=width - RIGHT, y1=y_scale(value), y2=y_scale(value), class_="rule"))
        elements.append(tag("text", _number(value), x=LEFT - 6, y=y_scale(value) + 4, text_anchor="end"))
    return elements


def _axes(x_scale: Scale, y_scale: Scale, ticks_x: Sequence[float], ticks_y: Sequence[float]) -> list[Html]:
    elements = _rules(y_scale, ticks_y, WIDTH)
    for value in ticks_x:
        elements.append(tag("text", _number(value), x=x_scale(value), y=HEIGHT - 8, text_anchor="middle"))
    return elements
