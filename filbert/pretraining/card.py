"""The model card of a pre-trained encoder: README.md beside the weights, as the Hugging Face hub shows it.

Sections: description, scores, data, loss, use, intended use, how it was made. Where no licence of the data was given,
the card asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from filbert.pretraining.page import (
    SECTIONS,
    corpus_rows,
    heading,
    measured_on,
    missing,
    next_commands,
    tokens_of_a_step,
    warning,
    what_it_is,
)
from filbert.report.card import code, escaped, front_matter, how_made, table
from filbert.report.figures import amount, duration, with_interval
from filbert.report.kind import Kind
from filbert.report.page import Log, Report
from filbert.report.sections import series, validations
from filbert.report.words import EXPLAINED, PRETRAINING_METRICS, by_chance, chance_of_pairs

CURVE_ROWS = 10


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "mini", "scores": {"mlm_accuracy": {"value": 0.4, "low": 0.3, "high": 0.5}}}, []).splitlines()[6]
    '# mini'
    """
    name = report.get("name") or "model"
    parts = [front_matter(report, "fill-mask"), f"# {escaped(name)}", _what(report), _scores(report), _data(report)]
    parts += [_curve(report, log), _use(report, name), _intended_use(report), how_made(report), _settings(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(report: Report) -> str:
    training, model = report.get("training") or {}, report.get("model") or {}
    lines = [escaped(what_it_is(report))]
    if {"layers", "hidden", "parameters"} <= set(model):
        shape = f"{model['layers']} layers of width {model['hidden']}, {amount(model['parameters'])} weights"
        vocabulary = f", a vocabulary of {model['vocabulary']:,} tokens" if model.get("vocabulary") else ""
        lines.append(f"It has {shape}{vocabulary}.")
    if training.get("tokens") and training.get("seconds") is not None:
        epochs = f", {training['epochs']:.3g} epochs," if training.get("epochs") else ""
        seen = f"It was trained on {amount(training['tokens'])} tokens{epochs} in {duration(training['seconds'])}"
        earlier = training.get("tokens_before")
        lines.append(f"{seen}, after {amount(earlier)} of its base." if earlier else f"{seen}.")
    return " ".join([*lines, "Made with Filbert."])


def _scores(report: Report) -> str:
    vocabulary = (report.get("model") or {}).get("vocabulary") or 0
    rows: list[Sequence[str]] = [("", "held-out text", "by chance", "meaning")]
    for key, name, percent in PRETRAINING_METRICS:
        if report["scores"].get(key):
            shown = with_interval(report["scores"][key], percent)
            rows.append((name, shown, by_chance(key, vocabulary, chance_of_pairs(report)), EXPLAINED[key]))
    notes = f"In brackets: 95 % intervals. {measured_on(report)} {warning(report)}".rstrip()
    return "\n".join(["## Scores", "", *table(rows, (1,)), "", notes])


def _data(report: Report) -> str:
    data = report.get("data") or {}
    rows = [[escaped(cell) for cell in row] for row in corpus_rows(report)]
    counted = [*table(rows, range(1, 7)), ""] if rows else []
    missing = "**to be filled in before the model is shared: name each corpus and its terms**"
    licence = escaped(data["licence"]) if data.get("licence") else missing
    return "\n".join(["## Data", "", *counted, f"Licence of the data: {licence}"])


def _curve(report: Report, log: Log) -> str:
    """Return a table of the losses, of ten lines; the training loss is the mean since the line before."""
    losses, checks = series(log, "loss"), series(validations(log), "loss")
    per_step, unit = tokens_of_a_step(report)
    if not losses:
        return ""
    steps = [step for step, _ in checks] or [step for step, _ in losses]
    held_out = dict(checks)
    chosen = sorted({steps[round(i * (len(steps) - 1) / max(CURVE_ROWS - 1, 1))] for i in range(CURVE_ROWS)})
    rows: list[Sequence[str]] = [(unit, "training loss", "held-out loss")]
    before = 0.0
    for step in chosen:
        part = [loss for at, loss in losses if before < at <= step]
        mean = f"{sum(part) / len(part):.3f}" if part else "—"
        rows.append(
            (f"{step * per_step:,.{2 * (per_step < 1)}f}", mean, f"{held_out[step]:.3f}" if step in held_out else "—")
        )
        before = step
    note = "Loss in nats; the training loss is the mean since the line above. Curves: `report.html` in this folder."
    return "\n".join(["## Loss", "", *table(rows, range(3)), "", note])


def _use(report: Report, name: str) -> str:
    path = json.dumps(code(name), ensure_ascii=False)
    lines = [
        "## Use",
        "",
        "With Filbert, beside this folder:",
        "",
        "```sh",
        *(code(command) for _, command in next_commands(report)),
        "```",
        "",
        "With transformers:",
        "",
        "```python",
        "from transformers import AutoModel, AutoTokenizer, BertForPreTraining",
        "",
        f"folder = {path}",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "encoder = AutoModel.from_pretrained(folder)  # the encoder alone",
        "model = BertForPreTraining.from_pretrained(folder)  # with its pre-training heads",
        'batch = tokenizer("A text with a [MASK] in it.", return_tensors="pt")',
        "logits = model(**batch).prediction_logits",
        'print(tokenizer.decode(logits[batch["input_ids"] == tokenizer.mask_token_id].argmax(-1)))',
        "```",
    ]
    return "\n".join(lines)


def _intended_use(report: Report) -> str:
    config: Mapping[str, Any] = (report.get("training") or {}).get("config") or {}
    good = [
        "- Fine-tuning: classifiers of texts like those it was trained on.",
        "- Continued pre-training on the texts of a domain.",
        "- Fill mask, and studying what a language model of this size has learned.",
    ]
    bad = [
        "- Classification without fine-tuning: it has no labels. Fine-tune it and measure that model.",
        "- Text generation, answering from memory, or comparing texts by their vectors: it was not trained for these.",
        "- Languages and kinds of text that its corpora do not hold.",
        "- It reproduces what its texts say, with their mistakes and prejudices.",
    ]
    if config.get("next_sentence") is False:
        bad.append("- Next sentence prediction: that head was not trained in this run.")
    return "\n".join(["## Intended use", "", *good, "", "## Out of scope", "", *bad])


def _settings(report: Report) -> str:
    config: Mapping[str, Any] = (report.get("training") or {}).get("config") or {}
    shown = [f"`{code(name)}` {escaped(value)}" for name, value in config.items() if value is not None]
    return f"Settings: {', '.join(shown)}." if shown else ""


NAME = "pretrain"
"""The `task` in report.json."""
KIND = Kind(missing, heading, SECTIONS, card)
"""How a pre-training run is reported."""
