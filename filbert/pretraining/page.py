"""The report page of a pre-training run.

    header · summary · scores · curves · data · training · reproduce · next

report/page.py makes the frame, report/sections.py the sections on settings and reproduction. The x axis of the curves
is tokens, of which each step has about equally many. No numbers are computed here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.charts import curves, interval_bar, legend_of, smooth
from filbert.report.figures import amount, duration, interval_of, share_of, value_of, with_interval
from filbert.report.html import Html, plain, table, tag
from filbert.report.page import Log, Report, Section, header
from filbert.report.sections import fact_list, in_words, model_and_training, panels, reproduction, series
from filbert.report.sections import validations as held_out_lines
from filbert.report.words import EXPLAINED, PRETRAINING_METRICS, by_chance, chance_of_pairs

MANY_TOKENS = 2_000_000  # from here on the x axis counts millions
COUNTS = ("documents", "duplicates", "sentences", "tokens", "unknown")  # of a corpus, as in its shards' manifest


def missing(report: Report) -> str:
    """Return what the report of a pre-trained model lacks, as the end of a message, or an empty string.

    >>> missing({"scores": {"mlm_accuracy": {"value": 0.4, "low": 0.39, "high": 0.41}}})
    ''
    """
    scores = report.get("scores")
    known = isinstance(scores, dict) and isinstance(scores.get("mlm_accuracy"), dict)
    return "" if known else "has no scores on masked tokens — run the pre-training command again"


def heading(report: Report) -> Html:
    """Return the header of the page: name, initialisation, size, corpora, tokens.

    >>> "11.2 million weights" in heading({"model": {"parameters": 11_171_074}})
    True
    """
    model, training, found = report.get("model") or {}, report.get("training") or {}, corpora(report)
    parts = [start_of(report)] if model.get("base") else []
    parts += [_("{amount} weights", amount=amount(model["parameters"]))] if model.get("parameters") else []
    parts += [counted(len(found), "corpus", "corpora")] if found else []
    parts += [_("{amount} tokens of training", amount=amount(training["tokens"]))] if training.get("tokens") else []
    return header(N_("pre-training"), report, parts)


def start_of(report: Report) -> str:
    """Return what a run started from, for people.

    >>> start_of({"model": {"base": "mini", "random_start": True}})
    'size mini, from random weights'
    """
    model = report.get("model") or {}
    if model.get("random_start"):
        vectors = _(" and word vectors") if model.get("random_init") is False else ""
        return _("size {size}, from random weights{vectors}", size=model.get("base"), vectors=vectors)
    return _("pre-trained further from {base}", base=model.get("base"))


def corpora(report: Report) -> list[Mapping[str, Any]]:
    """Return the facts of each corpus in report.json, in the order of the command.

    >>> corpora({"data": {"corpora": [{"corpus": "wiki"}]}})
    [{'corpus': 'wiki'}]
    """
    return [each for each in (report.get("data") or {}).get("corpora") or [] if isinstance(each, Mapping)]


def corpus_rows(report: Report) -> list[tuple[str, ...]]:
    """Return the table of corpora, its header first, with a line of sums where there are several.

    >>> corpus_rows({"data": {"corpora": [{"corpus": "wiki", "tokens": 2000, "unknown": 10, "weight": 2.0}]}})[1]
    ('wiki', '—', '—', '—', '2,000', '2', '0.5 %')
    """
    found = corpora(report)
    rows: list[tuple[str, ...]] = [
        (
            *(_("corpus"), _("documents"), _("duplicates left out"), _("sentences"), _("tokens")),
            *(_("weight"), _("unknown tokens")),
        )
    ]
    rows += [_corpus_row(str(each.get("corpus") or "?"), each) for each in found]
    if len(found) > 1:
        rows.append(_corpus_row(_("together"), {key: sum(each.get(key) or 0 for each in found) for key in COUNTS}))
    return rows if found else []


def _corpus_row(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    counts = [f"{facts[key]:,}" if key in facts else "—" for key in COUNTS[:4]]
    weight = f"{facts['weight']:g}" if "weight" in facts else ""
    unknown = share_of(facts["unknown"], facts.get("tokens") or 0) if "unknown" in facts else "—"
    return (name, *counts, weight, unknown)


def _summary(report: Report, log: Log) -> Html:
    training, model = report.get("training") or {}, report.get("model") or {}
    speed, seconds = training.get("tokens_per_second"), training.get("seconds")
    known = {"layers", "hidden"} <= set(model)
    shape = _("{layers} layers, width {hidden}", layers=model["layers"], hidden=model["hidden"]) if known else ""
    epochs = _("{epochs:.3g} epochs", epochs=training["epochs"]) if training.get("epochs") else ""
    where = _("on {device}", device=training["device"]) if training.get("device") else ""
    cards = [
        _big(_("Weights"), amount(model["parameters"]), shape) if model.get("parameters") else None,
        _big(_("Tokens of training"), amount(training["tokens"]), epochs) if training.get("tokens") else None,
        _big(_("Training time"), duration(seconds), where) if seconds is not None else None,
        _big(_("Speed"), f"{speed:,.0f}", _("tokens per second, validation included")) if speed else None,
    ]
    banner = tag("p", warning(report), class_="verdict worse") if warning(report) else None
    return tag("div", banner, tag("p", what_it_is(report)), tag("div", cards, class_="cards"))


def what_it_is(report: Report) -> str:
    """Return one or two sentences on what this model is and was trained to do.

    >>> what_it_is({"model": {"base": "mini", "random_start": True}, "scores": {}})
    'A BERT encoder pre-trained to predict masked tokens: size mini, from random weights.'
    """
    encoder = _("A BERT encoder pre-trained to predict masked tokens")
    if "nsp_accuracy" in report["scores"]:
        encoder = _("A BERT encoder pre-trained to predict masked tokens and whether one passage follows another")
    if (report.get("model") or {}).get("base"):
        encoder = _("{encoder}: {start}", encoder=encoder, start=start_of(report))
    documents = sum(each.get("documents") or 0 for each in corpora(report))
    tokens = sum(each.get("tokens") or 0 for each in corpora(report))
    said = _("{sentence}.", sentence=encoder)
    if not tokens:
        return said
    return said + _(
        " Its corpora hold {documents} documents, {tokens} tokens.", documents=amount(documents), tokens=amount(tokens)
    )


def warning(report: Report) -> str:
    """Return a warning where NSP is not measurably better than always one class, else an empty string.

    >>> warning({"scores": {"nsp_accuracy": {"value": 0.505, "low": 0.49, "high": 0.52}}})
    'Next sentence prediction has not been learned: 50.5 % (49.0–52.0), and chance is 50 %.'
    """
    found = report["scores"].get("nsp_accuracy")
    chance = chance_of_pairs(report)
    if not found or found.get("value") is None or found["low"] > chance:
        return ""
    return _(
        "Next sentence prediction has not been learned: {share}, and chance is {level}.",
        share=with_interval(found, True),
        level=by_chance("nsp_accuracy", 0, chance),
    )


def _big(name: str, value: str, below: str) -> Html:
    return tag("div", tag("h3", name), tag("p", value, class_="big"), tag("p", below, class_="interval"), class_="card")


def _scores(report: Report, log: Log) -> Html:
    scores, vocabulary = report["scores"], (report.get("model") or {}).get("vocabulary") or 0
    pairs = chance_of_pairs(report)
    cards = []
    for key, english, percent in PRETRAINING_METRICS:
        if scores.get(key):
            name = _(english)
            chance = {"mlm_accuracy": 1 / vocabulary if vocabulary else None, "nsp_accuracy": pairs}.get(key)
            cards.append(
                tag(
                    "div",
                    tag("h3", name[0].upper() + name[1:]),
                    tag("p", value_of(scores[key], percent), class_="big"),
                    tag("p", interval_of(scores[key], percent), class_="interval"),
                    interval_bar(scores[key], 0, chance) if percent else None,
                    tag("p", _(EXPLAINED[key]), class_="beside"),
                    tag("p", _("By chance: {level}.", level=by_chance(key, vocabulary, pairs)), class_="beside"),
                    class_="card",
                )
            )
    return tag("div", tag("div", cards, class_="cards"), tag("p", measured_on(report), class_="note"))


def measured_on(report: Report) -> str:
    """Return a sentence on what the scores were measured on.

    >>> measured_on({"scores": {"mlm_accuracy": {"n": 1500}}, "data": {"held_out_tokens": 10_000}})
    'Measured with the saved weights on 10,000 tokens of text held out from training, 1,500 of them masked.'
    """
    scores, tokens = report["scores"], (report.get("data") or {}).get("held_out_tokens")
    masked = scores["mlm_accuracy"].get("n")
    first = _("Measured with the saved weights on text held out from training")
    if tokens:
        first = _("Measured with the saved weights on {tokens:,} tokens of text held out from training", tokens=tokens)
    first += _(", {masked:,} of them masked", masked=masked) if masked else ""
    pairs, texts = (
        (scores.get(key) or {}).get(n) for key, n in (("nsp_accuracy", "n"), ("pseudo_perplexity", "texts"))
    )
    more = [_("NSP on {pairs}", pairs=counted(pairs, "pair"))] if pairs else []
    more += [_("pseudo-perplexity on {texts}", texts=counted(texts, "short text"))] if texts else []
    return _("{sentence}.", sentence=_("; ").join([first, *more]))


def _curves(report: Report, log: Log) -> Html | None:
    training = report.get("training") or {}
    per_step, unit = tokens_of_a_step(report)
    best = training.get("best_step")
    mark = best * per_step if best else None
    checks = held_out_lines(log)

    def line(lines: Log, key: str) -> list[tuple[float, float]]:
        return [(step * per_step, value) for step, value in series(lines, key)]

    losses, held_out, rate = line(log, "loss"), line(checks, "loss"), line(log, "learning_rate")
    mlm, nsp = line(checks, "mlm_accuracy"), line(checks, "nsp_accuracy")
    level = chance_of_pairs(report)
    chance = [(nsp[0][0], level), (nsp[-1][0], level)] if nsp else []
    dashed = ("mark", _("lowest held-out loss, step {best:,}: kept", best=best) if best else "")
    note = _("From left to right: {unit}. Loss in nats, of masked tokens.")
    if nsp:
        note = _("From left to right: {unit}. Loss in nats, masked tokens and sentence pairs together.")
    caption = _("; ").join([in_words(_("Training loss"), losses), in_words(_("held-out loss"), held_out)])
    keys = (("model", _("training, mean of the steps around")), ("second", _("held out")), dashed)
    lines = [("faint", losses), ("model", smooth(losses)), ("second", held_out)]
    return panels(
        note.format(unit=unit),
        (_("Loss"), curves(lines, caption, mark=mark), legend_of(*keys)),
        (_("MLM accuracy, held out"), curves([("model", mlm)], in_words(_("MLM accuracy"), mlm), mark=mark), None),
        (
            _("NSP accuracy, held out"),
            curves([("chance", chance), ("model", nsp)], in_words(_("NSP accuracy"), nsp), mark=mark) if nsp else None,
            legend_of(("chance", _("chance, {level}", level=by_chance("nsp_accuracy", 0, level)))),
        ),
        (_("Learning rate"), curves([("model", rate)], in_words(_("Learning rate"), rate)), None),
    )


def tokens_of_a_step(report: Report) -> tuple[float, str]:
    """Return the factor from steps to the unit of the x axis, and that unit: (million) tokens, or steps.

    >>> tokens_of_a_step({"training": {"steps": 100, "tokens": 4_000_000}})
    (0.04, 'million tokens')
    """
    training = report.get("training") or {}
    steps, tokens = training.get("steps"), training.get("tokens")
    if not steps or not tokens:
        return 1, _("optimizer steps")
    return (tokens / steps / 1e6, _("million tokens")) if tokens >= MANY_TOKENS else (tokens / steps, _("tokens"))


def _data(report: Report, log: Log) -> Html | None:
    rows = corpus_rows(report)
    if not rows:
        return None
    body = [
        tag("tr", tag("th", name, scope="row"), [tag("td", cell) for cell in cells], class_=_row_class(rows, i))
        for i, (name, *cells) in enumerate(rows[1:], 1)
    ]
    head = tag("tr", [tag("th", name, scope="col") for name in rows[0]])
    caption = _(
        "Weight: how often an epoch reads the corpus. Unknown tokens: [UNK], which the vocabulary has no piece for."
    )
    data = report.get("data") or {}
    facts = [(_("held-out tokens"), data.get("held_out_tokens")), (_("licence of the data"), data.get("licence"))]
    return tag("div", table(caption, head, body, tall=True), fact_list(facts))


def _row_class(rows: Sequence[object], i: int) -> str | None:
    return "sum" if len(rows) > 2 and i == len(rows) - 1 else None


def next_commands(report: Report) -> list[tuple[str, str]]:
    """Return commands that use the model, each after a comment.

    >>> next_commands({"name": "my mini", "scores": {}})[0][1]
    "filbert fit your.csv --base 'my mini'"
    """
    base = shlex.quote(plain(str(report.get("name") or "model")))
    found = [
        (_("fine-tune on labelled texts"), f"filbert fit your.csv --base {base}"),
        (_("fill mask"), f'filbert fill "… [MASK] …" --base {base}'),
    ]
    if "nsp_accuracy" in report["scores"]:
        found.append((_("next sentence prediction"), f'filbert next "A" "B" --base {base}'))
    return found


def _next(report: Report, log: Log) -> Html:
    lines = [f"{command}  # {why}" for why, command in next_commands(report)]
    note = _(
        "Run these beside this folder. In transformers the model opens with AutoModel.from_pretrained: see README.md."
    )
    blocks = [tag("pre", tag("code", line)) for line in lines]
    return tag("div", blocks, tag("p", note, class_="note"))


SECTIONS: tuple[Section, ...] = (
    ("summary", N_("Summary"), _summary),
    ("scores", N_("Scores"), _scores),
    ("curves", N_("Learning curves"), _curves),
    ("data", N_("Corpora"), _data),
    ("training", N_("Model and training"), model_and_training),
    ("reproduce", N_("Reproduce"), reproduction),
    ("next", N_("Next steps"), _next),
)
