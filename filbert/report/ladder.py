"""The section on what was tried in a run, from what takes seconds to what takes long: accuracy against minutes.

No numbers are computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filbert.language import N_, _, retold
from filbert.report.charts import Point, curves, figure, legend_of
from filbert.report.figures import duration
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report

LINEAR, BLEND, ALONE = N_("linear model"), N_("BERT and the linear model together"), N_("the linear model alone")
N_("frozen encoder"), N_("fine-tuning"), N_("adaptation and fine-tuning")  # as the training names its rungs


@dataclass(frozen=True)
class Rung:
    """A way that was tried, with its validations: minutes from the start of the run, and the figure."""

    name: str
    points: Sequence[Point]
    chosen: bool = False

    @property
    def best(self) -> Point:
        """The validation whose weights are kept, by this figure."""
        return max(self.points, key=lambda point: point[1])


def rungs_of(report: Report, key: str) -> list[Rung]:
    """Return what was tried in the order of its cost; nothing where that was one thing.

    >>> point = {"seconds": 30.0, "figures": {"accuracy": 0.8}}
    >>> told = {"rungs": [{"name": "frozen encoder", "points": [point]}], "chosen": "frozen encoder"}
    >>> rungs_of({"ladder": told}, "accuracy")
    [Rung(name='frozen encoder', points=[(0.5, 0.8)], chosen=True)]
    """
    found = report.get("ladder")
    if not found:
        return []
    blend = report.get("blend") or {}
    kept, rungs = bool(blend.get("kept")), list[Rung]()
    baseline = report.get("baseline") or {}
    seconds = baseline.get("seconds", 0.0)
    if (score := _score(baseline, key)) is not None:
        rungs.append(Rung(LINEAR, [(seconds / 60, score)]))
    for each in found["rungs"]:
        points = [(point["seconds"] / 60, point["figures"][key]) for point in each["points"] if key in point["figures"]]
        if points:
            rungs.append(Rung(each["name"], points, not kept and each["name"] == found["chosen"]))
    if kept and (score := _score(report["scores"], key)) is not None:
        last = max(point["seconds"] for each in found["rungs"] for point in each["points"])
        name = ALONE if blend.get("linear_alone") else BLEND
        rungs.append(Rung(name, [((last + seconds) / 60, score)], chosen=True))
    return rungs


def _score(scores: Mapping[str, Any], key: str) -> float | None:
    found: float | None = ((scores.get("validation") or {}).get(key) or {}).get("value")
    return found


def ladder(key: str, name: str) -> Callable[[Report, Log], Html | None]:
    """Return a builder of the section: a picture and a table of a validation figure, `name` for people.

    >>> ladder("accuracy", "accuracy")({}, []) is None
    True
    """

    def build(report: Report, log: Log) -> Html | None:
        rungs = rungs_of(report, key)
        if not rungs:
            return None
        one = [point for rung in rungs for point in rung.points if len(rung.points) == 1]
        lines = [("model", rung.points) for rung in rungs if len(rung.points) > 1]
        label = _("Validation {metric} against minutes", metric=_(name))
        keys = (("second", _("without training the encoder, and the blend")), ("model", _("training the encoder")))
        picture = curves([*lines, ("second", sorted(one))], label)
        head = tag("tr", [tag("th", each, scope="col") for each in (_("way"), _("time"), _(name))])
        rows = [
            tag(
                "tr",
                tag("th", retold(_(rung.name)), scope="row"),
                [tag("td", cell) for cell in (duration(60 * rung.best[0]), f"{rung.best[1]:.4f}")],
                class_="chosen" if rung.chosen else None,
            )
            for rung in rungs
        ]
        caption = _("On the validation texts; the time is from the start of the run. The marked way is handed over.")
        shown = figure(picture, legend_of(*keys), _("{label}.", label=label)) if picture and lines else None
        return tag("div", shown, table(caption, head, rows))

    return build
