"""Accuracy of the default recipe on the public data sets, beside the linear baseline: `python bench/accuracy.py imdb`.

Each data set is fitted as `filbert fit PATH` would, official splits, nothing tuned per data set; the report of each run
is kept in bench/work/ and its figures are appended to bench/results/accuracy.jsonl, from which RESULTS.md is written
(`python bench/tables.py`). The data is looked for in $FILBERT_DATA, else in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from typing import Any

from records import DATA, HERE, commit

from filbert.cli.console import Screen
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, read_dataset
from filbert.finetuning.fit import fit
from filbert.readers.options import ReadOptions

RESULTS = HERE / "results" / "accuracy.jsonl"

SETS: dict[str, tuple[str, dict[str, Any], str | None]] = {  # name → path, how to read it, test file
    "imdb": ("imdb/aclImdb_labeled.tar.xz", {}, None),
    "sst2": ("sst2", {}, None),
    "trec6": ("trec6/TREC.train.all", {"delimiter": "space", "encoding": "latin-1"}, "trec6/TREC.test.all"),
    "20newsgroups": ("20newsgroups.tar.xz", {"encoding": "latin-1"}, None),
    "clinc150": ("clinc150/data_full.json", {}, None),
}


def data_of(name: str, seed: int = 0) -> Dataset:
    """Read a set as `filbert fit` does."""
    path, reading, test = SETS[name]
    return read_dataset(DATA / path, ReadOptions(**reading), test=DATA / test if test else None, seed=seed)


def measure(name: str, config: TrainConfig, base: str) -> dict[str, Any]:
    path = SETS[name][0]
    out = HERE / "work" / f"{name}-{base}-seed{config.seed}"
    data = data_of(name, config.seed)
    began = time.perf_counter()
    with Screen() as screen:
        done = fit(
            data,
            out,
            name=name,
            source=path,
            base=base,
            config=config,
            overwrite=True,
            watch=screen,
            command=f"filbert fit {path}",
        )
    report = done.report
    return {
        "set": name,
        "base": base,
        "seed": config.seed,
        "test": report["scores"]["test"]["accuracy"],
        "macro_f1": report["scores"]["test"]["macro_f1"],
        "validation": report["scores"]["validation"]["accuracy"],
        "baseline": report["baseline"]["test"]["accuracy"],
        "difference": report["baseline"]["difference"]["test"],
        "counts": report["data"]["counts"],
        "training": report["training"],
        "seconds_in_all": round(time.perf_counter() - began, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--max-length", type=int)
    arguments = parser.parse_args()
    config = TrainConfig(seed=arguments.seed).with_options(epochs=arguments.epochs, max_length=arguments.max_length)
    unknown = [name for name in arguments.sets if name not in SETS]
    if unknown:
        parser.error(f"unknown set {unknown[0]} — choose of {', '.join(SETS)}")
    for name in arguments.sets or SETS:
        row = measure(name, config, arguments.base)
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        test, linear = row["test"], row["baseline"]
        print(f"{name}: {test['value']:.4f} [{test['low']:.4f}, {test['high']:.4f}], baseline {linear['value']:.4f}")


if __name__ == "__main__":
    main()
