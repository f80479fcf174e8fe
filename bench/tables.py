"""Write bench/RESULTS.md, and the table in README.md, from the records in bench/results/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
START, END = "<!-- accuracy table -->", "<!-- end of the accuracy table -->"
HEAD = """# Results

Written by `python bench/tables.py` from the records in `bench/results/`; nothing here is typed by hand. Machines are
noisy and shared, so compare ratios of one run, not seconds of two.
"""


def records(name: str) -> list[dict[str, Any]]:
    path = HERE / "results" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def percent(found: dict[str, Any]) -> str:
    return f"{100 * found['value']:.2f} [{100 * found['low']:.2f}, {100 * found['high']:.2f}]"


def accuracy() -> list[str]:
    lines = [
        "## Accuracy of the default recipe",
        "",
        "Official test splits, base `minilm`, nothing tuned per set, 95 % bootstrap intervals. The baseline is TF-IDF",
        "+ logistic regression on the same texts. Tokens/s are real ones, validation passes included in the time.",
        "",
        "| set | train / test | epochs | accuracy | baseline | difference | training | tokens/s | seed | made |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in records("accuracy.jsonl"):
        training, counts, gap = row["training"], row["counts"], row["difference"]
        lines.append(
            f"| {row['set']}{row.get('note', '')} | {counts['train']:,} / {counts['test']:,} | {training['epochs']:g} "
            f"| **{percent(row['test'])}** | {percent(row['baseline'])} "
            f"| {100 * gap['value']:+.2f} [{100 * gap['low']:+.2f}, {100 * gap['high']:+.2f}] "
            f"| {training['seconds'] / 60:.1f} min | {training['tokens_per_second']:,.0f} | {row['seed']} "
            f"| {row['commit']}, {row['date']} |"
        )
    return [*lines, "", "`python bench/accuracy.py SET` makes a row: it fits the set as `filbert fit` does.", ""]


def train_speed() -> list[str]:
    lines = [
        "## Training speed beside `transformers`",
        "",
        "MiniLM-L6 (6 × 384), IMDb reviews cut at 512 tokens, batch 16, same texts and weights, one process,",
        "alternating runs; medians, also of the ratios. `python bench/train_speed.py --write` makes a row.",
        "",
        "| loop | real tokens/s | ratio | mean loss | commit, date |",
        "|---|---|---|---|---|",
    ]
    for row in records("train_speed.jsonl"):
        for name, speed in row["speed"].items():
            loss = sum(row["loss"][name]) / len(row["loss"][name])
            lines.append(
                f"| {name} | {speed:,.0f} | {row['ratio'][name]:.2f} × | {loss:.3f} | {row['commit']}, {row['date']} |"
            )
        peaks = ", ".join(f"{name} {value:,}" for name, value in row["peak_gflops"].items())
        lines.append(f"| *product peak, GFLOP/s: {peaks}* | | | | {row['machine']} |")
    return [*lines, ""]


def short() -> str:
    """The newest figure of each set, for the README."""
    newest = {(row["set"], row["base"]): row for row in records("accuracy.jsonl")}
    lines = [
        "| test set | Filbert, `minilm` | TF-IDF + logistic regression | training, two cores |",
        "|---|---|---|---|",
    ]
    for row in newest.values():
        minutes = row["training"]["seconds"] / 60
        lines.append(f"| {row['set']} | **{percent(row['test'])}** | {percent(row['baseline'])} | {minutes:.0f} min |")
    speeds = records("train_speed.jsonl")
    said = ""
    if speeds:
        ratio = speeds[-1]["ratio"]["filbert, default"]
        said = (
            f"\n\nFine-tuning runs at {ratio:.1f} × the real tokens/s of the default `transformers` loop, same machine."
        )
    return "\n".join(lines) + said


def main() -> None:
    text = "\n".join([HEAD, *accuracy(), *train_speed()])
    (HERE / "RESULTS.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    readme.write_text(f"{before}{START}\n\n{short()}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
