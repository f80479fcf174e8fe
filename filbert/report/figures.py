"""Figures as text: percent, points, intervals, amounts, times. No numbers are computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.language import _, language


def in_percent(number: float, spec: str = ".1f") -> str:
    """Return a number with a percent sign, as it is set in the language that is spoken.

    >>> in_percent(91.32)
    '91.3 %'
    """
    return _("{number} %", number=format(number, spec))


def signed(number: float) -> str:
    """Return a number with three decimals and its sign.

    >>> signed(-0.02134)
    '−0.021'
    """
    return f"{number:+.3f}".replace("-", "−").replace("−0.000", "0.000").replace("+0.000", "0.000")


def points(share: float) -> str:
    """Return a difference of fractions in signed percentage points.

    >>> points(-0.0213)
    '−2.1'
    """
    return f"{100 * share:+.1f}".replace("-", "−").replace("−0.0", "0.0").replace("+0.0", "0.0")


def span(difference: Mapping[str, Any], *, percent: bool = True) -> str:
    """Return the interval of a difference, in points where it is one of fractions.

    >>> span({"low": -0.004, "high": 0.02})
    '−0.4 to +2.0'
    """
    low, high = (points(difference[key]) if percent else signed(difference[key]) for key in ("low", "high"))
    return _("{low} to {high}", low=low, high=high)


def value_of(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return the value of a metric: "91.3 %" or "0.826", a dash where it does not exist.

    >>> value_of({"value": 0.9132, "low": 0.909, "high": 0.917}, True)
    '91.3 %'
    """
    if not found or found.get("value") is None:
        return "—"
    value = _numbers(found, percent)[0]
    return _("{number} %", number=value) if percent else value


def interval_of(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return the interval of a metric: "90.9–91.7" or, where a number is negative, "−0.100 to 0.826".

    >>> interval_of({"value": 0.913, "low": 0.909, "high": 0.917}, True)
    '90.9–91.7'
    """
    if not found or found.get("value") is None:
        return "—"
    low, high = _numbers(found, percent)[1:]
    return _("{low} to {high}", low=low, high=high) if found["low"] < 0 else f"{low}–{high}"


def with_interval(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return a metric and its interval.

    >>> with_interval({"value": 0.913, "low": 0.909, "high": 0.917}, True)
    '91.3 % (90.9–91.7)'
    """
    value = value_of(found, percent)
    if value == "—":
        return value
    return _("{value} ({interval})", value=value, interval=interval_of(found, percent))


def amount(number: float) -> str:
    """Return a number as text: in full below a million, else in millions or billions.

    >>> amount(16_384), amount(11_171_074), amount(1_230_000_000)
    ('16,384', '11.2 million', '1.23 billion')
    """
    sizes = ((1e8, "亿"), (1e4, "万")) if language() == "zh" else ((1e9, "billion"), (1e6, "million"))
    for size, name in sizes:
        if number >= max(size, 1e6):
            return f"{number / size:,.{0 if number >= 100 * size else 1 if number >= 10 * size else 2}f} {name}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Return a time as text.

    >>> duration(3723), duration(83), duration(4.2)
    ('1 h 2 min', '1 min 23 s', '4.2 s')
    """
    if seconds < 60:
        return _("{seconds:.1f} s", seconds=seconds)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _("{minutes} min {rest} s", minutes=minutes, rest=rest)
    return _("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


def share_of(part: float, whole: float) -> str:
    """Return a share in percent, "< 0.1 %" rather than a rounded zero.

    >>> share_of(1, 5000), share_of(0, 10), share_of(1, 8)
    ('< 0.1 %', '0 %', '12.5 %')
    """
    if not part or not whole:
        return _("{number} %", number=0)
    return in_percent(100 * part / whole) if part / whole >= 0.0005 else _("< 0.1 %")


def _numbers(found: Mapping[str, Any], percent: bool) -> list[str]:
    """Return value, low and high with enough digits not to be rounded up to a perfect score."""
    numbers = [found[key] for key in ("value", "low", "high")]
    if not percent and numbers[0] >= 10:  # a perplexity
        return [f"{x:,.{1 if numbers[0] < 1000 else 0}f}" for x in numbers]
    digits = 3
    while digits < 6 and any(x < 1 <= round(x, digits) for x in numbers[:2]):
        digits += 1
    shown = [f"{100 * x:.{digits - 2}f}" if percent else f"{x:.{digits}f}" for x in numbers]
    return [each.replace("-", "−") for each in shown]
