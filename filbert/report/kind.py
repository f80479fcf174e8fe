"""How the runs of one kind are reported: which figures they have, their page, their model card. Names no task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filbert.report.html import Html
from filbert.report.page import Log, Report, Section


@dataclass(frozen=True)
class Metric:
    """A figure of `scores` that stands in tables."""

    key: str
    name: str
    percent: bool = True
    """Whether it is a share, shown in percent."""


@dataclass(frozen=True)
class Kind:
    """What a task says of itself where its runs are reported."""

    lacks: Callable[[Report], str]
    """What a report needs and does not have, or nothing."""
    heading: Callable[[Report], Html]
    """The top of the page."""
    sections: Sequence[Section]
    """The rest of the page."""
    card: Callable[[Report, Log], str]
    """The model card in Markdown."""
    metrics: Sequence[Metric] = ()
    """The figures of a summary; the first is the one by which model and baseline are compared."""
