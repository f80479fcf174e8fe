"""What a search for options found, and what the average of several trainings did. No numbers are computed.

In the report and, as `choosing_lines`, in the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report
from filbert.report.words import duration, main_split


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
    columns = ("trial", *(name.replace("_", " ") for name in names), by.replace("_", " "), "seconds", "")
    head = tag("tr", [tag("th", name, scope="col") for name in columns])
    rows = []
    numbered = sorted(enumerate(trials, 1), key=lambda each: (each[0] != found["best"], not each[1]["whole"], each[0]))
    for number, each in numbered:
        cells = [_short(each["settings"][name]) for name in names]
        cells += [_figure(each["figures"], by), f"{each['seconds']:,.0f}", "" if each["whole"] else "given up early"]
        kind = "chosen" if number == found["best"] else None
        rows.append(tag("tr", tag("th", f"{number:,}", scope="row"), [tag("td", cell) for cell in cells], class_=kind))
    caption = "The best trial, whose model this is, then the others; the first one has the default options."
    mattered = found.get("mattered")
    shares = ", ".join(f"{name.replace('_', ' ')} {100 * share:.0f} %" for name, share in (mattered or {}).items())
    which = f"Of the differences between trials these options explain (fANOVA): {shares}." if shares else None
    return tag(
        "div",
        tag("p", _tuned(report)),
        tag("p", which) if which else None,
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
    head = tag("tr", [tag("th", name, scope="col") for name in ("", *(name.replace("_", " ") for name in names))])
    measured = [(f"seed {each['seed']}", each["figures"]) for each in found["members"]]
    measured += [(f"{each['name']}: seeds {_listed(each)}", each["figures"]) for each in found["averages"]]
    rows = []
    for name, figures in (*measured, ("outputs averaged, at the cost of all models", found["outputs"])):
        kind = "chosen" if name.split(":")[0] == found["kept"] else None
        cells = [tag("td", _figure(figures, each)) for each in names]
        rows.append(tag("tr", tag("th", name, scope="row"), cells, class_=kind))
    caption = "On the validation texts: each training, the averages of their weights, and the average of their answers."
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
    options = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in best["settings"].items())
    first = f"{by.replace('_', ' ')} {_figure(trials[0]['figures'], by)} with the default options"
    what = "the default options were not beaten" if found["best"] == 1 else f"the best has {options}"
    given_up = sum(not each["whole"] for each in trials)
    ended = f", {given_up:,} of them given up early" if given_up else ""
    told = f"Search for options, {counted(len(trials), 'trial')} in {duration(found['seconds'])}{ended}: {what}; "
    told += f"on the validation texts {first}, {_figure(best['figures'], by)} with the best."
    if len(trials) == 1:
        return told
    honest = "the scores on the test texts are" if main_split(report) == "test" else "texts given with --test would be"
    return f"{told} The best of {len(trials):,} validation scores is optimistic: {honest} the honest measure."


def _averaged(found: Mapping[str, Any]) -> str:
    """Return what was averaged, and whether that helped."""
    by = _by(found["outputs"])
    singles = [each["figures"][by] for each in found["members"]]
    best = min(singles) if by.endswith("loss") else max(singles)
    averages = {each["name"]: each["figures"][by] for each in found["averages"]}
    each = ", ".join(f"{name} {value:.4f}" for name, value in averages.items())
    kept = (
        f"{found['kept']} of the weights is kept"
        if found["helped"]
        else f"no average is better, {found['kept']} is kept"
    )
    best_of = f"Of {len(singles)} trainings the best validates with {by.replace('_', ' ')} {best:.4f}"
    outputs = f"Averaged answers, at the cost of {len(singles)} models, would have {found['outputs'][by]:.4f}."
    return f"{best_of}, {each}: {kept}. {outputs}"


def _by(figures: Mapping[str, Any]) -> str:
    return next(iter(figures), "score")


def _figure(figures: Mapping[str, Any], name: str) -> str:
    return f"{figures[name]:.4f}" if name in figures else "none"


def _listed(average: Mapping[str, Any]) -> str:
    return ", ".join(map(str, average["seeds"]))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
