"""Write bench/RESULTS.md, and the tables of both READMEs (readme.py), from the records in bench/results/."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import readme
from scipy.stats import t as student
from scipy.stats import ttest_ind
from shape_sets import RECIPE_RATE, SETS
from task_tables import question_answering, summarization

HERE = Path(__file__).resolve().parent
WITHOUT_BF16 = "on a processor that multiplies bf16 by emulation only (AVX2), so in fp32"
FIGURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "class_1_f1": "F1 1",
    "pearson": "Pearson",
    "spearman": "Spearman",
}
HEAD = """# Results

Written by `python bench/tables.py` from the records in `bench/results/`; nothing here is typed by hand. Machines are
noisy and shared, so compare ratios of one run, not seconds of two.
"""


def records(name: str) -> list[dict[str, Any]]:
    path = HERE / "results" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def percent(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.2f} [{100 * found['low']:.2f}, {100 * found['high']:.2f}]"


def header(columns: str) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {columns} |", "|---" * (columns.count(" | ") + 1) + "|"]


def made(row: dict[str, Any]) -> str:
    """Say which commit made a record, and when."""
    return f"{row['commit']}, {row['date']}"


def accuracy() -> list[str]:
    lines = [
        "## Accuracy of the default recipe",
        "",
        "Official test splits, base `minilm`, nothing tuned per set, 95 % bootstrap intervals. The baseline is TF-IDF",
        "+ logistic regression on the same texts. Tokens/s are real ones, validation passes included in the time.",
        "",
        *header("set | train / test | epochs | accuracy | baseline | difference | training | tokens/s | seed | made"),
    ]
    for row in records("accuracy.jsonl"):
        training, counts, gap = row["training"], row["counts"], row["difference"]
        lines.append(
            f"| {row['set']}{row.get('note', '')} | {counts['train']:,} / {counts['test']:,} | {training['epochs']:g} "
            f"| **{percent(row['test'])}** | {percent(row['baseline'])} "
            f"| {100 * gap['value']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}] "
            f"| {training['seconds'] / 60:.1f} min | {training['tokens_per_second']:,.0f} | {row['seed']} "
            f"| {made(row)} |"
        )
    return [*lines, "", "`python bench/accuracy.py SET` makes a row: it fits the set as `filbert fit` does.", ""]


def shapes() -> list[str]:
    """Return a line for each figure of each set: Filbert, its linear baseline, transformers at one rate and another."""
    rows = records("shapes.jsonl")
    if not rows:
        return []
    lines = [
        "## Every shape of text classification",
        "",
        "Mean over seeds ± their standard deviation, and of the first seed the 95 % bootstrap interval over test",
        "texts; all times 100. F1 1 is the F1 of class 1. Beside Filbert stand the TF-IDF model of its report and",
        "what the example scripts of `transformers` do: its Trainer, 32 texts a step, fp32, a straight line to zero,",
        "the weights of the last step, labels from probability 0.5; from the same base, on the same splits, for as",
        "many epochs, at the rate of their README, 2e-5, and once more at a higher one. Filbert has its default rate,",
        "and chooses its best step on the validation texts. Where a set has no validation part, a tenth of its",
        "training texts is held out; unfair_tos trains on three groups of contracts, chooses by a fourth and tests on",
        "a fifth. `python bench/shapes.py SET [--texts N]` makes the rows of a set. What was left out was timed on",
        "one thread beside other work: no measure of speed.",
        "",
        *header(
            "set | train / test | base | epochs | figure | Filbert | linear | transformers, its rate "
            "| transformers, higher rate | made"
        ),
    ]
    for name in SETS:
        found = [row for row in rows if row["set"] == name]
        for texts in sorted({row.get("texts") for row in found}, key=lambda n: -(n or 10**9)):
            lines += shape_of(name, [row for row in found if row.get("texts") == texts])
    return [*lines, ""]


def shape_of(name: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a set, one for each figure."""
    shape, last = SETS[name], rows[-1]
    ours = [row for row in rows if row["who"] == "filbert"]
    theirs = [row for row in rows if row["who"] == "transformers"]
    plain = [row for row in theirs if row["learning_rate"] == RECIPE_RATE]
    higher = {row["learning_rate"] for row in theirs} - {RECIPE_RATE}
    other = [row for row in theirs if row["learning_rate"] == max(higher)] if higher else []
    linear = [row["baseline"] for row in ours if row.get("baseline")][-1:]
    counts = f"{last['counts']['train']:,} / {last['counts']['test']:,}"
    counts += " sampled" if last.get("texts") else ""
    return [
        f"| {name}: {shape.kind} | {counts} | {shape.base} | {shape.epochs:g} | {FIGURES[figure]} "
        f"| {side(ours, figure, best=True)} | {percent(linear[0][figure]) if linear else ''} "
        f"| {side(plain, figure)} | {side(other, figure)} | {made(last)} |"
        for figure in shape.figures
    ]


def side(rows: Sequence[dict[str, Any]], figure: str, *, best: bool = False) -> str:
    """Return the cell of one side: its figure over seeds, or why there is none."""
    done = sorted((row for row in rows if not row["left_out"]), key=lambda row: int(row["seed"]))
    if not done:
        speed = (rows[-1].get("training") or {}).get("tokens_per_second") if rows else None
        return f"left out: {rows[-1]['left_out']}{f' ({speed:,.0f} tokens/s)' if speed else ''}" if rows else ""
    first = done[0]["scores"][figure]
    score, rate = over_seeds([row["scores"][figure]["value"] for row in done]), rate_of(done[0])
    seeds = "1 seed" if len(done) == 1 else f"{len(done)} seeds"
    interval = f"[{100 * first['low']:.2f}, {100 * first['high']:.2f}]"
    return f"{f'**{score}**' if best else score} {interval}, {seeds}{rate}"


def rate_of(row: dict[str, Any]) -> str:
    """Say at which peak rate a row was trained, and by which optimizer where it is not AdamW."""
    config = row["training"].get("config") or {}
    rate, optimizer = row["learning_rate"] or config.get("learning_rate"), config.get("optimizer")
    note = f", at {rate:.0e}".replace("e-0", "e-") if rate else ""
    return note + (f" by {optimizer}" if optimizer not in (None, "adamw") else "")


def train_speed() -> list[str]:
    rows = records("train_speed.jsonl")
    newest = {(row["bf16"], row.get("shape", "minilm"), row.get("mix", "long")): row for row in rows}
    lines = [
        "## Training speed beside `transformers`",
        "",
        "MiniLM-L6 is 6 × 384 wide, mini 4 × 256, base 12 × 768. Texts: long is IMDb cut at 512 tokens, middle",
        "sentences of contracts, short SST-2. Same texts and weights, one process, alternating runs; medians, also of",
        "the ratios. `python bench/train_speed.py --write` makes a row, with `--shape` and `--mix`.",
        "",
    ]
    for (bf16, shape, mix), row in sorted(newest.items(), key=lambda entry: not entry[0][0]):
        length, where = row["tokens"] / row["texts"], "" if bf16 else f" {WITHOUT_BF16}"
        lines.append(f"**{shape}, {mix} texts** ({length:.0f} tokens on average), {row['batch']} a step{where}")
        lines += [*speeds([row]), *beside_tuned([row]), *of_peak(row)]
    return lines


def of_peak(row: dict[str, Any]) -> list[str]:
    found = row.get("of_peak")
    if not found:
        return []
    plain, made = (f"{100 * found[key]:.0f} %" for key in ("plain", "made"))
    peak = "bf16" if row["bf16"] else "fp32"
    said = f"Of the {peak} product peak: {plain} by the products of a plain BERT, {made} by those that are made, as a"
    share = f" Reading, tokenising and packing: {row['reading']:.1%} of an epoch." if "reading" in row else ""
    return [said, f"classifier needs little of its last layer.{share}", ""]


def train_accuracy() -> list[str]:
    sets = grouped(records("train_accuracy.jsonl"), "set")
    if not sets:
        return []
    lines = [
        "**The same accuracy?** Both sides from `minilm`, as many passes over the same texts at the same rates, test",
        "accuracy of each seed, mean ± standard deviation; time with validation. `python bench/train_accuracy.py SET`.",
        "",
        *header("set | loop | accuracy | each seed | training | made"),
    ]
    for rows in (of_side for of_set in sets for of_side in grouped(of_set, "base")):
        last, values = rows[-1], [row["accuracy"]["value"] for row in rows]
        timed = [row["training"]["seconds"] for row in rows if row["training"]["seconds"]]  # none: not a quiet machine
        took = f"{mean(timed) / 60:.1f} min" if timed else "not timed"
        lines.append(
            f"| {last['set']} | {last['base']} | **{over_seeds(values)}** "
            f"| {', '.join(f'{100 * value:.2f}' for value in values)} | {took} "
            f"| {made(last)} |"
        )
    return [*lines, ""]


def cascade() -> list[str]:
    newest = {(row["set"], row["precision"], bool(row["pseudo_labelled"])): row for row in records("cascade.jsonl")}
    if not newest:
        return []
    lines = [
        "## The cascade",
        "",
        "`fit --cascade`: at most so many points of accuracy lost, with 95 % confidence; measured on test",
        "texts that the promise was not fitted on, both sides from strings, lost points with their 95 % interval.",
        "*Trained also on*: BERT's predictions for unlabelled texts. `python bench/cascade.py SET`.",
        "",
        *header("set, BERT in | test texts | BERT alone | linear alone | tolerance | by linear | speed | lost | made"),
    ]
    for row in newest.values():
        taught = f", trained also on {row['pseudo_labelled']:,}" if row["pseudo_labelled"] else ""
        for one in row["cascades"]:
            lost = one["lost"]
            low, high = (100 * lost[key] for key in ("low", "high"))
            lines.append(
                f"| {row['set']}, {row['precision']}{taught} | {row['texts']:,} | {100 * row['accuracy']:.2f} "
                f"| {100 * row['front']:.2f} | {one['points']:g} | {one['share']:.0%} | {one['speedup']:.1f} × "
                f"| {100 * lost['value']:+.2f} [{low:+.2f}, {high:+.2f}] | {made(row)} |"
            )
    return [*lines, ""]


def deletion() -> list[str]:
    found = records("deletion.jsonl")
    if not found:
        return []
    lines = [
        "## Explanations: the deletion test",
        "",
        "By how many points the probability of the predicted class falls on reviews of IMDb, once without the words",
        "that `filbert explain` calls most important, once without as many at random (mean of 5 draws), with 95 %",
        "intervals over texts; they matter at least three times as much where the last figure is above 0. *Sum off*:",
        "how far the weights' sum is from the change of the output, 99th percentile.",
        "`python bench/deletion.py MODEL TEXTS`.",
        "",
        *header(
            "model, way | texts | words | without the important | at random | less three times that | sum off | made"
        ),
    ]
    for row in found:
        falls = " | ".join(percent(row[key]) for key in ("important", "random", "above_three_times"))
        lines.append(
            f"| {row['base']}, {row['max_length']} tokens, {row['by']} | {row['texts']:,} | {row['words']} | {falls} "
            f"| {100 * row['gap_99']:.1f} % | {made(row)} |"
        )
    return [*lines, ""]


def memory() -> list[str]:
    rows = records("memory.jsonl")
    if not rows:
        return []
    last = rows[-1]
    lines = [
        "## Memory of scoring a file",
        "",
        "`filbert predict MODEL rows.csv`, a model of a few layers, texts of 5 to 29 words; `python bench/memory.py`.",
        "",
        *header("rows | largest resident size | rows/s | made"),
    ]
    for count, size, speed in zip(last["rows"], last["megabytes"], last["rows_per_second"], strict=True):
        shown = "" if speed is None else f"{speed:,.0f}"  # not shown where other work ran beside
        lines.append(f"| {count:,} | {size:,.0f} MB | {shown} | {made(last)} |")
    return [*lines, ""]


def batch_scoring() -> list[str]:
    rows = records("batch_scoring.jsonl")
    if not rows:
        return []
    lines = [
        "## A million rows from file to file",
        "",
        "`filbert predict MODEL rows.csv -o out.csv`, texts of 3 to 12 words; beside the engine's own speed on",
        "20,000 of them in memory, measured just before; `python bench/batch_scoring.py`.",
        "",
        *header("rows | model | precision | processes | largest size | its weights | rows/s | of the engine's | made"),
    ]
    for row in rows:
        size = f"{row['megabytes']:,} MB | {row['model']:,} MB"
        speed = f"{row['rows_per_second']:,.0f} | {row['rows_per_second'] / row['engine']:.2f} ×"
        about = f"{row['rows']:,} | {row['base']} | {row['precision']} | {row['processes']}"
        lines.append(f"| {about} | {size} | {speed} | {made(row)} |")
    return [*lines, ""]


def corpus_memory() -> list[str]:
    rows = records("corpus_memory.jsonl")
    if not rows:
        return []
    last = rows[-1]
    lines = [
        "## Memory of preparing a corpus",
        "",
        "Largest resident size of learning the vocabulary, of writing the shards, of making the first word vectors and",
        "of drawing an epoch's texts, on every tenth document of Wikipedia (English and Chinese) and on all of them;",
        "`python bench/corpus_memory.py`.",
        "",
        *header("characters | tokens | vocabulary | shards | word vectors | texts of an epoch | made"),
    ]
    for characters, tokens, *sizes in zip(last["characters"], last["tokens"], *last["megabytes"].values(), strict=True):
        lines.append(f"| {characters:,} | {tokens:,} | {' | '.join(f'{size:,} MB' for size in sizes)} | {made(last)} |")
    return [*lines, ""]


def busy_machine() -> list[str]:
    rows = records("busy_machine.jsonl")
    if not rows:
        return []
    last = rows[-1]
    lines = [
        "## A machine that does other work",
        "",
        "How OpenMP's threads wait for each other: spinning as OpenMP has it, spinning for a moment, or asleep, as",
        "Filbert sets it where the user has set nothing. `filbert fit` and `filbert predict`, SST-2, `minilm`,",
        f"medians; of two runs at once each one's own speed. `python bench/busy_machine.py --write`; {made(last)}.",
        "",
    ]
    for what, unit in (("training", "tokens/s"), ("scoring", "texts/s")):
        ways = list(last[what]["idle"])
        lines += header(f"{what}, {unit} | {' | '.join(ways)}")
        for name, speeds in last[what].items():
            cells = [f"{speeds[way]:,.0f} ({speeds[way] / last[what]['idle'][way]:.0%})" for way in ways]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def pretrain_speed() -> list[str]:
    newest = {row["bf16"]: row for row in records("pretrain_speed.jsonl")}
    if not newest:
        return []
    last = next(iter(newest.values()))
    head = [
        "## Pre-training speed beside `transformers`",
        "",
        f"Mini (4 × 256), {last['vocabulary']:,} word pieces, sentence pairs of at most 128 tokens from English and",
        f"Chinese Wikipedia, {last['texts']} a step. Same masked texts and starting weights, one process, alternating",
        "rounds; medians, also of the ratios. The rival has dropout 0.1 by default, ours has none; pairing and masking",
        "is in our time alone. `python bench/pretrain_speed.py --write` makes a row.",
    ]
    parts = []
    for bf16, row in sorted(newest.items(), reverse=True):
        if not bf16:
            parts.append(f"The same {WITHOUT_BF16}:")
        parts += [*speeds([row]), *beside_tuned([row])]
    return [*head, *parts]


def beside_tuned(rows: Sequence[dict[str, Any]]) -> list[str]:
    ratios = rows[-1].get("ratio_to_tuned") if rows else None
    if not ratios:
        return []
    tuned = ", ".join(f"{name} {ratio:.2f} ×" for name, ratio in ratios.items() if "filbert" in name)
    return [f"Beside the tuned rival: {tuned}.", ""]


def speeds(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["", *header("loop | real tokens/s | ratio | mean loss | commit, date")]
    for row in rows:
        for name, speed in row["speed"].items():
            loss = sum(row["loss"][name]) / len(row["loss"][name])
            lines.append(f"| {name} | {speed:,.0f} | {row['ratio'][name]:.2f} × | {loss:.3f} | {made(row)} |")
        peaks = ", ".join(f"{name} {value:,}" for name, value in row["peak_gflops"].items())
        lines.append(f"| *product peak, GFLOP/s: {peaks}* | | | | {row['machine']} |")
    return [*lines, ""]


def predict_speed() -> list[str]:
    newest = {(row["bf16"], row["set"], row["name"]): row for row in records("predict_speed.jsonl")}
    lines = (
        []
        if not newest
        else [
            "## Scoring speed beside the fastest runtimes",
            "",
            "Classifiers on test texts, two threads, one process, alternating runs, medians; mini is `filbert-mini`,",
            "base has random weights. Rivals: sorted by length, 16 or 64 to a batch, whichever is faster. *Moved*: how",
            "far a probability is from the same weights in fp32, for 99 % of texts and at most; *changed*: labels.",
            "`make bench-predict` makes the rows of minilm, `make bench` all.",
        ]
    )
    for (bf16, name, shape), row in sorted(newest.items(), key=lambda entry: not entry[0][0]):
        best = max((speed, side) for side, speed in row["speed"].items() if not side.startswith("filbert"))
        lines += [
            "",
            f"**{shape}, {name}**: {row['texts']:,} texts, {row['tokens']:,} tokens; {made(row)}, {row['machine']}"
            f"{'' if bf16 else f', {WITHOUT_BF16}'}.",
            "",
            f"| runtime | tokens/s | beside {best[1]} | one text of 8, of 128 tokens | accuracy | moved | changed |",
            "|---|---|---|---|---|---|---|",
        ]
        for side, speed in row["speed"].items():
            found, alone = row["quality"][side], row["milliseconds"][side]
            accuracy = f"{100 * found['accuracy']:.2f}" if shape != "base" else ""
            lines.append(
                f"| {side} | {speed:,.0f} | {speed / best[0]:.2f} × | {alone['8']:.1f}, {alone['128']:.1f} ms "
                f"| {accuracy} | {found['moved_99']:.3f}, {found['moved_most']:.3f} "
                f"| {100 * found['changed']:.2f} % |"
            )
    return [*lines, ""]


def serving() -> list[str]:
    rows = records("serve_load.jsonl")
    if not rows:
        return []
    lines = [
        "## The server under load",
        "",
        "Open loop on loopback, the generator on the same cores; a latency counts from when the request was due. C is",
        "the texts/s of `Engine.predict` on the same texts. `rate` is the most with p99 ≤ 100 ms, `fastapi` the same",
        "model behind FastAPI and a `transformers` pipeline, `infinity` behind infinity-emb (torch, fp32, its own",
        "defaults). `make bench-serve` and `make soak` make the rows.",
        "",
        *header("set | phase | server | C | offered/s | answered/s | p50 / p99 | statuses | lost | memory | made"),
    ]
    for row in rows:
        statuses = ", ".join(f"{status}: {count:,}" for status, count in row["statuses"].items())
        memory = f"{row['memory']:+.1f} MB" if "memory" in row else ""
        side = f"{row['side']}, {row['precision']}" if row["side"] == "filbert" else row["side"]
        figures = (
            f"{row['offered']:,.1f} | {row['answered']:,.1f} | {1000 * row['p50']:.0f} / {1000 * row['p99']:.0f} ms"
        )
        about = f"{row['set']} | {row['phase']} | {side} | {row['C']:,.1f}"
        lines.append(f"| {about} | {figures} | {statuses} | {row['lost']} | {memory} | {made(row)} |")
    return [*lines, ""]


def encoders() -> list[str]:
    runs = records("encoders.jsonl")
    shipped = {row["base"]: row["weights"] for row in runs}
    newest = {(row["set"], row["limit"], row["base"]): row["weights"] for row in runs}
    runs = [row for row in runs if row["weights"] == newest[row["set"], row["limit"], row["base"]]]
    runs.sort(key=lambda row: (row["set"], -row["limit"], row["base"], row["seed"]))
    if not runs:
        return []
    lines = [
        "## What pre-training is worth",
        "",
        "The default recipe from `filbert-mini`, from random initialisation (`mini`), and TF-IDF + logistic",
        "regression (`tfidf`), on the same texts; mean over seeds ± their standard deviation, and each seed's accuracy",
        "with its 95 % bootstrap interval. The default of `filbert-mini` is Muon, which trained it, that of a random",
        "start AdamW; rows with the other one are beside them. Training texts that stand in validation or test are",
        "left out. Minutes are of a shared machine, one or two threads.",
        "",
        *header("set | train (left out) / test | base | optimizer | accuracy | each seed | training | made"),
    ]
    groups = grouped(runs, "set", "limit", "base")
    for rows in groups:
        last = rows[-1]
        score = over_seeds([row["accuracy"]["value"] for row in rows])
        each = ", ".join(f"{row['seed']}: {percent(row['accuracy'])}" for row in rows)
        minutes = mean(row["training"]["seconds"] for row in rows) / 60
        before = "" if last["weights"] == shipped[last["base"]] else ", earlier weights"
        lines.append(
            f"| {last['set']} | {last['counts']['train']:,} ({last['dropped']:,}) / {last['counts']['test']:,} "
            f"| {last['base']}{before} | {optimizer_of(last)} | **{score}** "
            f"| {each} | {minutes:.1f} min | {made(last)} |"
        )
    lines += [
        "",
        "What `filbert-mini`, by Muon, gains over random initialisation, with a 95 % interval over seeds (Welch's t):",
        "",
    ]
    lines += header("set | train | over random initialisation by AdamW | by Muon")
    ours = [rows for rows in groups if rows[0]["base"] == "filbert-mini" and optimizer_of(rows[0]) == "muon"]
    for mine in ours:
        first = mine[0]
        others = [rows for rows in groups if rows[0]["base"] == "mini" and same_texts(rows[0], first)]
        gains = {optimizer_of(rows[0]): above(mine, rows) for rows in others}
        lines.append(
            f"| {first['set']} | {first['counts']['train']:,} | {gains.get('adamw', '')} | {gains.get('muon', '')} |"
        )
    return [*lines, "", "`python bench/encoders.py SET` makes the rows of a set.", ""]


def optimizer_of(row: dict[str, Any]) -> str:
    return str((row["settings"] or {}).get("optimizer", ""))


def same_texts(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(row[key] == other[key] for key in ("set", "limit", "counts"))


def above(rows: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> str:
    """Say by how many points the mean of some seeds is above that of others, with an interval where it can be had."""
    mine, theirs = ([row["accuracy"]["value"] for row in side] for side in (rows, others))
    gain = f"{100 * (mean(mine) - mean(theirs)):+.2f}"
    if min(len(mine), len(theirs)) < 2:
        return f"{gain}, one seed"
    low, high = ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    return f"**{gain}** [{100 * low:+.2f}, {100 * high:+.2f}]"


def adapt() -> list[str]:
    runs = records("adapt.jsonl")
    if not runs:
        return []
    lines = [
        "## What domain adaptation is worth",
        "",
        "A base fine-tuned as it is, and after masked language modelling on the task's own texts (Sun et al. 2019),",
        "those of IMDb with its 50,000 reviews without a label; one adaptation, the same seeds of fine-tuning; mean ±",
        "standard deviation, the gain seed by seed, the newest recipe of each set. In `unfair_tos` sentences are fair",
        "or unfair. The adapted base is used here whatever it knows; `fit --adapt` would look first and use `minilm`",
        "as it was on ohsumed (`bench/probe.py`).",
        "",
        *header("set | base | labelled | figure | without | with | gain (each seed) | adapted on | made"),
    ]
    without = {_of_seed(row): row for row in runs if not row["adapted"]}
    made_by = grouped([row for row in runs if row["adapted"]], "set", "base", "limit", "tokens", "weights")
    newest = {(rows[0]["set"], rows[0]["base"], rows[0]["limit"]): rows for rows in made_by}  # recipe of each
    for rows in newest.values():
        last, figure = rows[-1], rows[-1]["metric"]
        pairs = [(without[key], row) for row in rows if (key := _of_seed(row)) in without]
        if not pairs:
            continue
        before, after = ([row[figure]["value"] for row in side] for side in zip(*pairs, strict=True))
        gains = [b - a for a, b in zip(before, after, strict=True)]
        took, each = last["adaptation"], ", ".join(f"{100 * gain:+.2f}" for gain in gains)
        lasted = f", {took['seconds'] / 60:.0f} min" if took["seconds"] else ""  # not timed where others worked beside
        lines.append(
            f"| {last['set']} | {last['base']} | {last['counts']['train']:,} | {figure.replace('_f', '-F')} "
            f"| {over_seeds(before)} | **{over_seeds(after)}** | {100 * mean(gains):+.2f} ({each}) "
            f"| {took['tokens'] / 1e6:.1f} M tokens{lasted} "
            f"| {made(last)} |"
        )
    return [*lines, "", "`python bench/adapt.py SET` makes the rows of a set.", ""]


def label_errors() -> list[str]:
    rows = records("label_errors.jsonl")
    if not rows:
        return []
    lines = ["## Wrong labels found again", ""]
    lines += [
        "SST-2's first training texts with 5 % of their labels flipped at random, cross-validated; of the first 200",
        "suspects, so many were flipped, in percent with Wilson's interval. `python bench/label_errors.py`.",
        "",
    ]
    lines += header(
        "model | texts | folds | epochs | seed | accuracy out of fold | precision of 200 | at random | made"
    )
    for row in rows:
        epochs = row.get("epochs") or "—"
        cells = [row["model"], f"{row['texts']:,}", row["folds"], epochs, row["seed"], f"{100 * row['accuracy']:.1f}"]
        cells += [percent(row["precision"]), f"{100 * row['random']:.1f}", made(row)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def active_labelling() -> list[str]:
    rows = records("active_labelling.jsonl")
    if not rows:
        return []
    last, lines = rows[-1], ["## Labels asked for where they help", ""]
    lines += [
        f"trec6, {last['base']}: {last['labels']} labels of texts that `filbert label` chooses, and as many at random;",
        f"mean accuracy of {len(last['linear chosen'])} draws of the random order, and the mean paired gain with its",
        f"95 % interval. `python bench/active_labelling.py --write`; {made(last)}.",
        "",
    ]
    lines += header("model, scored on | chosen | at random | gain")
    names = {
        "linear": "linear model on the base's vectors, 500 test questions",
        "linear on the rest": "the same, the training questions that were not asked about",
        "bert": "BERT by `filbert fit`, 500 test questions",
    }
    for kind, name in names.items():
        if f"{kind} chosen" not in last:
            continue
        chosen, at_random = (np.array(last[f"{kind} {who}"]) for who in ("chosen", "random"))
        gains = chosen - at_random
        half = student.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        gain = f"{100 * gains.mean():+.1f} ± {100 * half:.1f}"
        lines.append(f"| {name} | **{100 * chosen.mean():.1f}** | {100 * at_random.mean():.1f} | {gain} |")
    steps = " | ".join(f"{n} labels" for n in last["at"])
    lines += ["", *header(f"linear model, test questions | {steps}")]
    for who, name in (("chosen", "chosen"), ("random", "at random")):
        means = np.mean(last["curve"][who], axis=0)
        lines.append(f"| {name} | {' | '.join(f'{100 * each:.1f}' for each in means)} |")
    return [*lines, ""]


def long_texts() -> list[str]:
    rows = records("long_texts.jsonl")
    if not rows:
        return []
    lines = ["## Texts longer than the model reads", ""]
    fitted = [row for row in rows if row["way"] != "linear"]
    if fitted:
        lines += [
            "Samples of texts beyond the longest length, read by their head, by head and tail, and whole in windows;",
            f"accuracy on the same test texts. `python bench/long_texts.py`; {made(fitted[-1])}.",
            "",
            *header("set, base, longest length, texts | way | accuracy | tokens trained on | TF-IDF, whole texts"),
        ]
    for row in fitted:
        name = f"{row['set']}, {row['base']}, {row['max_length']}, {row['counts']['train']} / {row['counts']['test']}"
        tokens, linear = f"{row['tokens']:,}", percent(row["linear"])
        lines.append(f"| {name} | {row['way']} | {percent(row['test'])} | {tokens} | {linear} |")
    found = [row for row in rows if row["way"] == "linear"]
    if found:
        lines += [
            *([""] if fitted else []),
            "What `--long auto` looks at: the mean error of a linear model on the texts beyond the longest length.",
            "",
            *header("set, longest length | longer texts | tokens left out | head | head and tail | whole | chosen"),
        ]
    for row in found:
        errors = row.get("errors")
        cells = [f"{100 * errors[way]:.1f}" if errors else "—" for way in ("head", "head-tail", "windows")]
        shares = f"{row['long']:,} | {100 * row['left_out']:.1f} %"
        lines.append(f"| {row['set']}, {row['max_length']} | {shares} | {' | '.join(cells)} | {row['chosen']} |")
    return [*lines, ""]


def interval_coverage() -> list[str]:
    rows = records("interval_coverage.jsonl")
    if not rows:
        return []
    sizes = sorted({row["texts"] for row in rows})
    lines = ["## Whether intervals hold what they say", ""]
    lines += [
        f"Share of 95 % intervals, in percent of {rows[-1]['sets']:,} simulated test sets, that hold the truth. Below",
        "93 they would be too narrow, above 97 too wide; the rarest of the several labels has 5 of 100 texts.",
        f"`python bench/interval_coverage.py --write`; {made(rows[-1])}.",
        "",
    ]
    lines += header(f"targets, figure | {' | '.join(f'{n} texts' for n in sizes)}")
    found = {(row["family"], row["figure"], row["texts"]): row["coverage"] for row in rows}
    for family, figure in dict.fromkeys((row["family"], row["figure"]) for row in rows):
        cells = [f"{100 * found[family, figure, n]:.1f}" for n in sizes]
        lines.append(f"| {family}, {figure.replace('_', '-')} | {' | '.join(cells)} |")
    return [*lines, ""]


def grouped(rows: list[dict[str, Any]], *names: str) -> list[list[dict[str, Any]]]:
    """Put together the rows that differ in nothing but the seed, in the order of their first record."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        settings = {**(row["settings"] or {}), "seed": None}
        found.setdefault(json.dumps([settings, *(row[name] for name in names)], sort_keys=True), []).append(row)
    return list(found.values())


def _of_seed(row: dict[str, Any]) -> str:
    """Name what a run with adaptation and one without must share to be compared; settings hold the seed."""
    return json.dumps([row["set"], row["base"], row["limit"], row["settings"]], sort_keys=True)


def over_seeds(values: Sequence[float]) -> str:
    spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{spread}"


def inputs() -> list[str]:
    """Return the odd inputs, each as three tools read it, and the odd requests, each as two servers answer it."""
    rows = records("inputs.jsonl")
    last = {(row["kind"], row["who"], row["input"]): row for row in rows}
    lines: list[str] = []
    heads = {
        "input": "Forty sound rows and one fault, as `filbert fit`, `transformers`' run_classification and pandas read "
        "them.",
        "request": "Odd requests to `filbert serve` and to FastAPI with a `transformers` pipeline.",
    }
    for kind, head in heads.items():
        names = list(dict.fromkeys(name for each, _, name in last if each == kind))
        tools = list(dict.fromkeys(who for each, who, _ in last if each == kind))
        if not names:
            continue
        newest = last[kind, tools[0], names[-1]]
        lines += [
            f"## Odd {kind}s, beside others",
            "",
            f"{head} Decided by `python bench/inputs.py`; {made(newest)}.",
            "",
        ]
        lines += header(f"{kind} | {' | '.join(tools)}")
        for name in names:
            cells = [last.get((kind, who, name), {"outcome": "—"})["outcome"] for who in tools]
            cells = [f"**{cell}**" if cell in ("silently wrong", "breaks") else cell for cell in cells]
            lines.append(f"| {name.replace('|', ' ')} | {' | '.join(cells)} |")
        counts = {
            who: Counter(row["outcome"] for (each, by, _), row in last.items() if (each, by) == (kind, who))
            for who in tools
        }
        told = [", ".join(f"{count} {what}" for what, count in counts[who].most_common()) for who in tools]
        lines += [f"| in all | {' | '.join(told)} |", ""]
    return lines


def main() -> None:
    parts = (
        accuracy,
        shapes,
        encoders,
        adapt,
        train_speed,
        train_accuracy,
        pretrain_speed,
        predict_speed,
        serving,
        cascade,
        deletion,
        memory,
        batch_scoring,
        corpus_memory,
        busy_machine,
        label_errors,
        active_labelling,
        long_texts,
        interval_coverage,
        inputs,
    )
    tasks = (question_answering, summarization)
    text = "\n".join(
        [
            HEAD,
            *(line for part in parts for line in part()),
            *(line for part in tasks for line in part(records, header)),
        ]
    )
    (HERE / "RESULTS.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    readme.main()


if __name__ == "__main__":
    main()
