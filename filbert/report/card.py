"""Parts of every model card: the hub's front matter, escaping for Markdown, how the model was made.

Text from the data (labels, names) is escaped, as Markdown may hold HTML. score_card.py and each task add their parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from filbert.errors import counted
from filbert.report.distillation import distilled_from
from filbert.report.figures import duration
from filbert.report.html import plain
from filbert.report.kind import Metric
from filbert.report.page import Report
from filbert.report.words import main_split

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def front_matter(report: Report, kind: str, metrics: Sequence[Metric] = (), code: str = "") -> str:
    """Return the YAML front matter for the hub; `kind` is the pipeline tag, `metrics` are those that the hub knows.

    `code` is the hub's library of the model, "transformers" where that opens it. Strings are JSON, which is YAML, too.

    >>> report = {"model": {"base": "google-bert/bert-base-chinese"}, "data": {"languages": ["zh"]}}
    >>> print(front_matter(report, "fill-mask"))
    ---
    library_name: transformers
    pipeline_tag: fill-mask
    tags: [filbert, bert]
    language: ["zh"]
    base_model: "google-bert/bert-base-chinese"
    ---
    """
    base = (report.get("model") or {}).get("base") or ""
    languages = (report.get("data") or {}).get("languages")
    lines = [f"library_name: {code or 'transformers'}", f"pipeline_tag: {kind}", "tags: [filbert, bert]"]
    if languages:
        lines.append(f"language: {json.dumps(languages)}")
    if HUB_ID.fullmatch(base):
        lines.append(f"base_model: {json.dumps(base)}")
    scores = report["scores"][main_split(report)] if metrics else {}
    known = [metric for metric in metrics if metric.hub and (scores.get(metric.key) or {}).get("value") is not None]
    if known:
        lines.append(f"metrics: {json.dumps(sorted({metric.hub for metric in known}))}")
        lines += _model_index(report, kind, known)
    return "\n".join(["---", *lines, "---"])


def _model_index(report: Report, kind: str, metrics: Sequence[Metric]) -> list[str]:
    """Return the figures of the split that is shown first, as the hub's leaderboards and pages read them."""
    split, data = main_split(report), report.get("data") or {}

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("<", r"\u003c")  # YAML reads it back; no HTML in Markdown

    lines = ["model-index:", f"- name: {quoted(plain(str(report.get('name') or 'model')))}", "  results:", "  - task:"]
    lines += [f"      type: {kind}", "    dataset:", f"      name: {quoted(plain(Path(str(data.get('source'))).name))}"]
    lines += ["      type: private", f"      split: {split}", "    metrics:"]
    for metric in metrics:
        value = json.dumps(report["scores"][split][metric.key]["value"])
        lines += [f"    - type: {metric.hub}", f"      value: {value}", f"      name: {quoted(metric.name)}"]
    return lines


def escaped(text: object) -> str:
    r"""Return text escaped for Markdown: no markup, HTML, table cell or line break.

    >>> print(escaped("<script>|*x*"))
    &lt;script&gt;\|\*x\*
    """
    marked = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", plain(str(text)))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: object) -> str:
    """Return text that cannot leave a code block: one line, no backticks.

    >>> code("a```b")
    "a'''b"
    """
    return plain(str(text)).replace("`", "'")


def table(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Return the lines of a Markdown table, the header first, the columns in `right` right-aligned.

    >>> table([("loss", "step"), ("2.5", "10")], [1])
    ['| loss | step |', '| --- | ---: |', '| 2.5 | 10 |']
    """
    rule = ["---:" if i in right else "---" for i in range(len(rows[0]))]
    return ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]


def how_made(report: Report) -> str:
    """Return the section on how the model was made (command, seed, steps, time, versions), or an empty string.

    >>> how_made({"training": {"steps": 1200}}).splitlines()[-1]
    '1,200 steps.'
    """
    training, versions = report.get("training") or {}, report.get("versions") or {}
    lines: Sequence[str] = []
    if training.get("command"):
        lines = ["```sh", code(training["command"]), "```", ""]
    seed = training.get("seed", (training.get("config") or {}).get("seed"))
    facts = [f"seed {seed}"] if seed is not None else []
    facts += [counted(training["steps"], "step")] if training.get("steps") else []
    facts += [duration(training["seconds"])] if training.get("seconds") is not None else []
    facts += [f"on {escaped(training['device'])}"] if training.get("device") else []
    facts += [f"{escaped(name)} {escaped(version)}" for name, version in versions.items()]
    taught = [escaped(line) for line in distilled_from(report)]
    if not lines and not facts and not taught:
        return ""
    made = [", ".join(facts) + "."] if facts else []
    return "\n".join(["## How it was made", "", *lines, *made, *(["", *taught] if taught else [])]).rstrip()
