"""Parts of every model card: the hub's front matter, escaping for Markdown, how the model was made.

Text from the data (labels, names) is escaped, as Markdown may hold HTML. score_card.py and each task add their parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

from filbert.errors import counted
from filbert.report.html import plain
from filbert.report.page import Report
from filbert.report.words import duration

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def front_matter(report: Report, kind: str) -> str:
    """Return the YAML front matter for the hub; `kind` is the pipeline tag.

    >>> front_matter({"model": {"base": "google-bert/bert-base-chinese"}}, "fill-mask").splitlines()[-2]
    'base_model: "google-bert/bert-base-chinese"'
    """
    base = (report.get("model") or {}).get("base") or ""
    lines = ["library_name: transformers", f"pipeline_tag: {kind}", "tags: [filbert, bert]"]
    if HUB_ID.fullmatch(base):
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join(["---", *lines, "---"])


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
    if not lines and not facts:
        return ""
    return "\n".join(["## How it was made", "", *lines, ", ".join(facts) + "." if facts else ""]).rstrip()
