"""Several runs on one page: their figures side by side, and the spread over seeds where runs differ in nothing else.

Made from the report.json of each run. No numbers are measured here, so runs on different texts are only put beside each
other, and the page says so.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.charts import whiskers
from filbert.report.figures import amount, duration, value_of, with_interval
from filbert.report.html import Html, table, tag
from filbert.report.kind import Kind, Metric
from filbert.report.page import Report, header, render_page
from filbert.report.words import example_of, main_split


@dataclass(frozen=True)
class Run:
    """A finished run: what it is called, its report, and how its task is reported."""

    name: str
    report: Report
    kind: Kind

    @property
    def split(self) -> str:
        """The split of its figures."""
        return main_split(self.report)

    @property
    def scores(self) -> Mapping[str, Any]:
        """Its figures."""
        found: Mapping[str, Any] = self.report["scores"][self.split]
        return found

    @property
    def data(self) -> Any:
        """What says whether two runs were measured on the same texts."""
        data = self.report.get("data") or {}
        known = (data.get("fingerprints") or {}).get(self.split) or data.get("fingerprint")
        return known, self.split, self.scores.get("n")


@dataclass(frozen=True)
class Spread:
    """The mean of a figure over runs that differ in their seed alone, and their standard deviation."""

    runs: int
    mean: float
    deviation: float


def spreads(runs: Sequence[Run], metric: Metric) -> dict[str, Spread]:
    """Return for each set of runs that differ in their seed alone the spread of a metric, by the first run's name."""
    sets: dict[str, list[Run]] = {}
    for run in runs:
        sets.setdefault(_but_for_the_seed(run), []).append(run)
    found = {}
    for alike in sets.values():
        if len({(run.report.get("training") or {}).get("seed") for run in alike}) < len(alike):
            continue  # the same seed twice is no spread
        values = [each.scores[metric.key]["value"] for each in alike if metric.key in each.scores]
        known = [float(value) for value in values if value is not None]
        if len(known) > 1:
            found[alike[0].name] = Spread(len(known), statistics.mean(known), statistics.stdev(known))
    return found


def render_comparison(runs: Sequence[Run]) -> str:
    """Return a page on two runs or more of one task."""
    metrics = [metric for metric in runs[0].kind.metrics if any(metric.key in run.scores for run in runs)]
    each = example_of(runs[0].report)
    texts = counted(runs[0].scores["n"], each)
    parts = [counted(len(runs), "run"), _("{split} split, {texts}", split=_(runs[0].split), texts=texts)]
    sections = (
        ("figures", N_("Figures"), lambda report, log: _figures(runs, metrics)),
        ("seeds", N_("Seeds"), lambda report, log: _seeds(runs, metrics)),
        ("runs", N_("Runs"), lambda report, log: _facts(runs)),
    )
    top = header(N_("comparison"), {"name": _("Runs side by side")}, parts)
    return render_page({"name": _("comparison")}, [], top, sections)


def warning(runs: Sequence[Run]) -> str:
    """Return a sentence where runs were not measured on the same texts, else an empty string."""
    if len({run.data for run in runs}) == 1:
        return ""
    return _(
        "These runs were not measured on the same texts: their figures stand side by side and cannot be compared. "
        "Measure them on one file: filbert compare A B --data FILE."
    )


def _figures(runs: Sequence[Run], metrics: Sequence[Metric]) -> Html:
    first = metrics[0]
    ranked = sorted(runs, key=lambda run: -(run.scores.get(first.key, {}).get("value") or float("-inf")))
    names = (_("run"), "", *(_(metric.name) for metric in metrics), _("linear"))
    head = tag("tr", [tag("th", name) for name in names])
    rows = []
    for run in ranked:
        found = run.scores.get(first.key)
        picture = _whisker(run, runs, first) if found else None
        beside = ((run.report.get("baseline") or {}).get(run.split) or {}).get(first.key)
        cells = [tag("td", with_interval(run.scores.get(metric.key), metric.percent)) for metric in metrics]
        linear = tag("td", value_of(beside, first.percent))
        rows.append(tag("tr", tag("th", run.name, scope="row"), tag("td", picture), cells, linear))
    note = warning(runs) or _(
        "All were measured on the same texts. Where two intervals overlap, filbert compare A B --data FILE says more: "
        "it looks at the texts on which they differ."
    )
    caption = _("By {name}, with 95 % intervals; linear: the baseline's {name} on the same texts.", name=_(first.name))
    return tag("div", tag("p", note, class_="note"), table(caption, head, rows))


def _whisker(run: Run, runs: Sequence[Run], metric: Metric) -> Html | None:
    """Draw a run's interval on the scale of all of them."""
    ends = [run.scores.get(metric.key) for run in runs]
    known = [each for each in ends if each and each.get("value") is not None]
    own = run.scores[metric.key]
    if own.get("value") is None:
        return None
    limits = {"low": min(each["low"] for each in known), "high": max(each["high"] for each in known)}
    label = _("{name} of {run}: {value}", name=_(metric.name), run=run.name, value=with_interval(own, metric.percent))
    return whiskers([("model", dict(own))], label, limits=(limits["low"], limits["high"]))


def _seeds(runs: Sequence[Run], metrics: Sequence[Metric]) -> Html | None:
    found = {metric.key: spreads(runs, metric) for metric in metrics}
    names = list(found[metrics[0].key])
    if not names:
        return None
    heads = (_("first run"), _("seeds"), *(_(metric.name) for metric in metrics))
    head = tag("tr", [tag("th", name) for name in heads])
    rows = []
    for name in names:
        spread = found[metrics[0].key][name]
        cells = [tag("td", spread_of(found[metric.key].get(name), metric)) for metric in metrics]
        rows.append(tag("tr", tag("th", name, scope="row"), tag("td", f"{spread.runs}"), cells))
    return table(_("Runs that differ in their seed alone: mean ± standard deviation over seeds."), head, rows)


def spread_of(spread: Spread | None, metric: Metric) -> str:
    """Return a spread as text.

    >>> spread_of(Spread(3, 0.912, 0.004), Metric("accuracy", "accuracy"))
    '91.2 ± 0.4 %'
    """
    if spread is None:
        return "—"
    if metric.percent:
        return _("{number} %", number=f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f}")
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def _facts(runs: Sequence[Run]) -> Html:
    names = (
        *(_("run"), _("base"), _("parameters"), _("training texts"), _("epochs"), _("learning rate"), _("seed")),
        *(_("training time"), _("tokens/s")),
    )
    rows = []
    for run in runs:
        model, training = run.report.get("model") or {}, run.report.get("training") or {}
        config = training.get("config") or {}
        trained = ((run.report.get("data") or {}).get("counts") or {}).get("train")
        cells = [
            str(model.get("base") or "—"),
            amount(model["parameters"]) if model.get("parameters") else "—",
            f"{trained:,}" if trained else "—",
            f"{training['epochs']:g}" if training.get("epochs") else "—",
            f"{config['learning_rate']:.0e}".replace("e-0", "e-") if config.get("learning_rate") else "—",
            str(training.get("seed", "—")),
            duration(training["seconds"]) if training.get("seconds") else "—",
            f"{training['tokens_per_second']:,.0f}" if training.get("tokens_per_second") else "—",
        ]
        rows.append(tag("tr", tag("th", run.name, scope="row"), [tag("td", cell) for cell in cells]))
    return table(_("How each was made."), tag("tr", [tag("th", name) for name in names]), rows)


def _but_for_the_seed(run: Run) -> str:
    training = dict(run.report.get("training") or {})
    config = {name: value for name, value in (training.get("config") or {}).items() if name != "seed"}
    model = run.report.get("model") or {}
    return json.dumps([run.data, config, model.get("base"), run.report.get("adaptation")], sort_keys=True, default=str)
