"""Questions on texts: Filbert, its baseline and the recipe of `transformers`, on the same files; and answers a second.

policyqa, privacy policies in English: its dev part trains, the other policies of its test part test, from `minilm`,
beside `bench/squad_recipe.py`. xquad.en: the same models, as nothing nearer to SQuAD is here to train on. cmrc2018: its
dev part trains, its trial part tests, from `filbert-mini` and from a random start of its size; xquad.zh: the same
models. The sliding window of TF-IDF beside each is the baseline of Filbert's own report. All EM and F1 are by
filbert/metrics/spans.py, in percent of questions, with 95 % intervals.

    python bench/question_answering.py [accuracy|speed] [SET …] [--seeds 3] [--paragraphs N] [--who W] [--quick]

Rows are appended to bench/results/question_answering.jsonl as runs end; one that is there is not made again.
`--paragraphs 200` samples so many paragraphs of each file, evenly spread, for a machine on which a whole one takes
hours; its rows stand apart. `--quick` does all of it with 8 paragraphs and a tiny encoder, and writes to bench/work
alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from records import DATA, HERE, Row, append, read
from shape_sets import WORK
from shapes import base_of, run

from filbert.model.device import native_bf16

ROOT = HERE.parent
RESULTS = HERE / "results" / "question_answering.jsonl"
FIGURES = ("em", "f1")
EPOCHS = 2.0  # of both sides
SPEED_PARAGRAPHS = 60  # of policyqa's test part: some 500 questions
SETS = {  # name: training file, its own test, other tests, bases of Filbert, whether the recipe runs beside it
    "policyqa": ("policyqa/dev.json", "policyqa/test.json", {"xquad.en": "xquad/xquad.en.json"}, ("minilm",), True),
    "cmrc2018": (
        "cmrc2018/cmrc2018_dev.json",
        "cmrc2018/cmrc2018_trial.json",
        {"xquad.zh": "xquad/xquad.zh.json"},
        ("filbert-mini", "mini"),
        False,
    ),
}


def few(path: Path, limit: int | None) -> Path:
    """Return a file, or a copy of it with so many of its paragraphs, evenly spread."""
    if limit is None:
        return path
    told = json.loads(path.read_text("utf-8"))
    count = sum(len(article["paragraphs"]) for article in told["data"])
    kept = {i * count // limit for i in range(limit)} if limit < count else {*range(count)}
    at = iter(range(count))
    for article in told["data"]:
        article["paragraphs"] = [each for each in article["paragraphs"] if next(at) in kept]
    told["data"] = [article for article in told["data"] if article["paragraphs"]]
    copy = WORK / f"{limit}-paragraphs" / f"{path.parent.name}-{path.name}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    return copy


def figures(scores: Row | None) -> Row | None:
    return None if scores is None else {"n": scores["n"], **{name: scores[name] for name in FIGURES}}


def fit_filbert(train: Path, test: Path, base: str, seed: int, out: Path) -> Row | None:
    """Fit by the command line → what the report says; None where it failed."""
    command = ["filbert", "fit", str(train), "--test", str(test), "--base", base, "--epochs", f"{EPOCHS:g}"]
    command += ["--seed", str(seed), "--on-bad-rows", "quarantine", "--overwrite", "-o", str(out)]
    wrong = run(command, out.with_suffix(".log"), None)
    if wrong is not None:
        print(f"{out.name}: {wrong}", flush=True)
        return None
    report = json.loads((out / "report.json").read_text("utf-8"))
    training = report["training"]
    return {
        "scores": figures(report["scores"]["test"]),
        "baseline": figures((report.get("baseline") or {}).get("test")),
        "training": {name: training.get(name) for name in ("seconds", "tokens_per_second", "epochs", "steps")},
    }


def evaluate(model: Path, test: Path) -> Row | None:
    """Measure a finished model on another file."""
    out = model.with_name(f"{model.name}-{test.stem}.json")
    command = ["filbert", "evaluate", str(model), str(test), "--overwrite", "-o", str(out)]
    wrong = run([*command, "--on-bad-rows", "quarantine"], out.with_suffix(".log"), None)
    return None if wrong else {"scores": figures(json.loads(out.read_text("utf-8")))}


def recipe(train: Path, test: Path, base: Path, out: Path, *more: str) -> Row | None:
    """Run the recipe of transformers in a process of its own → its outcome."""
    command = ["python", "bench/squad_recipe.py", str(train), str(test), "--base", str(base), "-o", str(out), *more]
    wrong = run(command, out.with_suffix(".log"), None)
    if wrong is not None:
        print(f"{out.name}: {wrong}", flush=True)
        return None
    outcome: Row = json.loads((out / "outcome.json").read_text("utf-8"))
    return outcome


def scored(answers: list[str], test: Path) -> Row | None:
    from squad_recipe import questions_of

    from filbert.metrics.spans import is_chinese, score_spans

    rows = questions_of(test)
    right = [[answer.text for answer in row["answers"]] for row in rows]
    return figures(score_spans(answers, right, [is_chinese(row["question"], row["context"]) for row in rows]))


def accuracy(results: Path, sets: list[str], seeds: int, limit: int | None, who: str, *, quick: bool) -> None:
    """Make the rows that are not there yet."""
    for name in sets or SETS:
        train_name, test_name, others, bases, rival = SETS[name]
        train, test = few(DATA / train_name, limit), few(DATA / test_name, limit)
        for seed in range(seeds):
            for base in () if who == "transformers" else ("tiny",) if quick else bases:
                model = WORK / "question_answering" / f"{name}-{base}-{seed}{f'-{limit}' if limit else ''}"
                key = {"set": name, "paragraphs": limit, "who": "filbert", "base": base, "seed": seed, "epochs": EPOCHS}
                if made(results, key, partial(fit_filbert, train, test, base, seed, model)) is None:
                    continue
                for other, path in others.items():
                    asked = few(DATA / path, limit)
                    made(results, {**key, "set": other, "trained_on": name}, partial(evaluate, model, asked))
            if rival and who != "filbert":
                base, epochs = ("filbert-mini", 0.1) if quick else (bases[0], EPOCHS)
                key = {"set": name, "paragraphs": limit, "who": "transformers", "base": base, "seed": seed}
                key["epochs"] = epochs
                made(results, key, partial(rival_row, train, test, key))


def rival_row(train: Path, test: Path, key: Row) -> Row | None:
    """Train and score the recipe from the same base."""
    out = WORK / "question_answering" / f"{key['set']}-transformers-{key['seed']}"
    more = ("--epochs", f"{key['epochs']:g}", "--seed", str(key["seed"]))
    told = recipe(train, test, base_of(key["base"]), out, *more)
    return told and {"scores": scored(told["answers"], test), "training": told["training"]}


def made(results: Path, key: Row, make: Any) -> Row | None:
    """Return the row of a key: as it stands, or made now and appended; None where it could not be made."""
    for row in read(results):
        if all(row.get(name) == value for name, value in key.items()) and ("trained_on" in row) == (
            "trained_on" in key
        ):
            return row
    found = make()
    row = None if found is None else append(results, {**key, **found})
    if row is not None:
        values = {name: round(100 * row["scores"][name]["value"], 2) for name in FIGURES} if row.get("scores") else row
        print(f"{key}: {values}", flush=True)
    return row


def speed(results: Path, limit: int | None, *, quick: bool) -> None:
    """Answer the same questions with one model: ours by the engine, theirs by padded windows; compare the answers."""
    base = "tiny" if quick else "minilm"
    model = WORK / "question_answering" / f"policyqa-{base}-0{f'-{limit}' if limit else ''}"
    test = few(DATA / "policyqa/test.json", min(limit or SPEED_PARAGRAPHS, SPEED_PARAGRAPHS))
    if not model.is_dir():
        raise SystemExit(f"{model} is not there: run the accuracy part first")
    settings = json.loads((model / "filbert.json").read_text("utf-8"))["settings"]
    more = ("--answers-only", "--longest", str(settings["longest"]))  # the same answers may be given
    numbers = ("fp32", "bf16") if native_bf16() else ("fp32",)  # emulated bf16 is slower, by far
    theirs = {dtype: recipe(test, test, model, WORK / "qa-speed", *more, "--dtype", dtype) for dtype in numbers}
    from squad_recipe import questions_of

    from filbert.errors import ConfigError
    from filbert.inference.engine import load

    asked = [(row["question"], row["context"]) for row in questions_of(test)]
    for precision in (*numbers, "int8"):
        try:
            engine = load(model, device="cpu", precision=precision)
        except ConfigError as error:
            print(f"{precision}: {error}", flush=True)
            continue
        engine.predict(asked[:8])
        began = time.perf_counter()
        answers = [getattr(found, "answer", "") for found in engine.predict(asked)]
        ours = len(asked) / (time.perf_counter() - began)
        for dtype, told in theirs.items():
            if told is not None:
                rate = len(told["answers"]) / told["seconds"]
                same = sum(a == b for a, b in zip(answers, told["answers"], strict=False)) / len(answers)
                row = {"part": "speed", "model": base, "precision": precision, "rival": dtype, "questions": len(asked)}
                row = {**row, "answers_per_second": ours, "rival_per_second": rate, "times": ours / rate, "same": same}
                print(append(results, row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=("accuracy", "speed", *SETS, []), help="part, sets [all]")
    parser.add_argument("--who", choices=("filbert", "transformers", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--paragraphs", type=int, metavar="N", help="sample so many of each file [all]")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    results, limit = (WORK / "quick" / "question_answering.jsonl", 8) if args.quick else (RESULTS, args.paragraphs)
    if args.quick:
        shutil.rmtree(WORK / "quick", ignore_errors=True)
    sets = [part for part in args.parts if part in SETS]
    if "accuracy" in args.parts or "speed" not in args.parts:
        accuracy(results, sets, 1 if args.quick else args.seeds, limit, args.who, quick=args.quick)
    if "speed" in args.parts or not args.parts:
        speed(results, limit, quick=args.quick)


if __name__ == "__main__":
    main()
