"""The gain of pre-training: filbert-mini, random initialisation of the same size and a linear model on labelled texts.

Each is fitted with the default recipe, nothing tuned per set, with several seeds; a seed changes initialisation, order
and dropout, not the texts. Training texts that are also in validation or test are left out of every set, and counted.
Runs are appended to bench/results/encoders.jsonl as they end, and existing ones are not repeated.

    python bench/encoders.py [SET…] [--seeds 3] [--bases filbert-mini mini tfidf] [--limit 20000] [--optimizer adamw]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from labelled import numbers, with_texts
from records import DATA, HERE, Row, append

from filbert.bases.find import find_base
from filbert.cli.console import Screen
from filbert.config import TrainConfig
from filbert.files import sha256
from filbert.finetuning.dataset import Dataset, read_dataset
from filbert.finetuning.fit import fit
from filbert.linear.baseline import fit_texts
from filbert.metrics import classes
from filbert.metrics.calibration import softmax

RESULTS = HERE / "results" / "encoders.jsonl"
LINEAR = "tfidf"  # TF-IDF + logistic regression, which has no seed
LIMIT = 20_000  # training texts: all of SST-2 and ChnSentiCorp, two fifths of TNEWS
SAME = ("set", "base", "adapted", "seed", "limit", "tokens", "settings", "weights")  # what makes two runs the same one

SETS = {  # name → path, test file: TNEWS' own test has no labels, so its development part is the test
    "sst2": ("sst2", None),
    "chnsenticorp": ("chnsenticorp", None),
    "tnews": ("tnews/train.tsv", "tnews/dev.tsv"),
}


def texts_of(name: str) -> Dataset:
    path, test = SETS[name]
    return read_dataset(DATA / path, test=DATA / test if test else None)


def apart(data: Dataset) -> tuple[Dataset, int]:
    """Leave out the training texts that stand in validation or test → the data set, how many there were."""
    train, held = data.splits.train, {example.inputs for example in (*data.splits.validation, *data.splits.test)}
    kept = [example for example in train if example.inputs not in held]
    return with_texts(data, train=kept), len(train) - len(kept)


def limited(data: Dataset, limit: int | None) -> Dataset:
    """Keep that many training texts, drawn at random, always the same ones."""
    train = data.splits.train
    if limit is None or len(train) <= limit:
        return data
    chosen = np.sort(np.random.default_rng(0).choice(len(train), limit, replace=False))
    return with_texts(data, train=[train[i] for i in chosen])


def weights_of(base: str) -> str | None:
    """Return the hash of a base's current weights; None for random initialisation."""
    folder = find_base(base).folder
    return None if folder is None else sha256(folder / "model.safetensors")[:12]


def made(results: Path, wanted: Row) -> Row | None:
    """Return the record of the same run, whichever commit made it."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    wanted = json.loads(json.dumps(wanted))  # as it reads once written
    rows = (json.loads(line) for line in lines)
    return next((row for row in rows if all(row.get(key) == wanted.get(key) for key in SAME)), None)


def fine_tune(data: Dataset, out: Path, base: str, config: TrainConfig) -> Row:
    """Fit and return the figures to keep."""
    with Screen() as screen:
        done = fit(data, out, name=out.name, base=base, config=config, compare=False, overwrite=True, watch=screen)
    scores, training = done.report["scores"], done.report["training"]
    return {
        "accuracy": scores["test"]["accuracy"],
        "macro_f1": scores["test"]["macro_f1"],
        "validation": scores["validation"]["accuracy"],
        "counts": done.report["data"]["counts"],
        "training": {k: training[k] for k in ("seconds", "epochs", "tokens_per_second", "precision", "device")},
    }


def linear(data: Dataset) -> Row:
    splits, labels = data.splits, data.settings.labels
    found = fit_texts(splits.train, numbers(splits.train, data), {"test": splits.test}, len(labels))
    scores = classes.score(numbers(splits.test, data), softmax(found.outputs["test"]), labels)
    return {
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "counts": {"train": len(splits.train), "test": len(splits.test)},
        "training": {"seconds": round(found.seconds, 1)},
    }


def say(row: Mapping[str, Any], metric: str = "accuracy") -> None:
    score = row[metric]
    base = f"{row['base']}, adapted" if row.get("adapted") else row["base"]
    interval = f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"
    print(f"{row['set']}, {base}, seed {row['seed']}: {metric} {interval}", flush=True)


def measure(name: str, bases: Sequence[str], seeds: int, limit: int, optimizer: str | None) -> None:
    data, dropped = apart(texts_of(name))
    if dropped:
        print(f"{name}: {dropped:,} training texts that stand in validation or test are left out", flush=True)
    data = limited(data, limit)
    for base in bases:
        weights, rows = None if base == LINEAR else weights_of(base), []
        for seed in range(1 if base == LINEAR else seeds):
            config, settings = TrainConfig(seed=seed), None
            if base != LINEAR:
                config = replace(config, optimizer=optimizer or find_base(base).optimizer)
                settings = asdict(config)
            key: Row = {"set": name, "base": base, "seed": seed, "limit": limit}
            key |= {"settings": settings, "weights": weights}
            row = made(RESULTS, key)
            if row is None:
                out = HERE / "work" / f"encoders-{name}-{base}-seed{seed}"
                found = linear(data) if base == LINEAR else fine_tune(data, out, base, config)
                row = append(RESULTS, {**key, "dropped": dropped, **found})
            say(row)
            rows.append(row)
        print(f"{name}, {base}: mean {mean(row['accuracy']['value'] for row in rows):.4f} of {len(rows)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bases", nargs="+", default=["filbert-mini", "mini", LINEAR])
    parser.add_argument("--limit", type=int, default=LIMIT, help="training texts, at most")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), help="instead of the default of each base")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sets if name not in SETS]
    if unknown:
        parser.error(f"unknown set {unknown[0]} — choose of {', '.join(SETS)}")
    for name in arguments.sets or SETS:
        measure(name, arguments.bases, arguments.seeds, arguments.limit, arguments.optimizer)


if __name__ == "__main__":
    main()
