"""Summaries: ROUGE-1/2/L of BBC news in five folds and of Chinese abstracts, and summaries per second.

bbc: bbc_news_summary, five folds that keep the topics in proportion, each fitted on four and measured on the fifth;
beside the model, on the same texts, the first three sentences, as many first sentences as a summary has, TextRank, the
oracle, and the base without training. csl: abstract → title, fitted on dev, measured on test, in both modes. speed: a
fitted model through Filbert beside the same model by a plain loop of padded batches in `transformers`.

Rows, with the figures of every text, are appended to bench/results/summarization.jsonl as they are made; one that is
there is not made again. At the end the folds are pooled: means, intervals over texts, differences to the first three
sentences.

    python bench/summarization.py [bbc] [csl] [speed] [--base minilm] [--epochs 3] [--texts N] [--quick]

`--texts 400` samples so many texts of a set, evenly spread, for a machine on which a whole one takes hours.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from records import DATA, HERE, Row, append, read

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.dataset import settled
from filbert.finetuning.fit import fit
from filbert.inference.engine import Engine, load
from filbert.inference.untrained import untrained
from filbert.metrics.intervals import paired_difference_of_means
from filbert.metrics.overlap import FIGURES, means
from filbert.model.packing import pack
from filbert.progress import Silent
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source
from filbert.records import Example, Prediction
from filbert.tasks.summarization.length import Settings
from filbert.tasks.summarization.outputs import best, figures, picked
from filbert.tasks.summarization.selection import lead, textrank

RESULTS = HERE / "results" / "summarization.jsonl"
WORK = HERE / "work" / "summarization"
FOLDS, QUICK, ROUNDS = 5, 60, 3
TASK = tasks.of_summaries()
SAME = ("part", "who", "base", "fold", "epochs", "texts")  # makes two rows the same one


class Told(Silent):
    """Prints what a fit says."""

    def say(self, text: str) -> None:
        """Print a notice."""
        print("  ", text, flush=True)


def sampled(found: list[Example], limit: int | None) -> list[Example]:
    """Return so many of the texts, evenly spread."""
    return found if limit is None or limit >= len(found) else [found[i * len(found) // limit] for i in range(limit)]


def bbc(limit: int | None) -> list[Example]:
    options = ReadOptions(encoding="latin-1")  # one article has a pound sign of its own
    return sampled(list(open_source(DATA / "bbc_news_summary.tar.xz", options).examples()), limit)


def csl(part: str, limit: int | None) -> list[Example]:
    options = ReadOptions(text="2", label="3")
    return sampled(list(open_source(DATA / "csl" / "ts" / f"{part}.tsv", options).examples()), limit)


def folds_of(examples: Sequence[Example]) -> list[int]:
    """Return the fold of each text: each topic dealt out, shuffled with seed 0."""
    topics = defaultdict(list)
    for i in np.random.default_rng(0).permutation(len(examples)).tolist():
        topics[examples[i].columns["file"].split("/")[0]].append(i)
    fold = [0] * len(examples)
    for members in topics.values():
        for n, i in enumerate(members):
            fold[i] = n % FOLDS
    return fold


class Bench:
    """Rows that are there, and those that are made."""

    def __init__(self, path: Path, base: str, epochs: float | None, limit: int | None, folds: int) -> None:
        self.path, self.base, self.epochs, self.limit, self.folds = path, base, epochs, limit, folds

    def row(self, key: Row, make: Callable[[], Row]) -> Row:
        """Return the row of that key, made where it is not there yet."""
        for row in read(self.path):
            if all(row.get(name) == key.get(name) for name in SAME):
                return row
        print(key, flush=True)
        began = time.monotonic()
        made = make()
        return append(self.path, {**key, **made, "seconds": round(time.monotonic() - began, 1)})

    def fitted(self, train: Sequence[Example], test: Sequence[Example], name: str, base: str) -> Engine:
        """Return a model fitted on these texts; the one of a run before where it is finished."""
        out = WORK / f"{name}-{base.replace('/', '_')}-{self.epochs}-{len(train)}"
        if not (out / "report.html").is_file():
            config = TrainConfig().with_options(epochs=self.epochs, seed=1)
            data = settled(TASK, train, (), test, seed=1, name=name)
            fit(data, out, name=name, base=base, config=config, compare=False, watch=Told())
        return load(out)

    def scored(self, test: Sequence[Example], predictions: Sequence[Prediction]) -> Row:
        """Return means with intervals, and the figures of each text."""
        found = figures(test, predictions)
        return {**means(found), "figures": np.round(found, 4).tolist()}

    def set_of(self, part: str, fold: int, train: Sequence[Example], test: Sequence[Example], base: str) -> None:
        """Make the rows of one division into training and test texts."""
        inputs = [each.inputs[0] for each in test]
        key = {"part": part, "base": base, "fold": fold, "epochs": self.epochs, "texts": len(test)}

        def by_model() -> Row:
            engine = self.fitted(train, test, f"{part}-{fold}", base)
            return {
                **self.scored(test, engine.predict(inputs)),
                "settings": [engine.settings.length, engine.settings.unit],
            }

        told = self.row({**key, "who": "model"}, by_model)["settings"]
        as_long = Settings(*told)
        plain = {
            "lead-3": lambda: picked(test, Settings(3, blocking=False), lead),
            "lead, as long": lambda: picked(test, as_long, lead),
            "TextRank": lambda: picked(test, as_long, textrank),
            "oracle": lambda: best(test),
            "untrained": lambda: self.as_it_is(base, as_long).predict(inputs),
        }
        for who, make in plain.items():
            self.row({**key, "who": who}, lambda make=make: self.scored(test, make()))

    def as_it_is(self, base: str, settings: Settings) -> Engine:
        """Return the base without training, for summaries of that length."""
        engine, _ = untrained(base, TASK, tasks.untrained)
        engine.settings = tasks.resized(engine.settings, **{settings.unit: settings.length})
        return engine

    def run_bbc(self) -> None:
        """Five folds."""
        examples = bbc(self.limit)
        fold_of = folds_of(examples)
        for fold in range(self.folds):
            train = [each for each, at in zip(examples, fold_of, strict=True) if at != fold]
            test = [each for each, at in zip(examples, fold_of, strict=True) if at == fold]
            self.set_of("bbc", fold, train, test, self.base)

    def run_csl(self) -> None:
        """Abstract → title."""
        self.set_of("csl", 0, csl("dev", self.limit), csl("test", self.limit), "filbert-mini")

    def run_speed(self) -> None:
        """Summaries per second, medians of alternating runs: Filbert, and a plain padded loop with the same weights."""
        examples = bbc(min(self.limit or 500, 500))
        engine = self.fitted(examples, (), "speed", self.base)
        texts = [each.text for each in examples]
        key = {"part": "speed", "base": self.base, "epochs": self.epochs, "texts": len(texts)}
        sides = {"filbert": engine.predict, "padded loop": padded(engine)}

        def timed() -> Row:
            chosen, seconds = {}, defaultdict(list)
            for run in sides.values():
                run(texts[:8])  # warm
            for _ in range(ROUNDS):
                for who, run in sides.items():
                    began = time.monotonic()
                    chosen[who] = [found.chosen for found in run(texts)]
                    seconds[who].append(time.monotonic() - began)
            ours, theirs = (np.array(seconds[who]) for who in sides)
            pairs = zip(*chosen.values(), strict=True)
            return {
                "per_second": round(len(texts) / float(np.median(ours)), 2),
                "padded_per_second": round(len(texts) / float(np.median(theirs)), 2),
                "times": round(float(np.median(theirs / ours)), 2),
                "same": float(np.mean([one == two for one, two in pairs])),
            }

        row = self.row({**key, "who": "filbert"}, timed)
        print(
            f"{row['per_second']} summaries/s for {row['padded_per_second']}, {row['times']} ×, same {row['same']:.1%}"
        )


def padded(engine: Engine, batch_size: int = 8) -> Callable[[list[str]], list[Prediction]]:
    """Return what people would write: batches in the order of the file, padded to their longest, fp32."""
    import torch
    from transformers import AutoModel

    from filbert.inference.model import open_model
    from filbert.model.numpy_head import NumpyHead

    folder = next(each for each in WORK.iterdir() if each.name.startswith("speed-"))
    bert, model = AutoModel.from_pretrained(folder).eval(), open_model(folder)
    head = NumpyHead(model.head, model.config, model.arrays)

    def run(texts: list[str]) -> list[Prediction]:
        windows = engine.features([(text,) for text in texts])
        flat = [window for each in windows for window in each]
        rows: list[Any] = []
        for begin in range(0, len(flat), batch_size):
            some = flat[begin : begin + batch_size]
            longest = max(map(len, some))
            ids, segments, mask = np.zeros((3, len(some), longest), dtype=np.int64)
            for n, window in enumerate(some):
                ids[n, : len(window)], segments[n, : len(window)] = window.ids, window.segments
                mask[n, : len(window)] = 1
            with torch.inference_mode():
                given = {"input_ids": ids, "token_type_ids": segments, "attention_mask": mask}
                hidden = bert(**{name: torch.from_numpy(x) for name, x in given.items()}).last_hidden_state.numpy()
            rows += [head.by_text(hidden[n, : len(window)], pack([window]))[0] for n, window in enumerate(some)]
        left = iter(rows)
        return engine.task.decode([[next(left) for _ in each] for each in windows], engine.settings, windows)

    return run


def pooled(path: Path) -> None:
    """Print the figures over all folds, and how far each is from the first three sentences."""
    rows: dict[tuple[str, str], dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for row in read(path):
        if "figures" in row:
            rows[row["part"], f"{row['base']}, epochs {row['epochs']}"][row["who"]][row["fold"]] = row["figures"]
    for (part, base), found in rows.items():
        print(f"\n{part}, {base}")
        whole = {who: np.concatenate([np.array(each[fold]) for fold in sorted(each)]) for who, each in found.items()}
        for who, figures_NF in whole.items():
            told = means(figures_NF)
            cells = [
                f"{100 * e['value']:.1f} ({100 * e['low']:.1f}–{100 * e['high']:.1f})" for e in map(told.get, FIGURES)
            ]
            apart = ""
            if who != "lead-3" and figures_NF.shape == whole["lead-3"].shape:
                difference = paired_difference_of_means(figures_NF[:, 0], whole["lead-3"][:, 0])
                apart = "   ".join(f"{100 * difference[key]:+.1f}" for key in ("value", "low", "high"))
            print(f"  {who:14} {len(figures_NF):5,} texts  {'  '.join(cells)}   over lead-3: {apart or '—'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["bbc", "csl", "speed", []], default=["bbc", "csl", "speed"])
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--texts", type=int, metavar="N", help="sample so many of each set [all]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} texts, two folds, one epoch")
    args = parser.parse_args()
    path = WORK / "quick.jsonl" if args.quick else RESULTS
    limit, folds = (QUICK, 2) if args.quick else (args.texts, FOLDS)
    bench = Bench(path, args.base, 1.0 if args.quick else args.epochs, limit, folds)
    for part in args.parts:
        getattr(bench, f"run_{part}")()
    pooled(path)


if __name__ == "__main__":
    main()
