"""Where a run tells what it does: a terminal, a log, or nobody."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Where a run tells what it does: a terminal, a log, or nobody."""

    def say(self, text: str) -> None:
        """Tell one line."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        """Tell how far a stage has come; figures are what there is to show beside the bar."""


class Silent:
    """A Watcher that tells nobody."""

    def say(self, text: str) -> None:
        """Keep it."""

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        """Keep it."""
