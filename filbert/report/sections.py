"""Sections of a report page beside the scores: calibration, cascade, lengths, curves, data, training, reproduction.

Each function returns its section, or None where report.json has no data for it. `run_sections` is the second half of a
fine-tuned model's page; pretraining/page.py uses some of them, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.report.charts import curves, length_bars, reliability_bars, smooth
from filbert.report.choosing import ensemble, tuning
from filbert.report.folds import cross_validation, suspects
from filbert.report.html import Html, table, tag
from filbert.report.page import Log, Report, Section
from filbert.report.selective import selective_section
from filbert.report.slices import slices_section
from filbert.report.words import calibration_line, cascade_line, duration, example_of, points, share_of, truncation_line


def _calibration(report: Report, log: Log) -> Html | None:
    found = report.get("calibration")
    if not found:
        return None
    sentence = calibration_line(found, example_of(report))
    picture = None
    if found.get("bins"):
        label = f"Accuracy against confidence in {len(found['bins'])} bins of about equally many texts"
        legend = legend_of(("model", "accuracy"), ("claimed", "mean confidence"))
        picture = _figure(reliability_bars(found["bins"], label), legend, f"{label}; confidence is written below.")
    return tag("div", tag("p", sentence) if sentence else None, picture)


def _cascade(report: Report, log: Log) -> Html | None:
    found = report.get("cascade")
    if not found:
        return None
    curve = found["curve"]
    lost, bound = ([(100 * each["share"], 100 * each[key]) for each in curve] for key in ("lost", "bound"))
    texts = counted(found["texts"], "validation text")
    label = f"Points of accuracy lost by the share of texts that the linear model answers, on {texts}"
    legend = legend_of(("model", "lost"), ("second", "at most, with 95 % confidence"), ("mark", "chosen"))
    picture = curves([("model", lost), ("second", bound)], label, mark=100 * found["share"] or None)
    names = ("answered by the linear model", "threshold", "points lost", "at most", "speed")
    head = tag("tr", [tag("th", name, scope="col") for name in names])
    rows = []
    for each in curve:
        if each is not curve[-1] and round(40 * each["share"]) % 4 and each["share"] != found["share"]:
            continue
        cells = (
            f"{100 * each['share']:.0f} %",
            f"{each['threshold']:.3f}",
            points(each["lost"]),
            points(each["bound"]),
            f"{each['speedup']:.1f} ×",
        )
        kind = "chosen" if found["share"] and each["share"] == found["share"] else None
        rows.append(tag("tr", [tag("td", cell) for cell in cells], class_=kind))
    caption = f"The cost of letting the linear model answer more; {found['points']:g} points were allowed."
    return tag(
        "div",
        tag("p", cascade_line(found)),
        panels(f"{label} (in percent).", ("Cost by share", picture, legend)),
        table(caption, head, rows),
    )


def _lengths(report: Report, log: Log) -> Html | None:
    found, cut = report.get("lengths"), report.get("truncation") or {}
    if not found and not cut:
        return None
    picture = None
    if found and found.get("counts"):
        edges, counts, longest = found["edges"], found["counts"], found["max_length"]
        beyond = sum(count for edge, count in zip(edges, counts, strict=False) if edge >= longest)
        each = found.get("of") or example_of(report)
        label = f"{counted(sum(counts), each)} by length in tokens, {beyond:,} of them longer than {longest:,}"
        legend = legend_of(("model", f"up to {longest:,} tokens"), ("cut", f"truncated, {counted(beyond, each)}"))
        uneven = edges[-1] - edges[-2] > 2 * (edges[1] - edges[0])
        caption = label + ("; the last bar holds all longer texts." if uneven else ".")
        picture = _figure(length_bars(edges, counts, longest, label, each), legend if beyond else None, caption)
    lines = [tag("li", truncation_line(split, each, example_of(report))) for split, each in cut.items() if each]
    return tag("div", picture, tag("ul", lines) if lines else None)


def _curves(measured: Sequence[tuple[str, str]]) -> Callable[[Report, Log], Html | None]:
    """Return a builder of the learning curves; `measured` are (key, name) of one or two validation metrics."""

    def build(report: Report, log: Log) -> Html | None:
        best, by = _best(report)
        dashed = ("mark", f"best{by}, step {best:,}" if best else "")
        losses, checks = series(log, "loss"), validations(log)
        loss, rate = series(checks, "loss"), series(log, "learning_rate")
        kinds = ("model", "second")
        lines = [(kind, series(checks, key)) for kind, (key, _) in zip(kinds, measured, strict=False)]
        legend = legend_of(*((kind, name) for kind, (_, name) in zip(kinds, measured, strict=False)), dashed)
        sentence = in_words(f"Validation {measured[0][1]}", lines[0][1])
        return panels(
            "Over optimizer steps.",
            (
                "Training loss",
                curves([("faint", losses), ("model", smooth(losses))], in_words("Training loss", losses)),
                "thin: as logged; thick: moving average",
            ),
            ("Validation", curves(lines, sentence, mark=best), legend),
            (
                "Validation loss",
                curves([("model", loss)], in_words("Validation loss", loss), mark=best),
                legend_of(dashed),
            ),
            ("Learning rate", curves([("model", rate)], in_words("Learning rate", rate)), None),
        )

    return build


def _best(report: Report) -> tuple[int, str]:
    """Return the best step, 0 where there is none, and by which validation figure it was chosen."""
    training = report.get("training") or {}
    by = training.get("best_by")
    return training.get("best_step") or 0, f" by {by}" if by else ""


def panels(note: str, *charts: tuple[str, Html | None, Html | str | None]) -> Html | None:
    """Return charts beside each other, as (heading, chart, caption); None where there is no chart.

    >>> panels("Over steps.", ("Loss", None, None)) is None
    True
    """
    figures = [
        tag("figure", tag("h3", name), picture, tag("figcaption", below) if below else None)
        for name, picture, below in charts
        if picture
    ]
    return tag("div", tag("p", note, class_="note"), tag("div", figures, class_="panels")) if figures else None


def validations(log: Log) -> Log:
    """Return the validations of a log, each with its step.

    >>> validations([{"step": 1, "loss": 2.0}, {"step": 1, "validation": {"loss": 3.0}}])
    [{'step': 1, 'loss': 3.0}]
    """
    return [{"step": line["step"], **line["validation"]} for line in log if line.get("validation")]


def series(lines: Log, key: str) -> list[tuple[float, float]]:
    """Return (step, value) for each line where the value is a finite number.

    >>> series([{"step": 1, "loss": 2.5}, {"step": 2}], "loss")
    [(1, 2.5)]
    """
    found = [(line["step"], line.get(key)) for line in lines]
    return [(x, y) for x, y in found if isinstance(y, (int, float)) and math.isfinite(y)]


def in_words(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Return a description of a curve, for screen readers.

    >>> in_words("Loss", [(1, 9.5), (20, 2.25)])
    'Loss from 9.5 to 2.25'
    """
    return f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else name


def _data(report: Report, log: Log) -> Html | None:
    data = report.get("data")
    if not data:
        return None
    counts = data.get("counts") or {}
    facts = [
        ("source", data.get("source")),
        *((f"{split} {example_of(report)}s", number) for split, number in counts.items()),
        ("quarantined rows", data.get("quarantined")),
        ("fingerprint", data.get("fingerprint")),
    ]
    found = [tag("li", line) for line in data.get("found") or []]
    warnings = [tag("li", line) for line in data.get("warnings") or []]
    return tag(
        "div",
        fact_list(facts),
        [tag("h3", "What was found"), tag("ul", found)] if found else None,
        [tag("h3", "Warnings"), tag("ul", warnings, class_="warnings")] if warnings else None,
        _label_counts(data.get("label_counts") or {}, report.get("labels") or ()),
    )


def _label_counts(counts: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> Html | None:
    """Return texts per label and split, most frequent in the first split first."""
    splits = [split for split, each in counts.items() if each]
    if not splits:
        return None
    totals = {split: sum(counts[split].values()) for split in splits}
    rows = []
    for label in sorted(labels, key=lambda label: -counts[splits[0]].get(label, 0)):
        numbers = [counts[split].get(label, 0) for split in splits]
        cells = [
            (tag("td", f"{number:,}"), tag("td", tag("small", share_of(number, totals[split]))))
            for split, number in zip(splits, numbers, strict=True)
        ]
        rows.append(tag("tr", tag("th", label, scope="row"), cells))
    head = tag("tr", tag("th", "label", scope="col"), [tag("th", s, scope="colgroup", colspan=2) for s in splits])
    return table("Texts per label.", head, rows, tall=True)


def model_and_training(report: Report, log: Log) -> Html | None:
    """Return the section on model, training and options, or None.

    >>> model_and_training({}, []) is None
    True
    """
    training, model, base = (report.get(key) or {} for key in ("training", "model", "baseline"))
    if not training and not model:
        return None
    best, by = _best(report)
    time = training.get("seconds")
    facts = [
        ("base model", None if model.get("random_start") else model.get("base")),
        ("initialisation", f"random weights, size {model.get('base')}" if model.get("random_start") else None),
        ("initial embeddings", {True: "random", False: "word vectors", None: None}[model.get("random_init")]),
        ("reason for the base", model.get("reason")),
        ("layers × width", f"{model['layers']} × {model['hidden']}" if {"layers", "hidden"} <= set(model) else None),
        ("attention heads", model.get("heads")),
        ("positions", model.get("position")),
        ("vocabulary", model.get("vocabulary")),
        ("parameters", model.get("parameters")),
        ("maximum length", f"{model['max_length']:,} tokens" if model.get("max_length") else None),
        ("training time", duration(time) if time is not None else None),
        ("speed", f"{training['tokens_per_second']:,.0f} tokens/s" if training.get("tokens_per_second") else None),
        ("tokens", training.get("tokens")),
        ("tokens of the base's training", training.get("tokens_before") or None),
        ("steps", training.get("steps")),
        ("epochs", training.get("epochs")),
        ("best step", f"{best:,}{by}" if best else None),
        ("stopped", training.get("stopped")),
        ("balance of classes", _balance(training.get("balance"))),
        ("precision", training.get("precision")),
        ("device", training.get("device")),
        ("processes", training.get("processes")),
        ("baseline", base.get("name")),
        ("baseline time", duration(base["seconds"]) if base.get("seconds") is not None else None),
        ("baseline note", base.get("note") or None),
    ]
    config = list((training.get("config") or {}).items())
    return tag("div", fact_list(facts), [tag("h3", "Options"), fact_list(config)] if config else None)


def _balance(found: Mapping[str, Any] | None) -> str | None:
    """Return the way of balancing classes, with the validation scores of all that were tried."""
    if not found or (found["balance"] == "none" and not found.get("tried")):
        return None
    tried = ", ".join(f"{how} {each['score']:.4f}" for how, each in (found.get("tried") or {}).items())
    return f"{found['balance']} (validation score: {tried})" if tried else str(found["balance"])


def reproduction(report: Report, log: Log) -> Html | None:
    """Return the section with the command, the seed and the versions, or None.

    >>> "filbert fit" in (reproduction({"training": {"command": "filbert fit a.csv"}}, []) or "")
    True
    """
    training, versions = report.get("training") or {}, report.get("versions") or {}
    command = training.get("command")
    if not command and not versions:
        return None
    facts = [
        ("seed", training.get("seed")),
        ("data fingerprint", (report.get("data") or {}).get("fingerprint")),
        *versions.items(),
    ]
    note = "The same command, data, seed and versions on the same kind of machine give the same model."
    return tag(
        "div",
        [tag("pre", tag("code", command)), tag("p", note, class_="note")] if command else None,
        fact_list(facts),
    )


def fact_list(pairs: Sequence[tuple[str, Any]]) -> Html:
    """Return a list of names and values, without None; numbers get thousands separators.

    >>> fact_list([("steps", 1200), ("note", None)])
    '<dl><div><dt>steps</dt><dd>1,200</dd></div></dl>'
    """
    shown = [tag("div", tag("dt", str(name)), tag("dd", _fact(value))) for name, value in pairs if value is not None]
    return tag("dl", shown)


def _fact(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _figure(picture: Html, legend: Html | None, caption: str) -> Html:
    return tag("figure", legend, tag("div", picture, class_="chart"), tag("figcaption", caption))


def legend_of(*entries: tuple[str, str]) -> Html | None:
    """Return a chart's legend of (CSS class, text), without entries that have no text.

    >>> legend_of(("model", "accuracy"))
    '<span class="legend"><span><i class="key model"></i>accuracy</span></span>'
    """
    shown = [tag("span", tag("i", class_=f"key {kind}"), words) for kind, words in entries if words]
    return tag("span", shown, class_="legend") if shown else None


def run_sections(measured: Sequence[tuple[str, str]]) -> tuple[Section, ...]:
    """Return the second half of a fine-tuned model's page; `measured` are the validation metrics of the curves.

    >>> [key for key, _, _ in run_sections([("accuracy", "accuracy")])][:3]
    ['slices', 'calibration', 'abstention']
    """
    return (
        ("slices", "Where it errs", slices_section),
        ("calibration", "Calibration", _calibration),
        ("abstention", "Errors by share answered", selective_section),
        ("cascade", "Cascade", _cascade),
        ("lengths", "Text lengths", _lengths),
        ("tuning", "Search for options", tuning),
        ("ensemble", "Average of several trainings", ensemble),
        ("folds", "Cross-validation", cross_validation),
        ("suspects", "Doubtful targets", suspects),
        ("curves", "Learning curves", _curves(measured)),
        ("data", "Data", _data),
        ("training", "Model and training", model_and_training),
        ("reproduce", "Reproduce", reproduction),
    )
