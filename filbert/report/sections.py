"""Sections of a report page beside the scores: calibration, cascade, lengths, curves, data, training, reproduction.

Each function returns its section, or None where report.json has no data for it. `run_sections` is the second half of a
fine-tuned model's page; pretraining/page.py uses some of them, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _, pgettext, plural, retold
from filbert.report.charts import curves, figure, legend_of, length_bars, reliability_bars, smooth
from filbert.report.choosing import ensemble, tuning
from filbert.report.distillation import distillation
from filbert.report.few_shot import few_shot_section
from filbert.report.figures import duration, in_percent, points, share_of
from filbert.report.folds import cross_validation, suspects
from filbert.report.following import Command, following
from filbert.report.html import Html, table, tag
from filbert.report.ladder import ladder
from filbert.report.page import Log, Report, Section
from filbert.report.selective import selective_section
from filbert.report.slices import slices_section
from filbert.report.unknown import unknown_section
from filbert.report.words import calibration_line, cascade_line, example_of, truncation_line


def _calibration(report: Report, log: Log) -> Html | None:
    found = report.get("calibration")
    if not found:
        return None
    sentence = calibration_line(found, example_of(report))
    picture = None
    if found.get("bins"):
        each = found.get("of") or "text"
        label = _(
            "Accuracy against confidence in {bins} bins of about equally many {texts}",
            bins=len(found["bins"]),
            texts=plural(each),
        )
        legend = legend_of(("model", _("accuracy")), ("claimed", _("mean confidence")))
        caption = _("{label}; confidence is written below.", label=label)
        picture = figure(reliability_bars(found["bins"], label, each), legend, caption)
    return tag("div", tag("p", sentence) if sentence else None, picture)


def _cascade(report: Report, log: Log) -> Html | None:
    found = report.get("cascade")
    if not found:
        return None
    curve = found["curve"]
    lost, bound = ([(100 * each["share"], 100 * each[key]) for each in curve] for key in ("lost", "bound"))
    texts = counted(found["texts"], "validation text")
    label = _("Points of accuracy lost by the share of texts that the linear model answers, on {texts}", texts=texts)
    legend = legend_of(("model", _("lost")), ("second", _("at most, with 95 % confidence")), ("mark", _("chosen")))
    picture = curves([("model", lost), ("second", bound)], label, mark=100 * found["share"] or None)
    names = (_("answered by the linear model"), _("threshold"), _("points lost"), _("at most"), _("speed"))
    head = tag("tr", [tag("th", name, scope="col") for name in names])
    rows = []
    for each in curve:
        if each is not curve[-1] and round(40 * each["share"]) % 4 and each["share"] != found["share"]:
            continue
        cells = (
            in_percent(100 * each["share"], ".0f"),
            f"{each['threshold']:.3f}",
            points(each["lost"]),
            points(each["bound"]),
            f"{each['speedup']:.1f} ×",
        )
        kind = "chosen" if found["share"] and each["share"] == found["share"] else None
        rows.append(tag("tr", [tag("td", cell) for cell in cells], class_=kind))
    caption = _(
        "The cost of letting the linear model answer more; {points:g} points were allowed.", points=found["points"]
    )
    return tag(
        "div",
        tag("p", cascade_line(found)),
        panels(_("{label} (in percent).", label=label), (_("Cost by share"), picture, legend)),
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
        label = _(
            "{texts} by length in tokens, {beyond:,} of them longer than {longest:,}",
            texts=counted(sum(counts), each),
            beyond=beyond,
            longest=longest,
        )
        whole = (report.get("long_texts") or {}).get("way") == "windows"
        longer = _("read in windows, {texts}", texts=counted(beyond, each)) if whole else ""
        legend = legend_of(
            ("model", _("up to {tokens}", tokens=counted(longest, "token"))),
            ("cut", longer or _("truncated, {texts}", texts=counted(beyond, each))),
        )
        uneven = edges[-1] - edges[-2] > 2 * (edges[1] - edges[0])
        caption = label + (_("; the last bar holds all longer texts.") if uneven else _("."))
        picture = figure(length_bars(edges, counts, longest, label, each), legend if beyond else None, caption)
    lines = [tag("li", truncation_line(split, each, example_of(report))) for split, each in cut.items() if each]
    why = (report.get("long_texts") or {}).get("why")
    chosen = tag("p", _("How long texts are read was chosen: {why}.", why=retold(why))) if why else None
    return tag("div", picture, tag("ul", lines) if lines else None, chosen)


def _curves(measured: Sequence[tuple[str, str]]) -> Callable[[Report, Log], Html | None]:
    """Return a builder of the learning curves; `measured` are (key, name) of one or two validation metrics."""

    def build(report: Report, log: Log) -> Html | None:
        best, by = _best(report)
        dashed = ("mark", _("best{by}, step {best:,}", by=by, best=best) if best else "")
        losses, checks = series(log, "loss"), validations(log)
        loss, rate = series(checks, "loss"), series(log, "learning_rate")
        kinds = ("model", "second")
        lines = [(kind, series(checks, key)) for kind, (key, _name) in zip(kinds, measured, strict=False)]
        legend = legend_of(*((kind, _(name)) for kind, (_key, name) in zip(kinds, measured, strict=False)), dashed)
        sentence = in_words(_("Validation {metric}", metric=_(measured[0][1])), lines[0][1])
        return panels(
            _("Over optimizer steps."),
            (
                _("Training loss"),
                curves([("faint", losses), ("model", smooth(losses))], in_words(_("Training loss"), losses)),
                _("thin: as logged; thick: moving average"),
            ),
            (_("Validation"), curves(lines, sentence, mark=best), legend),
            (
                _("Validation loss"),
                curves([("model", loss)], in_words(_("Validation loss"), loss), mark=best),
                legend_of(dashed),
            ),
            (_("Learning rate"), curves([("model", rate)], in_words(_("Learning rate"), rate)), None),
        )

    return build


def _best(report: Report) -> tuple[int, str]:
    """Return the best step, 0 where there is none, and by which validation figure it was chosen."""
    training = report.get("training") or {}
    by = training.get("best_by")
    return training.get("best_step") or 0, _(" by {metric}", metric=retold(by)) if by else ""


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
    return (
        _("{name} from {first:.4g} to {last:.4g}", name=name, first=points[0][1], last=points[-1][1])
        if points
        else name
    )


def _data(report: Report, log: Log) -> Html | None:
    data = report.get("data")
    if not data:
        return None
    counts = data.get("counts") or {}
    facts = [
        (_("source"), data.get("source")),
        *((plural(f"{split} {example_of(report)}"), number) for split, number in counts.items()),
        (_("quarantined rows"), data.get("quarantined")),
        (_("fingerprint"), data.get("fingerprint")),
    ]
    found = [tag("li", retold(line)) for line in data.get("found") or []]
    warnings = [tag("li", retold(line)) for line in data.get("warnings") or []]
    return tag(
        "div",
        fact_list(facts),
        [tag("h3", _("What was found")), tag("ul", found)] if found else None,
        [tag("h3", _("Warnings")), tag("ul", warnings, class_="warnings")] if warnings else None,
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
    heads = [tag("th", _(split), scope="colgroup", colspan=2) for split in splits]
    head = tag("tr", tag("th", _("label"), scope="col"), heads)
    return table(_("Texts per label."), head, rows, tall=True)


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
    start = _("random weights, size {size}", size=model.get("base")) if model.get("random_start") else None
    longest, speed = model.get("max_length"), training.get("tokens_per_second")
    facts = [
        (_("base model"), None if model.get("random_start") else model.get("base")),
        (_("initialisation"), start),
        (_("initial embeddings"), {True: _("random"), False: _("word vectors"), None: None}[model.get("random_init")]),
        (_("reason for the base"), _told(model.get("reason"))),
        (_("layers × width"), f"{model['layers']} × {model['hidden']}" if {"layers", "hidden"} <= set(model) else None),
        (_("attention heads"), model.get("heads")),
        (_("positions"), _told(model.get("position"))),
        (_("vocabulary"), model.get("vocabulary")),
        (_("parameters"), model.get("parameters")),
        (_("maximum length"), counted(longest, "token") if longest else None),
        (_("training time"), duration(time) if time is not None else None),
        (_("speed"), _("{tokens:,.0f} tokens/s", tokens=speed) if speed else None),
        (_("tokens"), training.get("tokens")),
        (_("tokens of the base's training"), training.get("tokens_before") or None),
        (_("steps"), training.get("steps")),
        (_("epochs"), training.get("epochs")),
        (_("best step"), f"{best:,}{by}" if best else None),
        (_("stopped"), _told(training.get("stopped"))),
        (_("balance of classes"), _balance(training.get("balance"))),
        (pgettext("numbers", "precision"), training.get("precision")),
        (_("device"), training.get("device")),
        (_("processes"), training.get("processes")),
        (_("baseline"), _told(base.get("name"))),
        (_("baseline time"), duration(base["seconds"]) if base.get("seconds") is not None else None),
        (_("baseline note"), _told(base.get("note") or None)),
    ]
    config = list((training.get("config") or {}).items())
    return tag("div", fact_list(facts), [tag("h3", _("Options")), fact_list(config)] if config else None)


def _told(told: str | None) -> str | None:
    return None if told is None else retold(told)


def _balance(found: Mapping[str, Any] | None) -> str | None:
    """Return the way of balancing classes, with the validation scores of all that were tried."""
    if not found or (found["balance"] == "none" and not found.get("tried")):
        return None
    tried = _(", ").join(f"{how} {each['score']:.4f}" for how, each in (found.get("tried") or {}).items())
    return (
        _("{balance} (validation score: {tried})", balance=found["balance"], tried=tried)
        if tried
        else str(found["balance"])
    )


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
        (_("seed"), training.get("seed")),
        (_("data fingerprint"), (report.get("data") or {}).get("fingerprint")),
        *versions.items(),
    ]
    note = _("The same command, data, seed and versions on the same kind of machine give the same model.")
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


def run_sections(measured: Sequence[tuple[str, str]], first: Command | None = None) -> tuple[Section, ...]:
    """Return the second half of a fine-tuned model's page; `measured` are the validation metrics of the curves.

    `first` is what the task does with its models beside `predict`, the first of the commands to use it.

    >>> [each[0] for each in run_sections([("accuracy", "accuracy")])][:3]
    ['slices', 'calibration', 'abstention']
    """
    return (
        ("slices", N_("Where it errs"), slices_section),
        ("calibration", N_("Calibration"), _calibration),
        ("abstention", N_("Errors by share answered"), selective_section),
        ("unknown", N_("None of the known classes"), unknown_section),
        ("cascade", N_("Cascade"), _cascade),
        ("lengths", N_("Text lengths"), _lengths),
        ("distillation", N_("Student and teacher"), distillation),
        ("few-shot", N_("Few labels"), few_shot_section),
        ("ladder", N_("What was tried"), ladder(*measured[0])),
        ("tuning", N_("Search for options"), tuning),
        ("ensemble", N_("Average of several trainings"), ensemble),
        ("folds", N_("Cross-validation"), cross_validation),
        ("suspects", N_("Doubtful targets"), suspects),
        ("curves", N_("Learning curves"), _curves(measured)),
        ("data", N_("Data"), _data),
        ("training", N_("Model and training"), model_and_training),
        ("reproduce", N_("Reproduce"), reproduction),
        ("next", N_("Next steps"), following(first)),
    )
