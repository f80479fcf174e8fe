"""What a search for options found, and what the average of several trainings did. No numbers are computed.

In the report and, as `choosing_lines`, in the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.language import _, retold
from filbert.report.figures import duration, in_percent
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import main_split


def tuning(report: Report, log: Log) -> Html | None:
    """Return the table of a search's trials, the best first, or None without a search.

    >>> tuning({}, []) is None
    True
    """
    found = report.get("tuning")
    if not found:
        return None
    trials = found["trials"]
    names, by = list(trials[0]["settings"]), _by(trials[0]["figures"])
    columns = (_("trial"), *map(_spelled, names), _spelled(by), _("seconds"), "")
    head = tag("tr", [tag("th", name, scope="col") for name in columns])
    rows = []
    numbered = sorted(enumerate(trials, 1), key=lambda each: (each[0] != found["best"], not each[1]["whole"], each[0]))
    for number, each in numbered:
        cells = [_short(each["settings"][name]) for name in names]
        cells += [_figure(each["figures"], by), f"{each['seconds']:,.0f}", "" if each["whole"] else _("given up early")]
        kind = "chosen" if number == found["best"] else None
        rows.append(tag("tr", tag("th", f"{number:,}", scope="row"), [tag("td", cell) for cell in cells], class_=kind))
    caption = _("The best trial, whose model this is, then the others; the first one has the default options.")
    mattered = found.get("mattered")
    shares = _(", ").join(
        f"{_spelled(name)} {in_percent(100 * share, '.0f')}" for name, share in (mattered or {}).items()
    )
    which = _("Of the differences between trials these options explain (fANOVA): {shares}.", shares=shares)
    return tag(
        "div",
        tag("p", _tuned(report)),
        tag("p", which) if shares else None,
        table(caption, head, rows, tall=True),
    )


def ensemble(report: Report, log: Log) -> Html | None:
    """Return the table of trainings and of their averages on the validation texts, or None without an ensemble.

    >>> ensemble({}, []) is None
    True
    """
    found = report.get("ensemble")
    if not found:
        return None
    names = list(found["outputs"])
    head = tag("tr", [tag("th", name, scope="col") for name in ("", *map(_spelled, names))])
    measured = [
        (f"seed {each['seed']}", _("seed {number}", number=each["seed"]), each["figures"]) for each in found["members"]
    ]
    for each in found["averages"]:
        name = _("{name}: seeds {seeds}", name=retold(each["name"]), seeds=_(", ").join(map(str, each["seeds"])))
        measured.append((each["name"], name, each["figures"]))
    rows = []
    for key, name, figures in (*measured, ("", _("outputs averaged, at the cost of all models"), found["outputs"])):
        kind = "chosen" if key == found["kept"] else None
        cells = [tag("td", _figure(figures, each)) for each in names]
        rows.append(tag("tr", tag("th", name, scope="row"), cells, class_=kind))
    caption = _(
        "On the validation texts: each training, the averages of their weights, and the average of their answers."
    )
    return tag("div", tag("p", _averaged(found)), table(caption, head, rows))


def choosing_lines(report: Report) -> list[str]:
    """Return what a terminal says of a search and of an ensemble; nothing without them.

    >>> choosing_lines({})
    []
    """
    lines = [_tuned(report)] if report.get("tuning") else []
    return [*lines, _averaged(report["ensemble"])] if report.get("ensemble") else lines


def _tuned(report: Report) -> str:
    """Return what the search found, and that the score it was chosen by is optimistic."""
    found = report["tuning"]
    trials, best = found["trials"], found["trials"][found["best"] - 1]
    by = _by(best["figures"])
    options = _(", ").join(f"{_spelled(name)} {_short(value)}" for name, value in best["settings"].items())
    what = (
        _("the best has {options}", options=options) if found["best"] > 1 else _("the default options were not beaten")
    )
    given_up = sum(not each["whole"] for each in trials)
    told = _(
        "Search for options, {trials} in {duration}{ended}: {what}; on the validation texts {metric} {first} with the "
        "default options, {best} with the best.",
        trials=counted(len(trials), "trial"),
        duration=duration(found["seconds"]),
        ended=_(", {trials:,} of them given up early", trials=given_up) if given_up else "",
        what=what,
        metric=_spelled(by),
        first=_figure(trials[0]["figures"], by),
        best=_figure(best["figures"], by),
    )
    if len(trials) == 1:
        return told
    honest = _(
        "The best of {trials:,} validation scores is optimistic: texts given with --test would be the honest measure.",
        trials=len(trials),
    )
    if main_split(report) == "test":
        honest = _(
            "The best of {trials:,} validation scores is optimistic: the scores on the test texts are the honest "
            "measure.",
            trials=len(trials),
        )
    return _(" ").join([told, honest])


def _averaged(found: Mapping[str, Any]) -> str:
    """Return what was averaged, and whether that helped."""
    by = _by(found["outputs"])
    singles = [each["figures"][by] for each in found["members"]]
    best = min(singles) if by.endswith("loss") else max(singles)
    averages = _(", ").join(f"{retold(each['name'])} {each['figures'][by]:.4f}" for each in found["averages"])
    kept = _("{name} of the weights is kept", name=retold(found["kept"]))
    if not found["helped"]:
        kept = _(
            "no average is better, {name} is kept", name=_("seed {number}", number=found["kept"].removeprefix("seed "))
        )
    return _(
        "Of {count} trainings the best validates with {metric} {best:.4f}, {averages}: {kept}. Averaged answers, at "
        "the cost of {count} models, would have {outputs:.4f}.",
        count=len(singles),
        metric=_spelled(by),
        best=best,
        averages=averages,
        kept=kept,
        outputs=found["outputs"][by],
    )


def _by(figures: Mapping[str, Any]) -> str:
    return next(iter(figures), "score")


def _figure(figures: Mapping[str, Any], name: str) -> str:
    return f"{figures[name]:.4f}" if name in figures else _("none")


def _spelled(name: str) -> str:
    """Return the name of an option or a figure in words."""
    return retold(name.replace("_", " "))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
