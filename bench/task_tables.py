"""The tables of bench/RESULTS.md on questions and summaries, from the records in bench/results/."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from filbert.metrics.intervals import paired_difference_of_means
from filbert.metrics.overlap import FIGURES, means

Row = dict[str, Any]
Records = Callable[[str], list[Row]]
Header = Callable[[str], list[str]]


def made(row: Row) -> str:
    return f"{row['commit']}, {row['date']}"


def cell(rows: Sequence[Row], part: str, figure: str) -> str:
    """Return a figure over seeds, with the interval over questions of the first."""
    found = [row[part][figure] for row in sorted(rows, key=lambda row: int(row["seed"])) if row.get(part)]
    if not found:
        return ""
    values = [100 * each["value"] for each in found]
    spread = f" ± {stdev(values):.1f}, {len(values)} seeds" if len(values) > 1 else ""
    return f"{mean(values):.1f} [{100 * found[0]['low']:.1f}, {100 * found[0]['high']:.1f}]{spread}"


def question_answering(records: Records, header: Header) -> list[str]:
    """Return the tables on questions: EM and F1, and answers a second."""
    rows = records("question_answering.jsonl")
    if not rows:
        return []
    lines = [
        "## Questions on texts",
        "",
        "EM and F1 in percent of questions, by the official rules (characters in Chinese); mean over seeds ± standard",
        "deviation, and of the first seed the 95 % interval over questions. policyqa trains on its dev part and is",
        "tested on other policies, xquad by the same models; cmrc2018 trains on its dev part. Beside Filbert stand a",
        "sliding window of TF-IDF and the question answering recipe of `transformers` from the same base, for as many",
        "passes. The bases never saw a question before, and training sets are small: published figures, after SQuAD's",
        "90,000 questions, are far higher. Where a number of paragraphs is told, each file was sampled.",
        "`python bench/question_answering.py SET [--paragraphs N]`.",
        "",
        *header("test set | base | paragraphs | questions | figure | Filbert | TF-IDF window | transformers | made"),
    ]
    of_set: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if "set" in row:
            of_set[row["set"], row["base"], row["paragraphs"]].append(row)
    for (name, base, paragraphs), found in of_set.items():
        ours, theirs = ([row for row in found if row["who"] == who] for who in ("filbert", "transformers"))
        on = f" (trained on {found[0]['trained_on']})" if "trained_on" in found[0] else ""
        start = "random start, size mini" if base == "mini" else base
        for figure in ("em", "f1"):
            cells = (cell(ours, "scores", figure), cell(ours, "baseline", figure), cell(theirs, "scores", figure))
            about = f"{name}{on} | {start} | {paragraphs or 'all'} | {found[-1]['scores']['n']:,} | {figure.upper()}"
            lines.append(f"| {about} | **{cells[0]}** | {cells[1]} | {cells[2]} | {made(found[-1])} |")
    speeds = [row for row in rows if row.get("part") == "speed"]
    if speeds:
        lines += [
            "",
            "Answers a second of one model: `filbert predict`'s engine, and the padded windows of the recipe of",
            "`transformers`; *same*: share of equal answers. `python bench/question_answering.py speed`.",
            "",
            *header("Filbert in | transformers in | questions | Filbert | transformers | times | same | made"),
        ]
    for row in speeds:
        figures = f"{row['answers_per_second']:.1f} | {row['rival_per_second']:.1f} | **{row['times']:.2f} ×**"
        asked = f"{row['precision']} | {row['rival']} | {row['questions']:,}"
        lines.append(f"| {asked} | {figures} | {100 * row['same']:.1f} % | {made(row)} |")
    return [*lines, ""]


def summarization(records: Records, header: Header) -> list[str]:
    """Return the tables on summaries: ROUGE over all folds, and summaries a second."""
    rows = records("summarization.jsonl")
    if not rows:
        return []
    lines = [
        "## Summaries",
        "",
        "ROUGE-1/2/L in percent (characters in Chinese), 95 % intervals over texts. bbc: news articles, each fold",
        "fitted on four fifths of the texts and measured on the rest, all folds pooled; csl: Chinese abstracts and",
        "their titles, fitted on dev, measured on test. *Lead, as long*: as many first sentences as the model gives.",
        "*Untrained*: the base as it is, by centrality. *Over lead-3*: paired difference in ROUGE-1.",
        "`python bench/summarization.py bbc|csl|speed [--texts N]`.",
        "",
        *header("set, base, passes | summaries by | texts | ROUGE-1 | ROUGE-2 | ROUGE-L | over lead-3 | made"),
    ]
    of_part: dict[tuple[Any, ...], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "figures" in row:
            of_part[row["part"], row["base"], row["epochs"]][row["who"]].append(row)
    for (part, base, epochs), found in of_part.items():
        whole = {
            who: np.concatenate([np.array(row["figures"]) for row in sorted(each, key=lambda row: int(row["fold"]))])
            for who, each in found.items()
        }
        for who, figures_NF in whole.items():
            told, apart = means(figures_NF), "—"
            if who != "lead-3" and figures_NF.shape == whole["lead-3"].shape:
                gap = paired_difference_of_means(figures_NF[:, 0], whole["lead-3"][:, 0])
                apart = f"{100 * gap['value']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
            scores = " | ".join(
                f"{100 * each['value']:.1f} [{100 * each['low']:.1f}, {100 * each['high']:.1f}]"
                for each in map(told.get, FIGURES)
                if each
            )
            about = f"{part}, {base}, {epochs:g} | {who} | {len(figures_NF):,}"
            lines.append(f"| {about} | {scores} | {apart} | {made(found[who][-1])} |")
    for row in rows:
        if "per_second" in row:
            lines += [
                "",
                f"Summaries a second of {row['texts']} articles, one model: {row['per_second']:.1f} by Filbert, "
                f"{row['padded_per_second']:.1f} by a loop of padded batches in `transformers`, "
                f"**{row['times']:.2f} ×**, {100 * row['same']:.1f} % of the summaries the same ({made(row)}).",
            ]
    return [*lines, ""]
