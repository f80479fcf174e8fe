"""Every shape of text classification: Filbert, its linear baseline and the recipe of `transformers`, same splits.

Multi-label (goemotions; unfair_tos by contract), pairs (mrpc; afqmc in Chinese), regression on pairs (stsb), classes of
uneven size (trec6, 20newsgroups, with `--balance auto`), and plain classes: English short and long, medical, Chinese.
Filbert is called as a person calls it, `filbert fit …`, and its figures are those of its report. The rival is
`bench/transformers_recipe.py`, from the same base for as many epochs, at the rate of its README (2e-5), and once more
at another one by `--learning-rate`. Rows are appended to bench/results/shapes.jsonl as fits end; one that is there is
not made again, so a run that was killed loses the fit it was at.

    python bench/shapes.py [SET…] [--who filbert|transformers|both] [--seeds 3] [--texts N] [--limit-minutes M]
        [--quick]

`--texts 2000` samples so many texts of each part, always the same ones, for a machine on which a whole set takes hours;
its rows stand apart in the table. A fit that takes longer than the limit is left out; of one of transformers the row
says its tokens/s instead.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from records import HERE, Row, append, read
from scipy.stats import pearsonr, rankdata
from shape_sets import RECIPE_RATE, SETS, WORK, Shape, files_of

ROOT = HERE.parent
RESULTS = HERE / "results" / "shapes.jsonl"
SIDES = ("filbert", "transformers")
TARGETS = {"single-label": "label", "multi-label": "labels", "regression": "score"}
QUICK = 200  # texts of each part
GRACE = 10  # minutes for what stands around training, whose time alone the rival's limit is for
SAME = (
    "set",
    "texts",
    "who",
    "base",
    "seed",
    "epochs",
    "balance",
    "learning_rate",
    "max_length",
)  # makes two rows the same one
RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


def intervals(task: str, truth: list[Any], logits_NC: Floats, labels: list[str]) -> dict[str, Row]:
    """Measure the rival's test outputs → each figure with its 95 % bootstrap interval over texts.

    Macro-F1 is over the labels that are true or predicted somewhere, as in Filbert's reports.
    """
    n = len(truth)
    if task == "regression":
        true_N, found_N = np.asarray(truth, np.float64), logits_NC.reshape(n).astype(np.float64)
        drawn_RN = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
        rows = [correlations(true_N, found_N), *(correlations(true_N[drawn], found_N[drawn]) for drawn in drawn_RN)]
    else:
        of_row = [{cell} if task == "single-label" else set(cell) for cell in truth]
        true_NC = np.array([[label in cell for label in labels] for cell in of_row])
        multi = task == "multi-label"
        found_NC = logits_NC > 0 if multi else np.eye(len(labels), dtype=bool)[logits_NC.argmax(1)]
        weights_RN = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
        weights_RN = np.concatenate([np.ones((1, n)), weights_RN]).astype(np.float64)
        rows = rates(true_NC, found_NC, weights_RN, labels)
    names = rows[0]
    drawn = {name: np.quantile([row[name] for row in rows[1:]], (0.025, 0.975)) for name in names}
    return {
        name: {"value": value, "low": min(float(drawn[name][0]), value), "high": max(float(drawn[name][1]), value)}
        for name, value in names.items()
    }


def correlations(true_N: Floats, found_N: Floats) -> dict[str, float]:
    return {
        "pearson": float(pearsonr(true_N, found_N).statistic),
        "spearman": float(pearsonr(rankdata(true_N), rankdata(found_N)).statistic),
    }


def rates(
    true_NC: npt.NDArray[np.bool_], found_NC: npt.NDArray[np.bool_], weights_RN: Floats, labels: list[str]
) -> list[dict[str, float]]:
    """Return the figures of each drawing of the texts, which says how often each text was drawn."""
    hit_RC = weights_RN @ (true_NC & found_NC)
    either_RC = weights_RN @ true_NC.astype(np.float64) + weights_RN @ found_NC.astype(np.float64)
    right_R = weights_RN @ (true_NC == found_NC).all(axis=1) / len(true_NC)
    with np.errstate(invalid="ignore"):
        f1_RC = 2 * hit_RC / either_RC
        made = {
            "accuracy": right_R,
            "macro_f1": np.nanmean(f1_RC, axis=1),
            "micro_f1": 2 * hit_RC.sum(axis=1) / either_RC.sum(axis=1),
        }
    if "1" in labels:
        made["class_1_f1"] = np.nan_to_num(f1_RC[:, labels.index("1")])
    return [{name: float(values[r]) for name, values in made.items()} for r in range(len(weights_RN))]


def of_report(scores: Row | None, figures: tuple[str, ...]) -> dict[str, Row] | None:
    """Pick the figures out of a part of Filbert's report."""
    if scores is None:
        return None
    classes = {found["label"]: found["f1"] for found in scores.get("per_class", ())}
    found = {name: classes["1"] if name == "class_1_f1" else scores[name] for name in figures}
    return {name: {key: score[key] for key in ("value", "low", "high")} for name, score in found.items()}


def run(command: list[str], log: Path, minutes: float | None) -> str | None:
    """Run a fit in a process of its own → what went wrong, None where nothing did."""
    print(f"$ {shlex.join(command)}", flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    started = [sys.executable, *(command[1:] if command[0] == "python" else ("-m", *command))]
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                started, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=minutes and 60 * minutes
            )
        except subprocess.TimeoutExpired:
            return f"took over {minutes:g} minutes"
    if not done.returncode:
        return None
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    return "\n  ".join([f"exit status {done.returncode}, {log.relative_to(ROOT)} ends so:", *said])


def base_of(name: str) -> Path:
    """Return a link in bench/work to the folder of a base, so that the rival's command stands by itself."""
    link = WORK / "bases" / name
    if not link.exists():
        from filbert.bases.find import find_base

        folder = find_base(name).folder
        assert folder is not None
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
    return link


def key_of(name: str, texts: int | None, who: str, seed: int, rate: float, epochs: float) -> Row:
    """Say what a row is of; `texts` None for the whole set."""
    shape = SETS[name]
    return {
        "set": name,
        "texts": texts,
        "who": who,
        "base": shape.base,
        "seed": seed,
        "epochs": epochs,
        "balance": shape.balance if who == "filbert" else None,
        "learning_rate": rate if who == "transformers" else None,  # None: what Filbert settles on
        "max_length": shape.max_length if who == "transformers" else 512,
    }


def fit_filbert(key: Row, shape: Shape, folder: Path, out: Path, minutes: float | None) -> Row | None:
    """Fit by the command line → what the report says."""
    data = folder.relative_to(ROOT)
    command = ["filbert", "fit", f"{data}/train.jsonl", "--validation", f"{data}/validation.jsonl"]
    command += ["--test", f"{data}/test.jsonl", "--task", shape.task, "--text", "text"]
    command += ["--text-pair", "text_pair"] if shape.pair else []
    command += ["--label", TARGETS[shape.task], "--base", shape.base, "--epochs", f"{key['epochs']:g}"]
    command += ["--balance", shape.balance] if shape.balance else []
    command += ["--seed", str(key["seed"]), "--overwrite", "-o", str(out.relative_to(ROOT))]
    wrong = run(command, out.with_suffix(".log"), minutes)
    facts = {"command": shlex.join(command), "versions": {"torch": version("torch")}}
    if wrong is not None:
        print(f"{out.name}: {wrong}", flush=True)
        return {**facts, "left_out": wrong} if wrong.startswith("took") else None
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    training = report["training"]
    return {
        **facts,
        "left_out": None,
        "scores": of_report(report["scores"]["test"], shape.figures),
        "baseline": of_report((report.get("baseline") or {}).get("test"), shape.figures),
        "training": {name: training.get(name) for name in ("seconds", "tokens_per_second", "config")},
    }


def fit_transformers(key: Row, shape: Shape, folder: Path, out: Path, minutes: float | None) -> Row | None:
    """Run the recipe of transformers → its figures."""
    command = ["python", "bench/transformers_recipe.py", str(folder.relative_to(ROOT)), "--task", shape.task]
    command += ["--base", str(base_of(shape.base).relative_to(ROOT)), "--epochs", f"{key['epochs']:g}"]
    command += ["--learning-rate", f"{key['learning_rate']:g}", "--max-length", str(shape.max_length)]
    command += ["--seed", str(key["seed"]), "-o", str(out.relative_to(ROOT))]
    limited = [*command, "--limit-minutes", f"{minutes:g}"] if minutes else command
    wrong = run(limited, out.with_suffix(".log"), minutes and minutes + GRACE)
    if wrong is not None:
        print(f"{out.name}: {wrong}", flush=True)
        return {"command": shlex.join(command), "left_out": wrong} if wrong.startswith("took") else None
    outcome = json.loads((out / "outcome.json").read_text(encoding="utf-8"))
    facts = {"command": shlex.join(command), "training": outcome["training"], "versions": outcome["versions"]}
    if outcome["too_long"]:
        training = outcome["training"]
        whole = training["seconds"] * training["steps_planned"] / training["steps"] / 60
        return {**facts, "left_out": f"training would take {whole:.0f} minutes"}
    truth = [
        json.loads(line)[TARGETS[shape.task]] for line in (folder / "test.jsonl").read_text("utf-8").split("\n")[:-1]
    ]
    scores = intervals(shape.task, truth, np.load(out / "logits.npy", allow_pickle=False), outcome["labels"])
    return {**facts, "left_out": None, "scores": {name: scores[name] for name in shape.figures}, "baseline": None}


FITS: dict[str, Callable[[Row, Shape, Path, Path, float | None], Row | None]] = {
    "filbert": fit_filbert,
    "transformers": fit_transformers,
}


def made(results: Path, key: Row, minutes: float | None) -> Row | None:
    """Return the row of the same fit; one that was left out counts where the limit was no lower than today's."""
    for row in read(results):
        if all(row.get(name) == key[name] for name in SAME):
            lower = row["left_out"] and row["limit_minutes"] < (minutes or float("inf"))
            if not lower:
                return row
    return None


def measure(name: str, who: str, seed: int, args: argparse.Namespace) -> None:
    """Make one row, unless it is there."""
    shape, results = SETS[name], WORK / "quick.jsonl" if args.quick else RESULTS
    texts = QUICK if args.quick else args.texts
    key = key_of(name, texts, who, seed, args.learning_rate, 1 if args.quick else shape.epochs)
    row = made(results, key, args.limit_minutes)
    if row is None:
        folder = files_of(name, texts)
        at = f"-{args.learning_rate:g}" if who == "transformers" else ""
        out = WORK / "runs" / f"{folder.name}-{who}{at}-seed{seed}"
        began = time.perf_counter()
        found = FITS[who](key, shape, folder, out, args.limit_minutes)
        if found is None:
            return
        counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
        spent = round(time.perf_counter() - began, 1)
        row = {**key, "task": shape.task, "counts": counts, **found, "seconds_in_all": spent}
        row = append(results, {**row, "limit_minutes": args.limit_minutes})
    rate = f" at {row['learning_rate']:g}" if row["learning_rate"] else ""
    scores = (f"{figure} {score['value']:.4f}" for figure, score in (row.get("scores") or {}).items())
    print(f"{name}, {who}{rate}, seed {seed}: {row['left_out'] or ', '.join(scores)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--who", choices=(*SIDES, "both"), default="both")
    parser.add_argument("--seeds", type=int, default=3, help="at most; 20newsgroups is fitted by one [3]")
    parser.add_argument("--texts", type=int, metavar="N", help="sample so many texts of each part [all]")
    parser.add_argument("--learning-rate", type=float, default=RECIPE_RATE, help="of transformers [2e-5, its README's]")
    parser.add_argument("--limit-minutes", type=float, help="for a fit")
    parser.add_argument(
        "--quick", action="store_true", help=f"try it: {QUICK} texts of each part, one epoch, no record"
    )
    args = parser.parse_args()
    unknown = [name for name in args.sets if name not in SETS]
    if unknown:
        parser.error(f"unknown set {unknown[0]} — choose of {', '.join(SETS)}")
    for seed in range(1 if args.quick else args.seeds):  # so that every set has a row early
        for name in args.sets or SETS:
            if seed < SETS[name].seeds:
                for who in SIDES if args.who == "both" else (args.who,):
                    measure(name, who, seed, args)


if __name__ == "__main__":
    main()
