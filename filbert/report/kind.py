"""What a task passes to the report: its metrics, page and model card. Names no task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filbert.report.html import Html
from filbert.report.page import Log, Report, Section


@dataclass(frozen=True)
class Metric:
    """A metric of `scores` that is shown in tables."""

    key: str
    name: str
    percent: bool = True
    """Whether it is a fraction, shown in percent."""
    hub: str = ""
    """What the hub calls it, in a card's figures; empty where it has no name for it."""


@dataclass(frozen=True)
class Kind:
    """How a task's runs are reported."""

    missing: Callable[[Report], str]
    """Return what a report lacks, as the end of a message, or an empty string."""
    heading: Callable[[Report], Html]
    """Return the header of the page."""
    sections: Sequence[Section]
    """The sections of the page, in order."""
    card: Callable[[Report, Log], str]
    """Return the model card in Markdown."""
    metrics: Sequence[Metric] = ()
    """The metrics of the summary; model and baseline are compared by the first."""
    next_step: tuple[str, str] | None = None
    """What to try after a fit, and its command after `filbert`, with {model} in it; None: predict a text, or a pair."""
