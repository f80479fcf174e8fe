"""Few labels: `fit --few-shot` beside SetFit on the same base with the same examples, drawn anew ten times.

    python bench/few_shot.py SET LABELS SIDE [--draws 0,1,2] [--test 500] [--iterations 20]

SET is sst2, trec6 or clinc150; LABELS the examples of a class; SIDE filbert, default (`fit`) or setfit.
SetFit has its paper's recipe (Tunstall et al. 2022): 20 pairs of a kind for each text, one pass over the pairs in
batches of 16, logistic regression; it needs `pip install setfit`. What is timed is training, on both sides, Filbert's
folds, their models and the calibration included; seconds of the processor beside the clock's, as machines are shared.
Each draw is a row of bench/results/few_shot.jsonl; those that are there are left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from accuracy import SETS, data_of
from records import HERE, Row, append, read

from filbert.finetuning.dataset import Dataset, settled
from filbert.records import Example

RESULTS = HERE / "results" / "few_shot.jsonl"
BASE = "minilm"


def drawn(data: Dataset, labels: int, draw: int, most: int) -> tuple[list[Example], list[Example]]:
    """Return so many training texts of each label, and test texts, the same ones for every side."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in (*data.splits.train, *data.splits.validation):
        by_label[example.target].append(example)
    random = np.random.default_rng(draw)
    train = [by_label[name][i] for name in sorted(by_label) for i in random.permutation(len(by_label[name]))[:labels]]
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.splits.test))[:most])
    return train, [data.splits.test[i] for i in chosen]


def by_filbert(train: list[Example], test: list[Example], draw: int, *, few_shot: bool) -> Row:
    """Train as `fit` does, without its report."""
    from filbert import tasks
    from filbert.bases.find import find_base
    from filbert.config import TrainConfig
    from filbert.finetuning.choosing import trained
    from filbert.finetuning.few_shot import by_pairs, pooled
    from filbert.finetuning.job import outputs_of
    from filbert.finetuning.prepare import prepare
    from filbert.finetuning.train import calibrated
    from filbert.progress import Silent

    data = settled(tasks.named("single-label"), train, (), test, seed=draw, name="few")
    base, config = find_base(BASE), TrainConfig(few_shot=few_shot, seed=draw)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        data, config = pooled(data, config), by_pairs(data, base, config, Silent())
        run, model = prepare(data, base, config, "cpu", Silent())
        result = trained(run, model, Path(folder), track=(), watch=Silent())
        calibrated(result.job)
    took = clock.read()
    found = data.task.decode(outputs_of(result.job.model, run.features["test"], "cpu"), data.settings)
    return {**took, **result.facts, "accuracy": float(1 - data.task.errors(test, found, data.settings)[1].mean())}


def by_setfit(train: list[Example], test: list[Example], draw: int, iterations: int) -> Row:
    """Train as SetFit's paper does."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    from datasets import Dataset as Table
    from setfit import SetFitModel, Trainer, TrainingArguments

    from filbert.bases.find import find_base

    model = SetFitModel.from_pretrained(str(find_base(BASE).folder), device="cpu")
    names = sorted({str(example.target) for example in train})
    columns = {"text": [each.text for each in train], "label": [names.index(str(each.target)) for each in train]}
    with tempfile.TemporaryDirectory() as folder:
        how = TrainingArguments(
            output_dir=folder,
            batch_size=16,
            num_epochs=1,
            num_iterations=iterations,
            seed=draw,
            report_to="none",
            save_strategy="no",
        )
        trainer = Trainer(model=model, args=how, train_dataset=Table.from_dict(columns))
        clock = Clock()
        trainer.train()
        took = clock.read()
    given = np.asarray(model.predict([example.text for example in test]))
    right = [names[int(found)] == example.target for found, example in zip(given, test, strict=True)]
    return {**took, "iterations": iterations, "accuracy": float(np.mean(right))}


class Clock:
    """Seconds since it was made: of the clock and of the processor."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)

    def read(self) -> Row:
        """Return both."""
        wall, used = self._began
        now = resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        return {"seconds": round(time.perf_counter() - wall, 2), "cpu_seconds": round(cpu, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=[name for name in SETS if name in ("sst2", "trec6", "clinc150")])
    parser.add_argument("labels", type=int)
    parser.add_argument("side", choices=("filbert", "default", "setfit"))
    parser.add_argument("--draws", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--test", type=int, default=500, help="test texts")
    parser.add_argument("--iterations", type=int, default=20, help="SetFit's pairs of a kind for each text")
    given = parser.parse_args()
    data = data_of(given.set)
    for draw in map(int, given.draws.split(",")):
        named = {"set": given.set, "labels": given.labels, "side": given.side, "draw": draw, "test": given.test}
        if any(named.items() <= row.items() for row in read(RESULTS)):
            continue
        train, test = drawn(data, given.labels, draw, given.test)
        if given.side == "setfit":
            found = by_setfit(train, test, draw, given.iterations)
        else:
            found = by_filbert(train, test, draw, few_shot=given.side == "filbert")
        row = append(RESULTS, {**named, "base": BASE, "texts": len(train), "test_texts": len(test), **found})
        print(
            {key: row[key] for key in ("set", "labels", "side", "draw", "accuracy", "seconds", "cpu_seconds")},
            flush=True,
        )


if __name__ == "__main__":
    main()
