"""Wrong labels found again: some of SST-2's labels are flipped, and out-of-fold models rank what they doubt.

Of the first 4,000 training texts 5 % get the other label, drawn at random. Models are cross-validated on them as
`filbert fit --folds` does it (BERT), or what takes less: the linear baseline (--model linear), or logistic regression
on the mean vectors of a frozen minilm (--model frozen). Measured is how many of the first 200 suspects were flipped,
with Wilson's interval; beside it what 200 texts at random hold. A flip is not the only wrong label: SST-2 has some of
its own, which count as misses here. Finished folds stay in bench/work/, so an interrupted run goes on.

    python bench/label_errors.py [--model minilm|frozen|linear] [--texts 4000] [--rate 0.05] [--folds 5] [--epochs E]
        [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from records import DATA, HERE, append
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from filbert import tasks
from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.cli.console import Screen
from filbert.config import TrainConfig
from filbert.finetuning.dataset import Dataset, read_dataset, settled
from filbert.finetuning.folds import cross_validate, dealt, pool_of, suspects
from filbert.finetuning.probe import PENALTY, Means
from filbert.metrics.intervals import wilson
from filbert.model.run import outputs
from filbert.readers.options import ReadOptions
from filbert.records import Example, Prediction
from filbert.tasks.framing import framed
from filbert.tasks.single_label.outputs import labelled, true

RESULTS = HERE / "results" / "label_errors.jsonl"
WORK = HERE / "work" / "label_errors"
LOOKED = 200  # suspects a person would look at
OTHER = {"0": "1", "1": "0"}


def flipped(texts: int, rate: float, seed: int) -> tuple[Dataset, set[str]]:
    """Return the first texts of SST-2's training part, some with the other label, and the places of those."""
    found = read_dataset(DATA / "sst2", ReadOptions()).splits.train[:texts]
    chosen = set(np.random.default_rng(seed).choice(len(found), round(rate * len(found)), replace=False).tolist())
    rows = [replace(row, target=OTHER[row.target]) if at in chosen else row for at, row in enumerate(found)]
    data = settled(tasks.named("single-label"), rows, (), (), seed=seed, name="sst2")
    return data, {str(found[at].place) for at in chosen}


def linear(data: Dataset, folds: int, seed: int) -> list[tuple[Example, Prediction]]:
    """Return the answer of the linear baseline to each text, trained on the other folds."""
    pool = pool_of(data)
    fold_N = np.array(dealt(data, pool, folds, seed))
    answers: list[tuple[Example, Prediction]] = []
    for fold in range(folds):
        held = [pool[at] for at in np.flatnonzero(fold_N == fold)]
        train = [pool[at] for at in np.flatnonzero(fold_N != fold)]
        baseline = data.task.baseline(train, {"held": held}, data.settings)
        assert baseline is not None
        answers += zip(held, baseline.predictions["held"], strict=True)
    return answers


def frozen(data: Dataset, folds: int, seed: int) -> list[tuple[Example, Prediction]]:
    """Return the answer of logistic regression on vectors of minilm, as it is, trained on the other folds."""
    encoder, tokenizer, _ = load_base(find_base("minilm").folder)
    pool = pool_of(data)
    framed_N = [framed(tokenizer.encode(row.inputs), tokenizer, 128) for row in pool]
    means_ND = outputs(Means(encoder), framed_N, "cpu")
    true_N, fold_N = true(pool, data.settings), np.array(dealt(data, pool, folds, seed))
    found_NC = np.zeros((len(pool), len(data.settings.labels)))
    for fold in range(folds):
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
        linear.fit(means_ND[fold_N != fold], true_N[fold_N != fold])
        found_NC[fold_N == fold] = linear.predict_proba(means_ND[fold_N == fold])
    return list(zip(pool, labelled(found_NC, data.settings), strict=True))


FAST = {"linear": linear, "frozen": frozen}


def ranked(data: Dataset, model: str, folds: int, epochs: float | None, seed: int) -> tuple[Sequence[str], float]:
    """Return the places of the suspects, the most doubtful first, and the accuracy of the answers."""
    if model in FAST:
        texts, predictions = zip(*FAST[model](data, folds, seed), strict=True)
        accuracy = data.task.score(texts, predictions, data.settings)["accuracy"]["value"]
        doubts = data.task.doubts(texts, predictions, data.settings)
        return [str(example.place) for example, _ in suspects(texts, doubts)], accuracy
    out = WORK / f"{model.replace('/', '-')}-{len(pool_of(data))}-seed{seed}"  # finished folds stay for a second try
    config = TrainConfig(seed=seed, epochs=epochs)
    with Screen() as screen:
        found = cross_validate(data, find_base(model), config, "cpu", out, count=folds, watch=screen)
    shutil.rmtree(out)
    accuracy = found.facts["cross_validation"]["scores"]["accuracy"]["value"]
    return [str(example.place) for example, _ in found.suspects], accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm", help="linear, frozen, or a base model")
    parser.add_argument("--texts", type=int, default=4_000)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=float, help="of BERT [as many as fit finds fitting]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = parser.parse_args()
    for seed in asked.seeds:
        started = time.perf_counter()
        data, places = flipped(asked.texts, asked.rate, seed)
        order, accuracy = ranked(data, asked.model, asked.folds, asked.epochs, seed)
        first = order[:LOOKED]
        hits = len(places & set(first))
        low, high = wilson(hits, len(first))
        row = {
            **{"set": "sst2", "model": asked.model, "texts": asked.texts, "flipped": len(places)},
            **{
                "folds": asked.folds,
                "epochs": asked.epochs,
                "seed": seed,
                "suspects": len(order),
                "looked_at": len(first),
                "hits": hits,
            },
            "precision": {"value": hits / len(first), "low": low, "high": high},
            "random": len(places) / asked.texts,
            "accuracy": accuracy,
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(append(RESULTS, row))


if __name__ == "__main__":
    main()
