"""Ways to read long texts side by side: the head, head and tail, and all of them in windows.

    python bench/long_texts.py [imdb|20newsgroups|ohsumed …] [--linear] [--texts 300] [--tests 400] [--base BASE]

Of each set a sample of the texts that are longer than --max-length tokens is taken, the same ones for every way; with
--linear only what `--long auto` looks at is measured, on all training texts, which takes seconds. Each cell (set, way,
seed, sizes) is kept in bench/results/long_texts.jsonl, and one that stands there is not run again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from records import DATA, HERE, Row, append, read

from filbert import tasks
from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, settled
from filbert.finetuning.fit import fit
from filbert.finetuning.long_texts import choose
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example
from filbert.tasks.framing import special_tokens
from filbert.text.tokenizer import Tokenizer, encoded

RESULTS = HERE / "results" / "long_texts.jsonl"
SETS = {"imdb": "imdb/aclImdb_labeled.tar.xz", "20newsgroups": "20newsgroups.tar.xz", "ohsumed": "ohsumed.tar.xz"}
READING = {"20newsgroups": ReadOptions(encoding="latin-1")}
WAYS = ("windows", "head-tail", "head")
LINEAR_MOST = 6_000  # training texts of --linear


def parts_of(name: str) -> tuple[list[Example], list[Example]]:
    """Return the training and the test texts of a set, in a random order."""
    source = open_source(DATA / SETS[name], READING.get(name))
    reading = tasks.named("single-label").read(source.sample_targets(), {})
    found: dict[str, list[Example]] = {"train": [], "test": []}
    for split in found:
        examples = list(source.examples(split, parse=reading.parse))
        found[split] = [examples[i] for i in np.random.default_rng(0).permutation(len(examples)).tolist()]
    return found["train"], found["test"]


def longer(examples: Sequence[Example], tokenizer: Tokenizer, length: int, most: int) -> list[Example]:
    """Return the first texts that are longer than so many tokens."""
    found: list[Example] = []
    for begin in range(0, len(examples), 200):
        part = examples[begin : begin + 200]
        for example, (pieces,) in zip(part, encoded(tokenizer, [each.inputs for each in part]), strict=True):
            if length < len(pieces.ids) + special_tokens(1) <= 5 * length:
                found.append(example)
        if len(found) >= most:
            break
    return found[:most]


def dataset(train: Sequence[Example], test: Sequence[Example]) -> Dataset:
    """Return what is fitted on; labels with fewer than five training texts are left out."""
    counts = {label: sum(e.target == label for e in train) for label in {e.target for e in train}}
    kept = [e for e in train if counts[e.target] >= 5]
    known = {e.target for e in kept}
    return settled(
        tasks.named("single-label"), kept, (), [e for e in test if e.target in known], seed=0, name="long texts"
    )


def linear(name: str, length: int, base: str) -> Row:
    """Return what `--long auto` says of a set."""
    folder = find_base(base).folder
    assert folder is not None
    train, began = parts_of(name)[0][:LINEAR_MOST], time.perf_counter()
    data = dataset(train, train[:20])
    pieces = encoded(Tokenizer.from_folder(folder), [e.inputs for e in data.splits.train], offsets=True)
    chosen = choose(data, pieces, length)
    return {"way": "linear", "chosen": chosen.way, "seconds": time.perf_counter() - began, **chosen.facts}


def trained(name: str, way: str, seed: int, args: argparse.Namespace) -> Row:
    """Fit on a sample of long texts, read in one way."""
    folder = find_base(args.base).folder
    assert folder is not None
    tokenizer = Tokenizer.from_folder(folder)
    train, test = parts_of(name)
    data = dataset(
        longer(train, tokenizer, args.max_length, args.texts), longer(test, tokenizer, args.max_length, args.tests)
    )
    config = TrainConfig(long=way, seed=seed, max_length=args.max_length, early_length=64, epochs=args.epochs)
    with tempfile.TemporaryDirectory(prefix="filbert-") as out:
        report = fit(data, Path(out) / "run", base=args.base, config=config).report
    return {
        "way": way,
        "seed": seed,
        "test": report["scores"]["test"]["accuracy"],
        "linear": report["baseline"]["test"]["accuracy"],
        "counts": report["data"]["counts"],
        "tokens": report["training"]["tokens"],
        "seconds": report["training"]["seconds"],
        "truncation": report["truncation"]["test"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--base", default="filbert-mini")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--tests", type=int, default=400)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    for name in args.sets or SETS:
        if name not in SETS:
            parser.error(f"unknown set {name} — choose of {', '.join(SETS)}")
        cells = [("linear", 0)] if args.linear else [(way, seed) for seed in range(args.seeds) for way in WAYS]
        for way, seed in cells:
            cell: Row = {"set": name, "base": args.base, "max_length": args.max_length, "way": way, "seed": seed}
            if not args.linear:
                cell |= {"texts": args.texts, "tests": args.tests, "epochs": args.epochs}
            if any(cell.items() <= row.items() for row in read(RESULTS)):
                continue
            found = linear(name, args.max_length, args.base) if args.linear else trained(name, way, seed, args)
            print(append(RESULTS, {**cell, **found}), flush=True)


if __name__ == "__main__":
    main()
