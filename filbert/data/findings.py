"""A finding: one thing about the data that a person should know, with the lines it stands in and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filbert.records import Example

HELD = 1_000  # places of a finding that are kept
REFUSED, WARNING, NOTE = "refused", "warning", "note"


@dataclass(frozen=True)
class Finding:
    """What was found, of how many rows, where, and the option or the step that mends it.

    >>> print(Finding("duplicates", "2 texts repeat another one", 2, ["a.csv:7 = a.csv:2"], cure="--fix").sentence)
    2 texts repeat another one — --fix
    """

    check: str
    """A word for programs: "duplicates", "overlap", …"""
    said: str
    """A sentence for people, the count in it."""
    count: int
    """Rows, pairs or groups that it is about."""
    places: Sequence[str] = ()
    """The first thousand: `file:line`, or `file:line = file:line` for two that belong together."""
    cure: str = ""
    """What to do, with the option; empty where nothing has to be done."""
    level: str = WARNING
    """`refused`: training refuses these data; `warning`: results suffer; `note`: good to know."""

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, in one line."""
        return self.said + (f" — {self.cure}" if self.cure else "")

    @property
    def facts(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "check": self.check,
            "level": self.level,
            "count": self.count,
            "said": self.said,
            "places": list(self.places),
            "cure": self.cure,
        }


def places(examples: Sequence[Example]) -> list[str]:
    """Return where the first of the examples stand.

    >>> places([Example(("a",))])
    ['memory']
    """
    return [str(example.place) for example in examples[:HELD]]
